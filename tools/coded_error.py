"""Our errors say a code instead of a sentence, because only models know the language of the reader."""

import functools
import json
from typing import NamedTuple


class Reason(NamedTuple):
    """Why something is not taken: a code, and what its words need besides, such as the name of a field."""

    code: str
    parameters: dict[str, str | int]


class CodedError(ValueError):
    """An error whose text is no sentence but JSON that `read_reason` reads, so that it can be stored and told later."""

    def __init__(self, code: str, **parameters: str | int) -> None:
        """:param code: one of those that the words are kept for, in the model that shows them
        :param parameters: texts and whole numbers only, so that they survive being stored
        """
        self.reason = Reason(code, parameters)
        super().__init__(code, parameters)

    def __str__(self) -> str:
        return _write(self.reason.code, tuple(self.reason.parameters.items()))


@functools.lru_cache
def _write(code: str, parameters: tuple[tuple[str, str | int], ...]) -> str:
    """Write the text of an error. It is kept, because millions of elements of a body can have the same error."""
    return json.dumps({"code": code, **dict(parameters)}, ensure_ascii=False)


def read_reason(text: str) -> Reason | None:
    """Return the reason that a `CodedError` told as its text, None if the text is anything else."""
    try:
        parameters = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(parameters, dict) or not isinstance(parameters.get("code"), str):
        return None
    return Reason(parameters.pop("code"), parameters)
