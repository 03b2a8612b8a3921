"""Several databases behind one host: the host's name decides which one a webhook reaches (`--db-filter`)."""

import pytest
import requests
from harness import Database, Webhook, wait_for, wire

from odoo.addons.sendgrid_tracking.tools.sending.notice import ADDRESS
from odoo.addons.sendgrid_tracking.tools.sending.notice_token import LOOK, Holder, seal

from script.lib import database as databases
from script.lib import paths, process, stack

EVENT = {"email": "ada@example.org", "event": "open", "timestamp": 1795500000, "odoo_db": "another", "odoo_id": "x"}


@pytest.fixture(scope="module")
def server():
    """One Odoo server with two databases, and the names of both."""
    with databases.for_tests() as first, databases.for_tests() as second:
        port, *others = (process.free_port() for _ in range(3))
        for name in (first, second):
            stack.configure(name, port, *others)
            # Both were copied from one database; installing gives each a secret of its own.
            Database(name).query("UPDATE ir_config_parameter SET value = %s WHERE key = 'database.secret'", f"s-{name}")
        logs = paths.LOG / first
        logs.mkdir(exist_ok=True)
        odoo = stack.Odoo(first, port, logs / "odoo.log", options=[f"--database={first},{second}", "--db-filter=^%d$"])
        odoo.launch()
        try:
            odoo.wait()
            yield odoo, (first, second)
        finally:
            odoo.kill()


def post(odoo, host, token):
    webhook = Webhook(f"{odoo.url}/sendgrid/webhook/{token}")
    body = wire([EVENT])
    headers = {**webhook.sign(body), **({"Host": host} if host else {})}
    return requests.post(webhook.url, data=body, headers=headers, timeout=60).status_code


def test_the_host_decides(server):
    """Each database takes the signed POSTs to its own host and address, and no other."""
    odoo, names = server
    found = {name: Database(name) for name in names}
    tokens = {name: found[name].value("SELECT webhook_token FROM sendgrid_account") for name in names}

    def count(name):
        return found[name].value("SELECT count(*) FROM sendgrid_event_batch")

    def matches(name):
        return found[name].query("SELECT match FROM sendgrid_event WHERE odoo_id = 'x'")

    for name, other in (names, names[::-1]):
        before = count(name), count(other)
        assert post(odoo, f"{name}.example.com", tokens[name]) == 204
        assert post(odoo, f"{name}.example.com", tokens[other]) == 404
        assert post(odoo, "unknown.example.com", tokens[name]) == 404
        assert post(odoo, None, tokens[name]) == 404, "by its number"
        assert (count(name), count(other)) == (before[0] + 1, before[1])
        # An event of another database that shares the account is stored, counted and set aside.
        assert wait_for(lambda name=name: matches(name), "drained") == [("foreign",)]
        counted = found[name].query("SELECT state, event_count, unmatched_count FROM sendgrid_event_batch")
        assert counted[-1] == ("done", 1, 1)


def test_the_host_decides_whose_link(server):
    """A recipient's link works in its own database only. Each of them answers a foreign one like any other bad one."""
    odoo, names = server
    for name, other in (names, names[::-1]):
        token = seal(Holder(LOOK, 1, 1795500000, "ada@example.org"), get_secret(name))
        url = f"{odoo.url}{ADDRESS}/{token}"

        def call(host, url=url):
            return requests.get(url, headers={"Host": f"{host}.example.com"}, timeout=60).status_code

        assert (call(name), call(other), call("unknown")) == (200, 404, 404)


def get_secret(name):
    return Database(name).value("SELECT value FROM ir_config_parameter WHERE key = 'database.secret'")
