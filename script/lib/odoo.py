"""Odoo's source: `ODOO_PATH` if it is set, else Debian's package, else a shallow clone of the official 19.0 branch."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from . import debian, paths, process, rtlcss, say

BRANCH, REPOSITORY = "19.0", "https://github.com/odoo/odoo.git"
DEBIAN_PREFIX = Path("usr/lib/python3/dist-packages")
WANTED = f"{debian.PACKAGES} or {BRANCH}\n"
MARK = paths.ODOO / ".wanted"  # holds the value of WANTED when the folder was made


def missing() -> bool:
    """Tell whether Odoo still has to be fetched."""
    return not os.environ.get("ODOO_PATH") and not (MARK.exists() and MARK.read_text() == WANTED)


def ensure() -> None:
    """Fetch Odoo if it is missing. The folder appears only once it is complete."""
    if missing():
        unfinished = paths.ODOO.with_name("odoo.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            debian.unpack(unfinished)
        except debian.Unavailable as problem:
            shutil.rmtree(unfinished, ignore_errors=True)
            _clone(unfinished, problem)
        (unfinished / MARK.name).write_text(WANTED)
        shutil.rmtree(paths.ODOO, ignore_errors=True)
        unfinished.rename(paths.ODOO)
    source()  # complain about a wrong ODOO_PATH before doing anything else


def source() -> Path:
    """Return the folder that holds the `odoo` package."""
    given = os.environ.get("ODOO_PATH")
    base = Path(given).expanduser().resolve() if given else paths.ODOO
    for folder in (base, base / DEBIAN_PREFIX, base.parent if base.name == "odoo" else base):
        release = folder / "odoo" / "release.py"
        if release.is_file():
            if "version_info = (19, 0," not in release.read_text():
                raise say.Problem(f"{base} is another version of Odoo than 19.0.")
            return folder
    raise say.Problem(f"There is no Odoo in {base}{' (ODOO_PATH)' if given else ': remove that folder'}.")


def command(*arguments: str) -> list[str]:
    """Return the command line of an Odoo process."""
    return [str(paths.VENV_PYTHON), *_program(), *map(str, arguments)]


def _program() -> list[str]:
    """Return Odoo's own script if there is one: with workers, Odoo starts a further process by its name."""
    folder = source()
    installed = folder.name in ("dist-packages", "site-packages")
    script = folder.parents[2] / "bin" / "odoo" if installed else folder / "odoo-bin"
    return [str(script)] if script.is_file() else ["-m", "odoo"]


def environment() -> dict[str, str]:
    """Return the environment of an Odoo process."""
    path = os.pathsep.join((str(rtlcss.PROGRAMS), os.environ.get("PATH", os.defpath)))
    return {
        **os.environ,
        "PATH": path,
        "PYTHONPATH": str(source()),
        "ODOO_RC": str(paths.CONFIG),
        "PYTHONUNBUFFERED": "1",
    }


@contextlib.contextmanager
def addons_from(*folders: Path) -> Iterator[None]:
    """Have the Odoo processes that start meanwhile find their addons in these folders, by Odoo's own variable."""
    os.environ["ODOO_ADDONS_PATH"] = ",".join(map(str, folders))
    try:
        yield
    finally:
        del os.environ["ODOO_ADDONS_PATH"]


def write_config() -> None:
    """Write Odoo's configuration. Options that differ from run to run go on the command line instead."""
    settings = {
        "addons_path": paths.ADDONS,
        "data_dir": paths.DATA,
        "http_interface": "127.0.0.1",
        "screenshots": paths.LOG / "screenshots",
        "workers": 0,
    }
    unfinished = paths.CONFIG.with_suffix(".new")
    unfinished.write_text("[options]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items()))
    unfinished.replace(paths.CONFIG)


def _clone(target: Path, problem: debian.Unavailable) -> None:
    say.step(f"Odoo cannot be had from Debian ({problem}).")
    command = ["git", "clone", "--depth=1", "--single-branch", f"--branch={BRANCH}", "--progress", REPOSITORY, target]
    title = f"Cloning Odoo's official branch {BRANCH} …"
    try:
        process.run(command, "clone.log", title, env={**os.environ, "GIT_TERMINAL_PROMPT": "0"})
    except (FileNotFoundError, process.Failed):
        shutil.rmtree(target, ignore_errors=True)
        raise say.Problem(
            "Odoo 19 can be had neither from Debian nor from its git repository: is there a network? "
            "ODOO_PATH may name an Odoo 19 that is already on this machine."
        ) from None
