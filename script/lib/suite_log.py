"""What a run of Odoo's tests found, read from its log, and how two runs differ."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

ENTRY = re.compile(r"\d{4}-\d\d-\d\d [\d:,]+ \d+ (?P<level>[A-Z]+) \S+ (?P<logger>[\w.]+): (?P<message>.*)")
OF_TESTS = re.compile(r"odoo\.addons\.(?P<module>\w+)\.tests\b")
STARTED = re.compile(r"Starting (?P<test>\S+) \.\.\.$")
SKIPPED = re.compile(r"skipped (?P<test>.+?) : ")
FAILED = re.compile(r"(?:ERROR|FAIL): (?P<test>.+)")
# What fails while a class is prepared belongs to none of its tests.
OF_CLASS = re.compile(r"(?P<moment>\w+) \(odoo\.addons\.(?P<module>\w+)\.tests\.[\w.]*?(?P<name>\w+)\)$")
REASON = re.compile(r"[\w.]*(?:Error|Exception|Exit|Interrupt|Violation)\b.*")
# Only what is more than expected fails a test. Odoo tells of what is less in the log, with the same words.
QUERIES = re.compile(
    r"Query count (?:more|less) than expected for user (?P<user>\S+): "
    r"(?P<count>\d+) [<>] (?P<expected>\d+) in (?P<where>.+)"
)
END = re.compile(r"Tests (?:passed|failed)|No tests executed")
ENDED_BY = "odoo.tests.shell"


@dataclass
class Result:
    """What became of a test."""

    skipped: bool = False
    reasons: list[str] = field(default_factory=list)  # why it failed, but for counts of queries
    queries: dict[str, tuple[int, int]] = field(default_factory=dict)  # {where: (count, expected)} if they differ

    @property
    def outcome(self) -> str:
        """Return one word for it. Queries are compared by their number, so that they do not fail a test here."""
        return "failed" if self.reasons else "skipped" if self.skipped else "passed"


class Unfinished(Exception):
    """The log has no end: the run broke off."""


class _Reader:
    """Goes through the lines of a log. The lines of a traceback follow the entry to which they belong."""

    def __init__(self) -> None:
        self.results: dict[str, Result] = {}
        self.ended = False
        self._current: Result | None = None
        self._failure: tuple[Result, list[str]] | None = None

    def take(self, line: str) -> None:
        entry = ENTRY.match(line.rstrip())
        if entry:
            self.close()
            self._take_entry(**entry.groupdict())
        elif self._failure:
            self._failure[1].append(line.rstrip())

    def close(self) -> None:
        """Note why the last failure failed, now that its traceback is complete."""
        if self._failure:
            result, lines = self._failure
            self._failure = None
            found = [match for line in lines if (match := QUERIES.search(line))]
            for match in found:
                _note_queries(result, match)
            if not found:
                reasons = [line for line in lines if REASON.match(line)] or [line for line in lines if line] or ["?"]
                result.reasons.append(reasons[-1])

    def _take_entry(self, level: str, logger: str, message: str) -> None:
        of_tests = OF_TESTS.match(logger)
        if of_tests and (started := STARTED.match(message)):
            self._current = self._get(f"{of_tests['module']}: {started['test']}")
        elif skipped := SKIPPED.match(message):
            (self._of_class(skipped["test"]) or self._current or Result()).skipped = True
        elif level == "ERROR" and (failed := FAILED.match(message)):
            result = self._of_class(failed["test"]) or self._current or self._get(failed["test"])
            self._failure = (result, [])
        elif match := QUERIES.search(message):
            if self._current:
                _note_queries(self._current, match)
        elif logger == ENDED_BY and END.match(message):
            self._current, self.ended = None, True
        elif level in ("ERROR", "CRITICAL") and self._current:
            self._current.reasons.append(f"logged by {logger}: {message}")

    def _of_class(self, text: str) -> Result | None:
        match = OF_CLASS.match(text)
        return self._get(f"{match['module']}: {match['name']}.{match['moment']}") if match else None

    def _get(self, test: str) -> Result:
        return self.results.setdefault(test, Result())


def _note_queries(result: Result, match: re.Match) -> None:
    result.queries[f"{match['user']}, {match['where']}"] = (int(match["count"]), int(match["expected"]))


def read(lines: Iterable[str]) -> dict[str, Result]:
    """Return the results by the tests' names, such as `crm: TestLead.test_merge`.

    :raise Unfinished: if the run did not come to its end
    """
    reader = _Reader()
    for line in lines:
        reader.take(line)
    reader.close()
    if not reader.ended:
        raise Unfinished
    return reader.results


def compare(without: Mapping[str, Result], beside: Mapping[str, Result]) -> Iterator[tuple[str, str]]:
    """Yield (test, difference in words) for the tests with another outcome, but for counts of queries."""
    for test in sorted({*without, *beside}):
        old, new = without.get(test), beside.get(test)
        if not old or not new:
            yield test, f"ran only {'with' if new else 'without'} the addon"
        elif old.outcome != new.outcome:
            reasons = "; ".join(new.reasons or old.reasons)
            yield test, f"{new.outcome} with the addon, {old.outcome} without{f' ({reasons})' if reasons else ''}"
        elif {*map(_without_numbers, old.reasons)} != {*map(_without_numbers, new.reasons)}:
            yield test, f"fails with the addon for {'; '.join(new.reasons)}, and without for {'; '.join(old.reasons)}"


def compare_queries(*runs: tuple[Mapping[str, Result], Mapping[str, Result]]) -> Iterator[tuple[str, str]]:
    """Yield (test, difference in words) for the counts of queries that differ.

    Some of core's counts vary by themselves. So a count that was seen with the addon and without it, in whatever run,
    is no difference.

    :param runs: the results without the addon and with it, of each run; the words tell the counts of the first
    """
    without, beside = runs[0]
    for test in sorted({*without} & {*beside}):
        old, new = without[test].queries, beside[test].queries
        for where in sorted({*old, *new}):
            # Where nothing is noted, it is as many as expected.
            expected = (old.get(where) or new[where])[1]
            counts = [
                [results[test].queries.get(where, (expected,))[0] for results in way if test in results]
                for way in zip(*runs, strict=True)
            ]
            if not {*counts[0]} & {*counts[1]}:
                yield test, f"{counts[1][0]:,} queries instead of {counts[0][0]:,}, {expected:,} expected ({where})"


def _without_numbers(text: str) -> str:
    """Ids and times differ from run to run."""
    return re.sub(r"\d+", "0", re.sub(r"0x[0-9a-f]+", "0", text))
