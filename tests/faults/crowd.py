"""Documents that events can be about, and a reference that computes the state that the events must lead to."""

import datetime
import secrets
import time
from collections import defaultdict

from harness import wait_for, wire
from psycopg2.sql import SQL, Identifier

from script.lib import database as databases
from tools.events.fold import fold
from tools.events.parsing import parse_batch

MAKE = """
import os
from datetime import datetime, timedelta
domain, number = os.environ["CROWD_DOMAIN"], int(os.environ["CROWD_NUMBER"])
account = env["sendgrid.account"].search([], limit=1)
addresses = [f"somebody{n}@{domain}" for n in range(number)]
contacts = env["res.partner"].with_context(tracking_disable=True)
partners = contacts.create([{"name": address, "email": address} for address in addresses])
env["sendgrid.email"].create([
    {
        "odoo_id": f"{domain}-{n}", "account_id": account.id, "recipient": address, "message_id": f"<{n}@{domain}>",
        "sent_date": datetime.now() - timedelta(hours=1), "subject": address, "partner_id": partner.id,
        "model": "res.partner", "res_id": partner.id,
    }
    for n, (address, partner) in enumerate(zip(addresses, partners))
])
env.cr.commit()
"""
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
# Each kind's share in percent, and its fields. Document, kind and second name an event; nothing else varies.
KINDS = {
    "processed": (38, {}),
    "delivered": (36, {"response": "250 2.0.0 OK"}),
    "open": (15, {"useragent": AGENT, "ip": "203.0.113.7", "sg_machine_open": False}),
    "click": (5, {"useragent": AGENT, "ip": "203.0.113.7", "url": "https://shop.example.com/"}),
    "deferred": (3, {"response": "451 4.7.1 Greylisted", "attempt": "1"}),
    "bounce": (2, {"type": "bounce", "status": "5.1.1", "reason": "550 5.1.1 no such user"}),
    "unsubscribe": (1, {"useragent": AGENT}),
    "spamreport": (0.2, {}),
}
COLUMNS = (
    "status status_reason processed_date delivered_date first_open_date last_open_date open_count click_count "
    "machine_open_count machine_click_count"
).split()


class Crowd:
    """Documents in the database, one for each address."""

    def __init__(self, database, number):
        self.database = database
        self.domain = f"{secrets.token_hex(4)}.test"
        self.addresses = [f"somebody{n}@{self.domain}" for n in range(number)]
        databases.run_script(database.name, MAKE, CROWD_DOMAIN=self.domain, CROWD_NUMBER=str(number))
        self.odoo_db = database.value("SELECT value FROM ir_config_parameter WHERE key = 'database.uuid'")
        self.start = int(time.time()) - 1800

    def event(self, chance):
        """Return an event about one of the documents, chosen by chance."""
        number = chance.randrange(len(self.addresses))
        [kind] = chance.choices(list(KINDS), [often for often, _said in KINDS.values()])
        return self.event_of(number, kind, chance.randrange(1800))

    def event_of(self, number, kind, second):
        """Return an event about the document of this number, so many seconds after the start."""
        return {
            "email": self.addresses[number],
            "event": kind,
            "timestamp": self.start + second,
            "sg_event_id": secrets.token_urlsafe(16),
            "sg_message_id": f"{self.domain.replace('.', '')}{number}.recvd-1-2-3",
            "odoo_db": self.odoo_db,
            "odoo_id": f"{self.domain}-{number}",
            **KINDS[kind][1],
        }

    def events(self, chance, number):
        """Return some events."""
        return [self.event(chance) for _ in range(number)]

    def wait_until_drained(self, timeout=180):
        """Wait until all that was received is processed. Odoo's scheduler looks each second here, not each minute."""

        def is_drained():
            self.database.minute_is_over()
            return not self.database.value("SELECT count(*) FROM sendgrid_event_batch WHERE state = 'pending'")

        wait_for(is_drained, "all drained", timeout)

    def check(self, events):
        """Assert that exactly these events are stored, each once, and that each document has their state."""
        parsed, rejected = parse_batch(wire(events))
        assert not rejected
        by_copy = defaultdict(dict)
        for event in parsed:
            by_copy[event.odoo_id][event.fingerprint] = event
        stored = self.database.query(
            "SELECT fingerprint FROM sendgrid_event WHERE odoo_id LIKE %s AND email_id IS NOT NULL", f"{self.domain}-%"
        )
        expected = sorted(fingerprint for some in by_copy.values() for fingerprint in some)
        assert sorted(one for (one,) in stored) == expected
        assert not self.database.query("SELECT id, state, error FROM sendgrid_event_batch WHERE state != 'done'")
        rows = self.database.query(
            SQL(
                """SELECT email.odoo_id, {}, facts, consequence_error, partner.message_bounce
                     FROM sendgrid_email email JOIN res_partner partner ON partner.id = partner_id
                    WHERE odoo_id LIKE %s"""
            ).format(SQL(", ").join(map(Identifier, COLUMNS))),
            f"{self.domain}-%",
        )
        assert len(rows) == len(self.addresses)
        wrong = {}
        for odoo_id, *values, facts, error, bounces in rows:
            state = fold(by_copy[odoo_id].values())
            found = {name: value or None for name, value in zip(COLUMNS, values, strict=True)}
            found = found, facts or {}, error, bounces or 0
            # The consequences of a bounce happen once.
            wanted = as_columns(state), state.told, None, int("bounced" in state.facts)
            if found != wanted:
                wrong[odoo_id] = f"found {found}, wanted {wanted}"
        assert not wrong, "\n".join(f"{odoo_id}: {what}" for odoo_id, what in wrong.items())


def as_columns(state):
    """Return a state as its document stores it."""

    def moment(seconds):
        return seconds and datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).replace(tzinfo=None)

    columns = {
        "status": state.status,
        "status_reason": state.reason or None,
        "processed_date": moment(state.processed),
        "delivered_date": moment(state.delivered),
        "first_open_date": moment(state.first_open),
        "last_open_date": moment(state.last_open),
        "open_count": state.open_count,
        "click_count": state.click_count,
        "machine_open_count": state.machine_open_count,
        "machine_click_count": state.machine_click_count,
    }
    # A document stores the absence of a value in several ways.
    return {name: value or None for name, value in columns.items()}
