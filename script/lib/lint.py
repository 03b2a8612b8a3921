"""`script/lint`"""

import os
import subprocess

from . import paths, say

# Programs that know no Odoo: general checks for all, Odoo's for the addon.
NOT_ODOO = ("benchmarks", "sandbox", "script")


def main(arguments):
    """Run all checks, and fail if one of them does. `--fix` lets ruff put right what it can."""
    fix = "--fix" in arguments
    programs, addon = _python_files()
    results = [
        _run("ruff", "check", *(["--fix"] if fix else []), "."),
        _run("ruff", "format", *([] if fix else ["--check"]), "."),
        _run("pylint", *addon, "--enable=odoolint"),
        _run("pylint", *programs),
    ]
    if any(results):
        return 1
    say.step("All checks passed.")
    return 0


def _python_files():
    """The programs' files and the addon's, the latter under the name that Odoo knows them by."""
    link = paths.ADDONS / paths.ADDON
    files = sorted(path.relative_to(paths.ROOT) for path in paths.ROOT.rglob("*.py") if paths.DEV not in path.parents)
    programs = [str(path) for path in files if path.parts[0] in NOT_ODOO]
    addon = [str(link / path) for path in files if path.parts[0] not in NOT_ODOO]
    return programs, addon


def _run(tool, *arguments):
    say.step(f"{tool} {arguments[0] if tool == 'ruff' else ''}".rstrip())
    done = subprocess.run(
        [paths.VENV_PYTHON, "-m", tool, *arguments],
        cwd=paths.ROOT,
        env={**os.environ, "PYLINTHOME": str(paths.DEV / "pylint")},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    link = paths.ADDONS.relative_to(paths.ROOT) / paths.ADDON
    print(done.stdout.replace(f"{link}/", ""), end="")
    return done.returncode
