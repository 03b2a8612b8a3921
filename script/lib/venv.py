"""The Python packages, in the exact versions of `requirements-dev.txt`."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from . import paths, process, say

LOCK_FILE = paths.ROOT / "requirements-dev.txt"
# The shell that started us may have set these for its own Python.
FOREIGN = ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "PIP_TARGET", "PIP_USER", "PIP_PREFIX")


def missing() -> bool:
    """Tell whether the packages of the present lock file still have to be installed."""
    return not (paths.VENV.resolve() == _folder() and paths.VENV_PYTHON.exists())


def ensure() -> None:
    """Install the packages if the lock file has changed. The link `.dev/venv` moves once all of them are there."""
    if not missing():
        return
    folder, current = _folder(), paths.VENV.resolve()
    for old in paths.DEV.glob("venv-*"):
        if old != current or old == folder:
            shutil.rmtree(old)
    _create(folder)
    install(LOCK_FILE, "Installing the Python packages (a minute or two) …", folder / "bin" / "python")
    link = paths.DEV / "venv.new"
    link.unlink(missing_ok=True)
    link.symlink_to(folder.name)
    link.replace(paths.VENV)


def _folder() -> Path:
    return paths.DEV / f"venv-{hashlib.sha256(LOCK_FILE.read_bytes()).hexdigest()[:12]}"


def _create(folder: Path) -> None:
    options = ["--without-pip"] if shutil.which("uv") else []
    done = subprocess.run([sys.executable, "-m", "venv", *options, folder], capture_output=True, check=False)
    if done.returncode:
        raise say.Problem(
            "This Python cannot make virtual environments: install uv, or Python's venv module "
            f"(on Debian: apt-get install python3.{sys.version_info.minor}-venv)."
        )


def install(lock_file: Path, title: str, python: Path = paths.VENV_PYTHON, target: Path | None = None) -> None:
    """Install the packages of a lock file for a Python, or into a folder of their own (`target`).

    :raise say.Problem: if they cannot be installed
    """
    if shutil.which("uv"):
        command = ["uv", "pip", "install", "--python", python]
    else:
        command = [python, "-m", "pip", "--disable-pip-version-check", "install", "--no-compile", "--no-input"]
    if target:
        command += ["--no-deps", "--target", target]
    environment = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    try:
        process.run(
            [*command, "--require-hashes", "-r", lock_file],
            "packages.log",
            title,
            env=environment,
        )
    except process.Failed as failure:
        reason = next((line for line in reversed(failure.lines) if "error" in line.lower()), failure.lines[-1])
        raise say.Problem(f"The Python packages cannot be had: {reason.strip()} (see {failure.log})") from None
