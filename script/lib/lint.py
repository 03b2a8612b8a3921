"""`script/lint`"""

import ast
import os
import subprocess
from pathlib import Path

from . import paths, say

# These programs know no Odoo, so they get the general checks only; the addon gets Odoo's checks too.
NOT_ODOO = (
    "benchmarks",
    "sandbox",
    "script",
    "tests/end_to_end",
    "tests/faults",
    "tests/install",
    "tests/upgrade",
)
# As in Odoo, the functions of these carry no annotations. Ruff can only ask for some.
NOT_ANNOTATED = ("controllers", "models", "wizard")

# The rules of imports, in pyproject.toml, name packages: the addon's is found here, then `sandbox`, then `lib`.
PACKAGES = (paths.ADDONS, paths.ROOT, paths.ROOT / "script")
# A program without a module that could be run by its name.
PROGRAMS = {"lint-imports": ("-c", "from importlinter.cli import lint_imports_command as run; run()")}


def main(arguments: list[str]) -> int:
    """Run all checks, and fail if one of them does. `--fix` lets ruff put right what it can."""
    fix = "--fix" in arguments
    programs, addon = _python_files()
    results = [
        _run("ruff", "check", *(["--fix"] if fix else []), "."),
        _run("ruff", "format", *([] if fix else ["--check"]), "."),
        _run("pylint", *addon, "--enable=odoolint"),
        _run("pylint", *programs),
        _run("lint-imports", "--no-cache", "--no-logo"),
        _find_annotations(),
    ]
    if any(results):
        return 1
    say.step("All checks passed.")
    return 0


def _python_files() -> tuple[list[Path], list[Path]]:
    """The programs' files, and the addon's under the name that Odoo knows them by."""
    programs, addon = [], []
    for path in sorted(paths.ROOT.rglob("*.py")):
        if paths.DEV in path.parents:
            continue
        if any(path.is_relative_to(paths.ROOT / folder) for folder in NOT_ODOO):
            programs.append(path)
        else:
            addon.append(paths.ADDONS / paths.ADDON / path.relative_to(paths.ROOT))
    return programs, addon


def _find_annotations() -> int:
    """Name the functions that are annotated and should not be; return how many they are."""
    found = [
        f"{path.relative_to(paths.ROOT)}:{node.lineno}: `{node.name}` is annotated, unlike Odoo's models."
        for folder in NOT_ANNOTATED
        for path in sorted((paths.ROOT / folder).glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and (node.returns or any(one.annotation for one in node.args.args))
    ]
    for line in found:
        say.warn(line)
    return len(found)


def _run(tool: str, *arguments: str | Path) -> int:
    say.step(f"{tool} {arguments[0] if tool == 'ruff' else ''}".rstrip())
    done = subprocess.run(
        [paths.VENV_PYTHON, *PROGRAMS.get(tool, ("-m", tool)), *arguments],
        cwd=paths.ROOT,
        env={**os.environ, "PYLINTHOME": str(paths.DEV / "pylint"), "PYTHONPATH": os.pathsep.join(map(str, PACKAGES))},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    link = paths.ADDONS.relative_to(paths.ROOT) / paths.ADDON
    print(done.stdout.replace(f"{link}/", ""), end="")
    return done.returncode
