"""The fixtures: a filled database of the released version, and the same database upgraded to the present tree."""

import hashlib
import json
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "end_to_end"))

import fill as filling  # noqa: E402
import pages  # noqa: E402
import state  # noqa: E402
from harness import Database, OdooClient, SandboxClient, Webhook  # noqa: E402

from script.lib import database as databases  # noqa: E402
from script.lib import odoo, paths, release, stack  # noqa: E402

USERS = ("admin", "sam")
CHATTERS = ("bounced", "clicked", "noted")
LOG = "upgrade.log"


class Upgrade(NamedTuple):
    """An upgraded database: its name, its states before and after the upgrade, and the log lines of the upgrade."""

    name: str
    before: state.State
    after: state.State
    log: list[str]


class Told:
    """The results of the filling. The database itself keeps them beside Odoo's tables, so that copies have them too."""

    def __init__(self, name):
        self.database = Database(name)

    def write(self, told):
        """Keep the results: {name: value}, for JSON."""
        self.database.query("CREATE SCHEMA upgrade_test")
        self.database.query("CREATE TABLE upgrade_test.told AS SELECT %s::jsonb AS told", json.dumps(told))

    def read(self):
        """Return the kept results."""
        return self.database.value("SELECT told FROM upgrade_test.told")


def ensure_released():
    """Return the name of a filled database of the released version.

    It is made again if another version is released or if the code of the filling changes.
    """
    base, latest = databases.ensure_base(), release.latest()
    addons = release.addons_path(latest)

    def make(name):
        with odoo.addons_from(addons):
            databases.clone(base, name)
            title = f"Installing version {latest.version} …"
            databases.run_odoo(name, title, "-i", paths.ADDON, log="upgrade-install.log")
            with stack.on(name) as running:
                told = filling.fill(running)
                told["pages"] = look_at_pages(running.odoo, told["contacts"])
                running.odoo.stop()
        # The filling switched the drain off in order to leave a batch pending. Switch it on again.
        Database(name).query("UPDATE ir_cron SET active = TRUE WHERE id = %s", told["job"])
        Told(name).write(told)

    sources = [(HERE / name).read_bytes() for name in ("fill.py", "pages.py")]
    made_of = b"\0".join([databases.base_hash().encode(), latest.commit.encode(), *sources])
    return databases.ensure("released", hashlib.sha256(made_of).hexdigest()[:12], make)


def look_at_pages(server, contacts):
    """Return what the users see.

    :param server: the running Odoo
    :param contacts: {name: id}, as `fill.fill` returns them
    :return: {login: {page: see `pages.look`}}
    """
    clients = {login: OdooClient(server, login, login) for login in USERS}
    return {
        login: {
            **pages.look(clients["admin"], client),
            **{f"chatter of {name}": pages.look_at_chatter(client, "res.partner", contacts[name]) for name in CHATTERS},
        }
        for login, client in clients.items()
    }


@pytest.fixture(scope="session")
def upgrade():
    """Upgrade a copy of the filled database, and return its `Upgrade`."""
    with databases.copy_of(ensure_released) as name:
        before = state.read(Database(name))
        log = databases.run_odoo(name, "Upgrading …", "-u", paths.ADDON, log=LOG)
        yield Upgrade(name, before, state.read(Database(name)), log)


@pytest.fixture(scope="session")
def before(upgrade):
    """The state before the upgrade."""
    return upgrade.before


@pytest.fixture(scope="session")
def after(upgrade):
    """The state right after the upgrade."""
    return upgrade.after


@pytest.fixture(scope="session")
def fresh():
    """The state of a new database into which the present tree was installed."""
    with databases.template() as name:
        return state.read(Database(name))


@pytest.fixture(scope="session")
def told(upgrade):
    """The results of the filling (see `fill.fill`), with what the pages showed then under the key ``pages``."""
    return Told(upgrade.name).read()


@pytest.fixture(scope="session")
def running(upgrade):
    """The present tree on the upgraded database, and the local SendGrid. Scheduled actions run when a test says so."""
    with stack.on(upgrade.name, options=["--max-cron-threads=0"]) as running:
        yield running


@pytest.fixture(scope="session")
def shown(running, told):
    """The pages' contents after the upgrade, before a test changes anything; see `look_at_pages`."""
    return look_at_pages(running.odoo, told["contacts"])


@pytest.fixture(scope="session")
def client(running, shown):
    """A client of the upgraded database, logged in as the administrator."""
    return OdooClient(running.odoo)


@pytest.fixture(scope="session")
def sandbox(running):
    """The local SendGrid's API."""
    return SandboxClient(running.sandbox)


@pytest.fixture(scope="session")
def webhook(sandbox):
    """A client that POSTs to the account's webhook as SendGrid does."""
    return Webhook(sandbox.webhook()["url"])
