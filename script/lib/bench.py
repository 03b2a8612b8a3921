"""The command `script/bench`."""

import tempfile
from collections.abc import Iterable
from pathlib import Path

from . import paths, postgres, process, say

FOLDER = paths.ROOT / "benchmarks"
# These have no row in the table: engagement compares with labelled histories, indexes with queries without them.
NO_ROW = ("engagement", "indexes")


def main(arguments: list[str]) -> int:
    """Run one benchmark by its name, or all of the table. Return 0 if all were measured and every row is reached."""
    names = sorted(path.stem for path in FOLDER.glob("[!_]*.py"))
    with postgres.running():
        if not arguments or arguments[0].startswith("-"):
            return _run_all([name for name in names if name not in NO_ROW], arguments)
        name, *rest = arguments
        if name not in names:
            raise say.Problem(f"There is no benchmark {name}; there are: {', '.join(names)}.")
        return process.foreground(_command(name, rest), cwd=paths.ROOT)


def _run_all(names: list[str], arguments: list[str]) -> int:
    """Run the benchmarks one after the other, each in a process of its own, and print the table."""
    files, failed = [], []
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            say.step(f"{name} …")
            file = Path(folder) / f"{name}.json"
            process.foreground(_command(name, [*arguments, f"--rows={file}"]), cwd=paths.ROOT)
            (files if file.exists() else failed).append(file)
        say.step("")
        code = process.foreground(_command("_report", files), cwd=paths.ROOT)
    if failed:
        say.warn(f"Not measured: {', '.join(file.stem for file in failed)}.")
    return 1 if failed else code


def _command(name: str, arguments: Iterable[str | Path]) -> list[str | Path]:
    return [paths.VENV_PYTHON, "-m", f"benchmarks.{name}", *arguments]
