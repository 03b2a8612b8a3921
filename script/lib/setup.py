"""Everything that a command needs before it can run, each part made once. A few milliseconds when all is there."""

import os
import shutil

from . import lock, odoo, paths, say, venv

GIGABYTES_NEEDED = 4


def prepare():
    """Make what is missing of `.dev`: Odoo, its Python packages, the configuration."""
    try:
        for folder in (paths.DEV, paths.ADDONS, paths.DATA, paths.LOG):
            folder.mkdir(exist_ok=True)
        writable = os.access(paths.DEV, os.W_OK)
    except PermissionError:
        writable = False
    if not writable:
        raise say.Problem(f"{paths.DEV} is not writable for this user: run as its owner, or remove it.")
    with lock.exclusive("setup"):
        if odoo.missing() or venv.missing():
            _check_disk()
        odoo.ensure()
        venv.ensure()
        _link_addon()
        odoo.write_config()


def _check_disk():
    free = shutil.disk_usage(paths.DEV).free / 1e9
    if free < GIGABYTES_NEEDED:
        raise say.Problem(f"Too little disk: {paths.DEV} needs {GIGABYTES_NEEDED} GB free, there are {free:.1f}.")


def _link_addon():
    link = paths.ADDONS / paths.ADDON
    if not link.is_symlink():
        link.symlink_to("../..")
