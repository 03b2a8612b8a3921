"""A program for `atheris`, which changes bodies so that they reach code of the parser that no body has reached yet.

It demands the same of each body as `test_fuzz`, except that it cannot know the good neighbours. It ends with an error
at the first body that fails. Its arguments are libFuzzer's.
"""

import sys
from pathlib import Path

import atheris

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]
with atheris.instrument_imports(include=["tools"]):
    from tools.events.parsing import BatchError, parse_batch


def check(body):
    """Parse a body: every event must have a fingerprint, and every rejected element a reason."""
    try:
        events, rejected = parse_batch(body)
    except BatchError as error:
        if len(str(error)) >= 300:
            raise AssertionError("a reason as long as the body") from error
        return
    assert all(event.fingerprint for event in events)
    assert all(0 < len(element.reason) < 300 for element in rejected)


if __name__ == "__main__":
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()
