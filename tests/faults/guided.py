"""A program for `atheris`, which changes bodies so that they reach what no body has reached yet of the parser.

It wants of a body what `test_fuzz` wants, but for good neighbours, which it cannot know; and ends with an error at the
first that does not keep to it. Arguments are libFuzzer's.
"""

import sys
from pathlib import Path

import atheris

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]
with atheris.instrument_imports(include=["tools"]):
    from tools.events.parsing import BatchError, parse_batch


def check(body):
    """Parse a body: what is read has a fingerprint, what is not has a reason."""
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
