"""The released version, filled; and the same database after the upgrade to the present tree."""

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
    """An upgraded database, and what is told of its upgrade."""

    name: str
    before: state.State
    after: state.State
    log: list[str]


class Told:
    """What the filling told, kept in the database itself, beside Odoo's tables."""

    def __init__(self, name):
        self.database = Database(name)

    def write(self, told):
        """Keep it."""
        self.database.query("CREATE SCHEMA upgrade_test")
        self.database.query("CREATE TABLE upgrade_test.told AS SELECT %s::jsonb AS told", json.dumps(told))

    def read(self):
        """Return it."""
        return self.database.value("SELECT told FROM upgrade_test.told")


def ensure_released():
    """The released version, filled: made anew when another version is released, or another filling is written."""
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
        # The filling held it, so that a batch was left.
        Database(name).query("UPDATE ir_cron SET active = TRUE WHERE id = %s", told["job"])
        Told(name).write(told)

    sources = [(HERE / name).read_bytes() for name in ("fill.py", "pages.py")]
    made_of = b"\0".join([databases.base_hash().encode(), latest.commit.encode(), *sources])
    return databases.ensure("released", hashlib.sha256(made_of).hexdigest()[:12], make)


def look_at_pages(server, contacts):
    """What the users see: {user: {page: ...}}, see `pages.look`.

    :param contacts: {name: id} of `fill.fill`
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
    """The database that is upgraded: its name, its states before and after, and the log of the upgrade."""
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
    """The state of a database into which the present tree was installed."""
    with databases.template() as name:
        return state.read(Database(name))


@pytest.fixture(scope="session")
def told(upgrade):
    """What the filling told (see `fill.fill`), and what the pages showed."""
    return Told(upgrade.name).read()


@pytest.fixture(scope="session")
def running(upgrade):
    """The present tree on the upgraded database, and the local SendGrid. Jobs run when a test says so."""
    with stack.on(upgrade.name, options=["--max-cron-threads=0"]) as running:
        yield running


@pytest.fixture(scope="session")
def shown(running, told):
    """What the pages show after the upgrade, before anything else happens."""
    return look_at_pages(running.odoo, told["contacts"])


@pytest.fixture(scope="session")
def client(running, shown):
    """The administrator's client of the upgraded database."""
    return OdooClient(running.odoo)


@pytest.fixture(scope="session")
def sandbox(running):
    """The local SendGrid's API."""
    return SandboxClient(running.sandbox)


@pytest.fixture(scope="session")
def webhook(sandbox):
    """The account's webhook, to POST to as SendGrid."""
    return Webhook(sandbox.webhook()["url"])
