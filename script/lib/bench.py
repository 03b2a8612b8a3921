"""`script/bench`"""

from . import paths, postgres, process, say

FOLDER = paths.ROOT / "benchmarks"


def main(arguments):
    """Run a benchmark by its name, or list what there is."""
    names = sorted(path.stem for path in FOLDER.glob("[!_]*.py"))
    if not names:
        raise say.Problem("There are no benchmarks yet; they will live in benchmarks/.")
    if not arguments:
        say.step("script/bench NAME, with one of: " + ", ".join(names))
        return 0
    name, *rest = arguments
    if name not in names:
        raise say.Problem(f"There is no benchmark {name}; there are: {', '.join(names)}.")
    with postgres.running():
        command = [paths.VENV_PYTHON, "-m", f"benchmarks.{name}", *rest]
        return process.foreground(command, cwd=paths.ROOT)
