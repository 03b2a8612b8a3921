"""Kills while people decline to be measured, have their tracking forgotten, or get a file of all that is known.

They do so as people do: by the button of the public page, and by an administrator's dialog and menu.
"""

import contextlib
import functools
import gzip
import itertools
import json
import time
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest
import requests
from crowd import Crowd
from harness import OdooClient, OdooError, wait_for
from lxml import etree
from sender import Sender, keep_running
from test_kill import RECOVERY, Killer

from script.lib import database as databases
from tools.sending import notice, notice_token

WAYS = ("job_worker", "postgres", "backend", "connections", "server")
# More documents than the transaction reduces in which somebody is forgotten (`AT_ONCE`), and more than the transaction
# writes that makes a file: so the scheduled action has the rest to do.
MANY, EXPORTED = 310, 1500
EXPORTS = """
import os
from datetime import datetime, timedelta
account, address = env["sendgrid.account"].search([], limit=1), os.environ["ADDRESS"]
contact = env["res.partner"].with_context(tracking_disable=True).create({"name": address, "email": address})
env["sendgrid.email"].create([
    {
        "odoo_id": f"{address}-{n}", "account_id": account.id, "recipient": address, "partner_id": contact.id,
        "message_id": f"<{n}-{address}>", "sent_date": datetime.now() - timedelta(hours=1), "subject": f"Mail {n}",
    }
    for n in range(int(os.environ["NUMBER"]))
])
env.cr.commit()
"""


class People:
    """What people do. Whoever is told that it failed, or is told nothing, tries again."""

    def __init__(self, stack, database):
        self.stack = stack
        self.secret = database.value("SELECT value FROM ir_config_parameter WHERE key = 'database.secret'")
        self.company_id = database.value("SELECT min(id) FROM res_company")

    def decline(self, addresses):
        """Press the button of the page, each by the link in a mail of his own."""
        for address in addresses:
            holder = notice_token.Holder(notice_token.LOOK, self.company_id, int(time.time()), address)
            link = f"{self.stack.odoo.url}{notice.ADDRESS}/{notice_token.seal(holder, self.secret)}"
            self.try_again(lambda link=link: self._press(link))

    def _press(self, link):
        answer = requests.post(link, data={"word": "declined"}, timeout=60)
        answer.raise_for_status()
        assert "You have declined" in answer.text

    def forget(self, addresses):
        """Press the button of the dialog, which was opened on contacts."""
        self.try_again(lambda: self._forget(addresses))

    def _forget(self, addresses):
        odoo = OdooClient(self.stack.odoo)
        contacts = [contact.id for contact in odoo.find("res.partner", ("email", "in", addresses), fields=["id"])]
        assert len(contacts) == len(addresses)
        context = {"active_model": "res.partner", "active_ids": contacts}
        [dialog] = odoo.call("sendgrid.forget", "create", [{}], context=context)
        odoo.call("sendgrid.forget", "action_forget", [dialog])

    def export(self, address):
        """Choose *Export Tracking* on a contact; return the id of the export."""
        return self.try_again(lambda: self._export(address))

    def _export(self, address):
        odoo = OdooClient(self.stack.odoo)
        [contact] = odoo.find("res.partner", ("email", "=", address), fields=["id"])
        action = odoo.ref("sendgrid_tracking.ir_actions_server_export_contact")
        context = {"active_model": "res.partner", "active_id": contact.id, "active_ids": [contact.id]}
        return odoo.call("ir.actions.server", "run", [action], context=context)["res_id"]

    def try_again(self, act):
        """Do something until it is answered, and return the answer."""
        deadline = time.monotonic() + RECOVERY
        while True:
            try:
                return act()
            except (OdooError, requests.RequestException):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)


@pytest.fixture
def people(stack, database):
    """The people, who come by HTTP."""
    return People(stack, database)


@pytest.fixture
def crowd(database):
    """Documents of so many people that some can be forgotten by the hundreds."""
    return Crowd(database, 3 * MANY)


def kill_while(stack, killer, way, chance, act, *arguments):
    """Have somebody do something, kill something at a random moment, and return what came of it in the end."""
    with ThreadPoolExecutor(1) as pool:
        doing = pool.submit(act, *arguments)
        time.sleep(chance.uniform(0, 1))  # a random moment
        getattr(killer, way)()

        def is_done():
            keep_running(stack.odoo)
            return doing.done()

        wait_for(is_done, f"{act.__name__} after {way}", 2 * RECOVERY)
        return doing.result()


def wait_for_job(stack, database, cron, statement, *values):
    """Wait until a statement finds no more work of a scheduled action, which need not wait for its hour here."""

    def is_done():
        keep_running(stack.odoo)
        with contextlib.suppress(psycopg2.OperationalError):
            database.query(
                """UPDATE ir_cron SET nextcall = now() AT TIME ZONE 'UTC' - interval '1 minute'
                    WHERE id = (SELECT res_id FROM ir_model_data WHERE name = %s)""",
                cron,
            )
            database.minute_is_over()
            return not database.value(statement, *values)
        return False

    wait_for(is_done, f"{cron} is done", RECOVERY)


