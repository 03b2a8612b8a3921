"""Odoo inside this process, on a database of its own, for measurements without HTTP."""

import contextlib
import logging
import sys
from collections.abc import Iterator
from typing import Any

from script.lib import database, odoo, paths

ADDONS = paths.ROOT / "benchmarks" / "addons"
FLOOR = "sendgrid_bench_floor"
ADDONS_PATH = f"--addons-path={paths.ADDONS},{ADDONS}"

# Odoo's classes have no names here: Odoo can be imported only after `environment` has found it.
Env = Any  # an `odoo.api.Environment`
Cursor = Any  # the cursor of one
Record = Any  # the records of a model, or the model itself


@contextlib.contextmanager
def fresh_database(*modules: str, with_addon: bool = True, addons_path: str = ADDONS_PATH) -> Iterator[str]:
    """Give the name of a fresh database with the addon and further modules; drop it at the end."""
    with database.for_tests(with_addon) as name:
        if modules:
            database.run_odoo(name, f"Installing {', '.join(modules)} …", addons_path, f"--init={','.join(modules)}")
        yield name


@contextlib.contextmanager
def environment(name: str, addons_path: str = ADDONS_PATH) -> Iterator[Env]:
    """Give an environment of the superuser on a database. Only one can be open; changes without a commit are lost."""
    if str(odoo.source()) not in sys.path:
        sys.path.insert(0, str(odoo.source()))
    from odoo import SUPERUSER_ID, api
    from odoo.modules.registry import Registry
    from odoo.tools import config

    arguments = [f"--config={paths.CONFIG}", f"--database={name}", addons_path, "--no-http", "--log-level=error"]
    config.parse_config(arguments, setup_logging=True)
    logging.getLogger("odoo").setLevel(logging.ERROR)
    with Registry(name).cursor() as cr:
        yield api.Environment(cr, SUPERUSER_ID, {})
        cr.rollback()
