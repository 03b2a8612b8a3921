"""The stack of `tests/end_to_end` once more, with a module of OCA's beside the addon: one after the other."""

from pathlib import Path

import pytest

from script.lib import database as databases
from script.lib import oca, odoo, paths
from script.lib import stack as stacks

LOCK_FILE = Path(__file__).with_name("requirements.txt")
VERSIONS = oca.versions(LOCK_FILE)


@pytest.fixture(scope="session", params=[pytest.param(name, id=f"{name} {VERSIONS[name]}") for name in VERSIONS])
def stack(request):
    """Odoo and the local SendGrid on a database with the addon and one of OCA's modules."""
    with odoo.addons_from(paths.ADDONS, oca.ensure(LOCK_FILE)), databases.for_tests() as name:
        databases.run_odoo(name, f"Installing {request.param} …", f"--init={request.param}", log="compat-oca.log")
        with stacks.on(name) as running:
            yield running
