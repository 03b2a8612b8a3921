"""The command `script/test`."""

import os
from pathlib import Path

from . import chromium, database, lock, nginx, odoo, paths, postgres, process, rtlcss

# Odoo finds the addon, and pytest its tests, through this link, because the checkout's folder can have any name.
LINK = paths.ADDONS / paths.ADDON
DEFAULT = ("sandbox/tests", "tests")
FAULTS = LINK / "tests" / "faults"
END_TO_END = LINK / "tests" / "end_to_end"
OCA = END_TO_END / "oca"


def main(arguments: list[str]) -> int:
    """Run pytest on a fresh copy of the test database; after the word `faults`, run the fault suite."""
    if arguments[:1] == ["faults"]:
        return _faults(arguments[1:])
    chromium.ensure()
    rtlcss.ensure()
    with postgres.running(), database.for_tests() as name:
        return process.foreground(_command(name, arguments), cwd=paths.ADDONS, env=_environment())


def _faults(arguments: list[str]) -> int:
    """Run the fault suite with a PostgreSQL of its own, which it kills."""
    chromium.ensure()
    nginx.ensure()
    os.environ.pop("PGDATABASE", None)
    cluster = postgres.to_be_killed()
    with lock.exclusive("faults"):
        cluster.start()
        try:
            command = [*_pytest(FAULTS), *("-p", "no:odoo"), *(_through_link(one) for one in arguments)]
            if not any(str(part).startswith(str(FAULTS)) for part in command):
                command.append(FAULTS)
            return process.foreground(command, cwd=paths.ADDONS, env={**_environment(), "DATABASES": "faults"})
        finally:
            cluster.stop()


def oca(arguments: list[str]) -> int:
    """Run the main path beside OCA's modules; a line for each of them and each way of sending."""
    chromium.ensure()
    rtlcss.ensure()
    command = [*_pytest(END_TO_END), *("-p", "no:odoo", "--no-header", "-v"), OCA, *arguments]
    with postgres.running():
        return process.foreground(command, cwd=paths.ADDONS, env=_environment())


def _command(name: str, arguments: list[str]) -> list[str | Path]:
    arguments = [_through_link(argument) for argument in arguments]
    if not any(argument.startswith(str(LINK)) for argument in arguments):
        arguments += [str(LINK / folder) for folder in DEFAULT if (LINK / folder).is_dir()]
    return [
        *(*_pytest(LINK), f"--ignore={FAULTS}", f"--ignore={OCA}"),
        *(f"--odoo-database={name}", f"--odoo-config={paths.CONFIG}", "--odoo-log-level=warn", "--odoo-http"),
        *arguments,
    ]


def _pytest(root: Path) -> list[str | Path]:
    return [
        *(paths.VENV_PYTHON, "-m", "pytest"),
        *(f"--rootdir={root}", f"--confcutdir={root}", f"--config-file={LINK / 'pyproject.toml'}"),
        *("-o", f"cache_dir={paths.DEV / 'pytest_cache'}"),
        *("-p", "script.lib.pytest_plugin"),
    ]


def _through_link(argument: str) -> str:
    """Return an argument such as `tests/test_x.py::TestX` as seen through the link; leave alone what is no path."""
    path, *rest = argument.split("::")
    path = (Path.cwd() / path).resolve()
    if argument.startswith("-") or not path.exists() or not path.is_relative_to(paths.ROOT):
        return argument
    return "::".join([str(LINK / path.relative_to(paths.ROOT)), *rest])


def _environment() -> dict[str, str]:
    environment = odoo.environment()
    environment["PYTHONPATH"] = os.pathsep.join([str(paths.ROOT), environment["PYTHONPATH"]])
    environment["HYPOTHESIS_STORAGE_DIRECTORY"] = str(paths.DEV / "hypothesis")
    return environment
