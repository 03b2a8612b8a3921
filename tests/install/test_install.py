"""The install command of the README leaves every package alone that Odoo needs.

Odoo and its addons share one Python. A package that our requirements pull up can break Odoo itself: with a newer
cryptography than its pyopenssl knows, `import OpenSSL` fails and Odoo does not start.

`pins/` holds the versions that Odoo 19 may run with. Of Odoo's packages they name those that our requirements can touch
(the vendor's package has asked for cryptography and werkzeug, and brings six in), and those that need one of these. The
others share nothing with ours, and some of them would have to be compiled. This needs a package index, as the set-up of
`script/test` does.
"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import distributions
from pathlib import Path

import pytest

from script.lib import paths, python, say, venv

PINS = Path(__file__).parent / "pins"
MINORS = range(python.OLDEST[1], python.NEWEST[1] + 1)
# What Odoo's mail server imports, and what our code does.
IMPORTS = "import OpenSSL, cryptography, lxml.html, python_http_client, sendgrid, ua_parser; sendgrid.SendGridAPIClient"


@pytest.mark.parametrize("pins", ["released", "raised", "distributions", "newest"])
def test_every_package_of_odoo_stays_as_it_is(pins, tmp_path, capsys):
    pythons = _find_pythons()
    with capsys.disabled():
        say.step(f"\n{pins}: beside {', '.join(pythons)}")
    assert f"python3.{sys.version_info.minor}" in pythons

    def install(name):
        return [f"{name}: {problem}" for problem in _install(tmp_path / name, pythons[name], PINS / f"{pins}.txt")]

    with ThreadPoolExecutor(len(pythons)) as pool:
        problems = [problem for found in pool.map(install, pythons) for problem in found]
    assert not problems, "\n".join(["Our packages broke Odoo's:", *problems])


def _install(folder, interpreter, pins):
    """Install Odoo's packages, then ours.

    :return list: what our packages did to Odoo's, in words
    """
    _run(interpreter, "-m", "venv", "--without-pip", folder)
    # Packages that would have to be compiled take minutes, and programs that a machine may lack.
    _pip(folder, "install", "--only-binary=:all:", "-r", pins)
    before = _versions(folder)
    _pip(folder, "install", "-r", paths.ROOT / "requirements.txt")
    after = _versions(folder)
    # There was nothing to complain of before: in an empty environment pip installs what goes together, or fails.
    check = _try(*_pip_for(folder), "check")
    imports = _try(folder / "bin" / "python", "-c", IMPORTS)
    return [
        *(f"{name} {before[name]} became {after.get(name)}" for name in before if after.get(name) != before[name]),
        *(check.stdout.splitlines() if check.returncode else []),
        *(imports.stdout.splitlines()[-1:] if imports.returncode else []),
    ]


def _versions(folder):
    (packages,) = folder.glob("lib/python3.*/site-packages")
    return {package.metadata["Name"].lower(): package.version for package in distributions(path=[str(packages)])}


def _pip(folder, command, *arguments):
    _run(*_pip_for(folder), command, "--quiet", "--no-input", "--no-compile", *arguments)


def _pip_for(folder):
    return paths.VENV_PYTHON, "-m", "pip", "--disable-pip-version-check", "--python", folder / "bin" / "python"


def _run(*command):
    done = _try(*command)
    assert not done.returncode, f"{' '.join(map(str, command))}\n{done.stdout}"


def _try(*command):
    environment = {name: value for name, value in os.environ.items() if name not in venv.FOREIGN}
    return subprocess.run(
        [str(part) for part in command],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def _find_pythons():
    """Return the Pythons of this machine that Odoo 19 supports, by name: ours, those on PATH, and pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    may_look = os.access(pyenv, os.R_OK | os.X_OK)  # another user's may be named by the environment
    found = {}
    for minor in MINORS:
        name = f"python3.{minor}"
        ours = [sys.executable] if minor == sys.version_info.minor else []
        for candidate in [*ours, name, *(sorted(pyenv.glob(f"versions/3.{minor}.*/bin/{name}")) if may_look else ())]:
            if _runs(candidate):
                found[name] = candidate
                break
    return found


def _runs(interpreter):
    """Trying is the only way to know: a version manager's commands are on PATH also for Pythons that are off."""
    try:
        return not _try(interpreter, "-c", "import venv").returncode
    except OSError:
        return False
