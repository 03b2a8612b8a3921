from . import test_parsing, test_signature
