"""`script/test`"""

import os
from pathlib import Path

from . import chromium, database, odoo, paths, postgres, process, say

# Odoo finds the addon, and pytest its tests, through this link: the checkout's own folder can have any name.
LINK = paths.ADDONS / paths.ADDON
DEFAULT = ("sandbox/tests", "tests")


def main(arguments):
    """Run pytest on a fresh copy of the test database."""
    if arguments[:1] == ["faults"]:
        raise say.Problem("script/test faults: the fault suite does not exist yet.")
    chromium.ensure()
    with postgres.running(), database.for_tests() as name:
        return process.foreground(_command(name, arguments), cwd=paths.ADDONS, env=_environment())


def _command(name, arguments):
    here = Path.cwd()
    arguments = [_through_link(argument, here) for argument in arguments]
    if not any(argument.startswith(str(LINK)) for argument in arguments):
        arguments += [str(LINK / folder) for folder in DEFAULT if (LINK / folder).is_dir()]
    return [
        *(paths.VENV_PYTHON, "-m", "pytest"),
        *(f"--rootdir={LINK}", f"--confcutdir={LINK}", f"--config-file={LINK / 'pyproject.toml'}"),
        *(f"--odoo-database={name}", f"--odoo-config={paths.CONFIG}", "--odoo-log-level=warn", "--odoo-http"),
        *("-p", "script.lib.pytest_plugin", *arguments),
    ]


def _through_link(argument, here):
    """`tests/test_x.py::TestX` as seen through the link; anything that is no path in the checkout as it is."""
    path, *rest = argument.split("::")
    path = (here / path).resolve()
    if argument.startswith("-") or not path.exists() or not path.is_relative_to(paths.ROOT):
        return argument
    return "::".join([str(LINK / path.relative_to(paths.ROOT)), *rest])


def _environment():
    environment = odoo.environment()
    environment["PYTHONPATH"] = os.pathsep.join([str(paths.ROOT), environment["PYTHONPATH"]])
    environment["HYPOTHESIS_STORAGE_DIRECTORY"] = str(paths.DEV / "hypothesis")
    return environment
