"""The query language of the Email Logs and the Email Activity: conditions joined by AND (Twilio docs: both APIs).

to_email = "ada@example.org" AND status IN ('bounced', 'blocked')
last_event_time BETWEEN TIMESTAMP "2026-11-24T00:00:00Z" AND TIMESTAMP "2026-11-25T00:00:00Z"
"""

import operator
import re
from collections.abc import Callable
from datetime import datetime, timezone

Row = dict[str, object]
"""The value of each field: text, a list of texts, or Unix seconds for a time."""

_TOKEN = re.compile(r"""\s*(?:(?P<text>"[^"]*"|'[^']*')|(?P<word>\w+)|(?P<sign><=|>=|[=<>(),]))""")
_COMPARE = {"=": operator.eq, "<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge}


class QueryError(ValueError):
    """The query cannot be understood; SendGrid answers 400."""


def parse(query: str, fields: dict[str, frozenset[str]]) -> Callable[[Row], bool]:
    """Return a function that tells whether a row meets the query.

    :param fields: the operators that each field knows: `=`, `<`, `IN`, `LIKE`, `BETWEEN` and so on
    :raise QueryError: if the query is no conjunction of conditions on these fields with these operators
    """
    return _Parser(query, fields).conditions()


class _Parser:
    def __init__(self, query: str, fields: dict[str, frozenset[str]]):
        self.fields = fields
        self.tokens = self._split(query)

    @staticmethod
    def _split(query: str) -> list[str]:
        tokens, position = [], 0
        query = query.strip()
        while position < len(query):
            match = _TOKEN.match(query, position)
            if not match:
                raise QueryError(f"invalid syntax near {query[position : position + 20]!r}")
            tokens.append(match[match.lastgroup])
            position = match.end()
        return tokens

    def _next(self, *expected: str) -> str:
        token = self.tokens.pop(0) if self.tokens else ""
        if not token or (expected and token.upper() not in expected):
            raise QueryError(f"invalid syntax: {token or 'the end'!r} instead of {' or '.join(expected) or 'more'}")
        return token.upper() if expected else token

    def conditions(self) -> Callable[[Row], bool]:
        """Parse all conditions; return a function that tells whether a row meets each of them."""
        found = [self._condition()]
        while self.tokens:
            self._next("AND")
            found.append(self._condition())
        return lambda row: all(condition(row) for condition in found)

    def _condition(self) -> Callable[[Row], bool]:
        field = self._next()
        if field not in self.fields:
            raise QueryError(f"invalid syntax: '{field}' is not a known field")
        action = self._next(*self.fields[field])
        if action == "IN":
            wanted = self._list()
            return lambda row: bool(wanted.intersection(_several(row[field])))
        if action == "BETWEEN":
            low = self._time()
            self._next("AND")
            high = self._time()
            return lambda row: low <= row[field] <= high
        if action == "LIKE":
            pattern = re.compile(".*".join(re.escape(part) for part in self._text().split("%")), re.DOTALL)
            return lambda row: pattern.fullmatch(row[field]) is not None
        value = self._time() if "<" in self.fields[field] else self._text()
        return lambda row: _COMPARE[action](row[field], value)

    def _text(self) -> str:
        token = self._next()
        if token[0] not in "\"'":
            raise QueryError(f"invalid syntax: {token!r} is not in quotes")
        return token[1:-1]

    def _list(self) -> set[str]:
        self._next("(")
        values = {self._text()}
        while self._next(",", ")") == ",":
            values.add(self._text())
        return values

    def _time(self) -> int:
        self._next("TIMESTAMP")
        text = self._text()
        try:
            moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
        except ValueError as error:
            raise QueryError(f"invalid timestamp {text!r}") from error
        return int((moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp())


def _several(value: object) -> list:
    return value if isinstance(value, list) else [value]
