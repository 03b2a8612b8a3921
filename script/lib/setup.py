"""Makes everything that a command needs before it can run, each part once. It takes milliseconds if all is there."""

import os
import shutil
from collections.abc import Callable

from . import lock, odoo, paths, say, venv

GIGABYTES_NEEDED = 4


def prepare(before: Callable[[], None] | None = None) -> None:
    """Make the missing parts of `.dev`: Odoo, its Python packages, the configuration.

    :param before: a function to call before anything that takes long
    """
    _make_folders()
    with lock.exclusive("setup"):
        if odoo.missing() or venv.missing():
            if before:
                before()
            _check_disk()
        odoo.ensure()
        venv.ensure()
        odoo.write_config()


def _make_folders() -> None:
    link = paths.ADDONS / paths.ADDON
    try:
        for folder in (paths.DEV, paths.ADDONS, paths.DATA, paths.LOG):
            folder.mkdir(exist_ok=True)
        if not link.is_symlink():
            link.symlink_to("../..")
    except FileExistsError:
        pass  # another run made it first
    except PermissionError:
        raise _not_ours() from None
    if not all(os.access(folder, os.W_OK) for folder in (paths.DEV, paths.ADDONS, paths.DATA, paths.LOG)):
        raise _not_ours()


def _not_ours() -> say.Problem:
    return say.Problem(f"{paths.DEV} cannot be written by this user: run as the one who made it, or remove it.")


def _check_disk() -> None:
    free = shutil.disk_usage(paths.DEV).free / 1e9
    if free < GIGABYTES_NEEDED:
        raise say.Problem(f"Too little disk: {paths.DEV} needs {GIGABYTES_NEEDED} GB, {free:.1f} GB are free.")
