"""The rows of the table, and the command line of a benchmark."""

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One line of the table: a figure compared with its floor. ``absolute`` is for reading only."""

    what: str
    figure: str
    floor: str
    ratio: float
    must: str
    reached: bool
    absolute: str = ""


def at_least(what: str, figure: float, floor: float, limit: float, unit: str, absolute: str = "") -> Row:
    """Return the row of a figure that has to be high: at least ``limit`` times ``floor``."""
    ratio = figure / floor
    return Row(what, f"{figure:,.0f} {unit}", f"{floor:,.0f} {unit}", ratio, f"≥ {limit}", ratio >= limit, absolute)


def at_most(what: str, figure: float, floor: float, limit: float, unit: str, absolute: str = "") -> Row:
    """Return the row of a figure that has to be low: at most ``limit`` times ``floor``."""
    ratio = figure / floor
    return Row(what, f"{figure:,.3g} {unit}", f"{floor:,.3g} {unit}", ratio, f"≤ {limit}", ratio <= limit, absolute)


def table(rows: list[Row]) -> str:
    """Return the rows as a table in Markdown."""
    head = ("what", "figure", "floor", "ratio", "must reach", "", "absolute, for reading only")
    lines = [
        (row.what, row.figure, row.floor, f"{row.ratio:.2f}", row.must, "reached" if row.reached else "not reached",
         row.absolute)
        for row in rows
    ]  # fmt: skip
    widths = [max(len(line[column]) for line in (head, *lines)) for column in range(len(head))]

    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    return "\n".join([line(head), line(["-" * width for width in widths]), *map(line, lines)])


def run(measure: Callable[[float], list[Row]], description: str) -> int:
    """Run a benchmark as a program: measure, print the table, and write the rows for `script/bench` if it asks.

    :param measure: a function that takes the scale (1 for the full size) and returns rows
    :return: the exit code: 0 if every row is reached
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--scale", type=float, default=1.0, help="how much of it; less than 1 is for development only")
    parser.add_argument("--rows", type=Path, help="a file for the rows, as JSON")
    options = parser.parse_args()
    rows = measure(options.scale)
    print(table(rows))
    if options.rows:
        options.rows.write_text(json.dumps([asdict(row) for row in rows]))
    return 0 if all(row.reached for row in rows) else 1


def main() -> int:
    """Print the table of the row files that are named; return 0 if every row is reached."""
    rows = [Row(**row) for file in sys.argv[1:] for row in json.loads(Path(file).read_text())]
    print(table(rows))
    return 0 if rows and all(row.reached for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