def test_kill_while_reducing(request, stack, cluster, database, webhook, crowd, people, chance, report):
    """Kill something at a random moment while people decline and SendGrid goes on posting; then check the result."""
    rounds = max(len(WAYS), request.config.getoption("rounds") // 3)
    killer = Killer(stack, cluster, database, chance)
    # Use each way as often as the others, in a random order: so each hits who declines, and who is forgotten.
    ways = [WAYS[number % len(WAYS)] for number in range(rounds)]
    chance.shuffle(ways)
    rest = list(crowd.addresses)
    chance.shuffle(rest)
    some = {people.decline: [], people.forget: []}
    sizes = itertools.chain([MANY, MANY], itertools.repeat(5))
    with Sender(webhook, lambda: crowd.events(chance, chance.randint(1, 50)), chance, clients=2) as sender:
        for number, way in enumerate(ways):
            act = people.forget if number % 2 else people.decline
            size = next(sizes) if act == people.forget else 5
            ended, rest = rest[:size], rest[size:]
            some[act] += ended
            kill_while(stack, killer, way, chance, act, ended)
    wait_for(lambda: keep_running(stack.odoo) or stack.odoo.running(), "Odoo runs", RECOVERY)
    crowd.wait_until_drained(RECOVERY)
    undone = "SELECT count(*) FROM sendgrid_reduction WHERE state != 'done'"
    wait_for_job(stack, database, "ir_cron_reduce", undone)
    declined, forgotten = some.values()
    ended = {*declined, *forgotten}
    told = [e for e in sender.events if not (e["email"] in ended and e["event"] in ("open", "click"))]
    assert len(told) < len(sender.events), "they opened something"
    crowd.check(told)
    for addresses, reason in ((declined, "wish"), (forgotten, "forgotten")):
        levels = "SELECT DISTINCT measured, unmeasured_reason FROM sendgrid_email WHERE recipient = ANY(%s)"
        assert database.query(levels, addresses) == [("none", reason)]
    check_proofs(database, declined, forgotten)
    for (body,) in database.query("SELECT body_gzip FROM sendgrid_event_batch"):
        for event in json.loads(gzip.decompress(b64decode(bytes(body)))):
            assert not (event["email"] in ended and event["event"] in ("open", "click")), event
    report(
        f"kill while reducing: {rounds} rounds, {len(declined)} declined, {len(forgotten)} forgotten; "
        f"{len(sender.events)} events, {len(told)} kept"
    )


def check_proofs(database, declined, forgotten):
    """Assert that each person has what proves his word, and that nobody has a word that he has not said."""
    words = database.query(
        """SELECT address.email, address.email_tracking, array_agg(DISTINCT consent.word)
             FROM sendgrid_address address JOIN sendgrid_consent consent ON consent.address_id = address.id
            WHERE consent.source = 'page' AND consent.wording_id IS NOT NULL
         GROUP BY address.id ORDER BY address.email"""
    )
    assert words == [(address, "declined", ["declined"]) for address in sorted(declined)]
    noted = database.query(
        """SELECT email FROM sendgrid_address
            WHERE forgotten_date IS NOT NULL AND forgotten_uid IS NOT NULL AND email_tracking IS NULL ORDER BY email"""
    )
    assert noted == [(address,) for address in sorted(forgotten)]
    stopped = database.query("SELECT email FROM sendgrid_address WHERE unmeasured_until IS NOT NULL ORDER BY email")
    assert stopped == [(address,) for address in sorted({*declined, *forgotten})]


def test_kill_while_exporting(stack, cluster, database, people, chance, report):
    """Kill something at a random moment while a large file is written: in the end it has each e-mail, once."""
    killer = Killer(stack, cluster, database, chance)
    address = f"exported-{chance.randrange(10**9)}@example.test"
    databases.run_script(database.name, EXPORTS, ADDRESS=address, NUMBER=str(EXPORTED))
    unfinished = "SELECT count(*) FROM sendgrid_export WHERE id = %s AND state = 'running'"
    for way in chance.sample(WAYS, 3):
        number = kill_while(stack, killer, way, chance, people.export, address)
        wait_for(lambda: keep_running(stack.odoo) or stack.odoo.running(), "Odoo runs", RECOVERY)
        wait_for_job(stack, database, "ir_cron_export", unfinished, number)
        odoo = people.try_again(lambda: OdooClient(stack.odoo))
        # A worker may still hold a connection to the PostgreSQL that was killed.
        read = functools.partial(odoo.read, "sendgrid.export", number, "state", "email_count")
        export = people.try_again(read)
        assert (export.state, export.email_count) == ("done", EXPORTED)
        file = odoo.http.get(f"{stack.odoo.url}/sendgrid/export/{number}", timeout=60)
        subjects = etree.fromstring(file.content).xpath("//*[@data-field='subject']/text()")
        assert sorted(subjects) == sorted(f"Mail {n}" for n in range(EXPORTED))
    report(f"kill while exporting: 3 files of {EXPORTED} e-mails")


@pytest.fixture(autouse=True)
def _postgres_is_there_afterwards(cluster):
    yield
    cluster.start()
