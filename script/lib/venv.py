"""The Python packages, in the exact versions of `requirements-dev.txt`."""

import hashlib
import os
import shutil
import subprocess
import sys

from . import paths, say

LOCK_FILE = paths.ROOT / "requirements-dev.txt"


def missing():
    """Whether the packages of the present lock file still have to be installed."""
    return not (paths.VENV.resolve() == _folder() and paths.VENV_PYTHON.exists())


def ensure():
    """Install the packages if the lock file has changed. Built aside, `.dev/venv` is a link that moves when all is there."""
    if not missing():
        return
    folder = _folder()
    current = paths.VENV.resolve()
    for old in paths.DEV.glob("venv-*"):
        if old != current or old == folder:
            shutil.rmtree(old)
    say.step("Installing Python packages …")
    _create(folder)
    _install(folder)
    link = paths.DEV / "venv.new"
    link.unlink(missing_ok=True)
    link.symlink_to(folder.name)
    link.replace(paths.VENV)


def _folder():
    return paths.DEV / f"venv-{hashlib.sha256(LOCK_FILE.read_bytes()).hexdigest()[:12]}"


def _create(folder):
    done = subprocess.run(
        [sys.executable, "-m", "venv", *(["--without-pip"] if shutil.which("uv") else []), folder],
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise say.Problem(
            "Python cannot make a virtual environment: install uv, or Python's venv module "
            f"(on Debian: apt-get install python3.{sys.version_info.minor}-venv)."
        )


def _install(folder):
    python = folder / "bin" / "python"
    if shutil.which("uv"):
        command = ["uv", "pip", "install", "--python", python]
    else:
        command = [python, "-m", "pip", "--disable-pip-version-check", "install", "--no-compile"]
    done = subprocess.run([*command, "--require-hashes", "-r", LOCK_FILE], env=_clean_environment(), check=False)
    if done.returncode:
        raise say.Problem("The Python packages could not be installed: is there a network? (The reason is above.)")


def _clean_environment():
    """Settings of an environment that we were started from do not belong in ours."""
    return {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    }
