"""Things that happen at the same time: no error reaches a user, no mail is sent twice, no event is lost or double."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import Log, wait_for
from sender import Sender

from script.lib import database as databases

DRAIN = """
import os, time
env["ir.config_parameter"].set_param(f"another_drain.{os.getpid()}", "runs")
env.cr.commit()
end = time.monotonic() + 15
while time.monotonic() < end:
    env["sendgrid.drain"]._cron_drain()
"""
SEND = """
import os, time
address = os.environ["ADDRESS"]
mail = env["mail.mail"].create({
    "subject": address, "body_html": "<p>Hello</p>", "email_to": address, "email_from": "odoo@example.com",
    "auto_delete": False,
})
mail.send()

def count_early():
    with env.registry.cursor() as cr:
        cr.execute("SELECT count(*) FROM sendgrid_event WHERE recipient = %s AND match = 'early'", [address])
        return cr.fetchone()[0]

end = time.monotonic() + 60
while not count_early() and time.monotonic() < end:
    time.sleep(0.1)  # until it is looked again
print("early:", count_early())
getattr(env.cr, os.environ["END"])()
"""
MAILS = 60


# Core logs this for each conflict, even if it tries again and succeeds.
CONFLICTS = ("could not serialize access", "deadlock detected")


@pytest.fixture(autouse=True)
def _nothing_in_the_log(stack):
    """Fail a test if anything that happens at once is logged as an error."""
    log = Log(stack.odoo.log)
    yield
    problems = [one for one in log.problems() if not any(conflict in one for conflict in CONFLICTS)]
    assert not problems, "\n".join(problems)


def test_same_post_fifty_times(webhook, crowd, chance):
    """Fifty deliveries of one POST at the same moment."""
    events = crowd.events(chance, 1000)
    with ThreadPoolExecutor(50) as pool:
        assert list(pool.map(lambda _number: webhook.post(events).status_code, range(50))) == [204] * 50
    crowd.wait_until_drained()
    crowd.check(events)


def test_second_and_third_drain(database, webhook, crowd, chance):
    """Two more processes drain the incoming events, past the lock that lets only one of them."""
    running = "SELECT count(*) FROM ir_config_parameter WHERE key LIKE 'another_drain.%'"
    with ThreadPoolExecutor(2) as pool:
        drains = [pool.submit(databases.run_script, database.name, DRAIN) for _ in range(2)]
        with Sender(webhook, lambda: crowd.events(chance, chance.randint(1, 100)), chance) as sender:
            wait_for(lambda: database.value(running) == 2, "both run", 120)
            taken = sender.taken
            wait_for(lambda: sender.taken > taken + 100, "a load for all three", 120)
        for drain in drains:
            drain.result()
    crowd.wait_until_drained()
    crowd.check(sender.events)


def test_drain_beside_the_mail_queue(odoo, sandbox, database, crowd):
    """The queue sends mails about contacts that others edit, while the events of the mails just sent are drained."""
    queue = odoo.ref("mail.ir_cron_mail_scheduler_action")
    odoo.write("ir.cron", queue, nextcall="2100-01-01 00:00:00")
    contacts = odoo.find("res.partner", ("email", "in", crowd.addresses), fields=["email"])[:50]
    subjects = [f"{crowd.domain} {number}" for number in range(MAILS)]
    odoo.call(
        "mail.mail",
        "create",
        [
            {
                "subject": subject,
                "body_html": "<p>Hello</p>",
                "email_from": "odoo@example.com",
                "auto_delete": False,
                "model": "res.partner",
                "res_id": contacts[number % len(contacts)].id,
                "recipient_ids": [(6, 0, [contacts[number % len(contacts)].id])],
            }
            for number, subject in enumerate(subjects)
        ],
    )
    ends, edits = threading.Event(), []

    def edit():
        while not ends.is_set():
            contact = contacts[len(edits) % len(contacts)]
            odoo.write("res.partner", contact.id, comment=f"Edit {len(edits)}")
            odoo.call("res.partner", "message_post", [contact.id], body=f"Edit {len(edits)}")
            edits.append(contact.id)

    statuses = """SELECT status, count(*) FROM sendgrid_email WHERE subject LIKE %s GROUP BY status"""

    def are_delivered():
        database.minute_is_over()
        return database.query(statuses, f"{crowd.domain} %") == [("delivered", MAILS)]

    with ThreadPoolExecutor(1) as pool:
        editing = pool.submit(edit)
        try:
            odoo.write("ir.cron", queue, nextcall="2026-01-01 00:00:00")
            wait_for(are_delivered, "all delivered", 180)
        finally:
            ends.set()
        editing.result()
    assert edits
    received = Counter(message["subject"] for message in sandbox.messages())
    assert [received[subject] for subject in subjects] == [1] * MAILS
    assert {mail.state for mail in odoo.find("mail.mail", ("subject", "in", subjects), fields=["state"])} == {"sent"}
    events = """SELECT event.event, count(*), count(DISTINCT email.id)
                  FROM sendgrid_event event JOIN sendgrid_email email ON email.id = event.email_id
                 WHERE email.subject LIKE %s GROUP BY 1"""
    found = sorted(database.query(events, f"{crowd.domain} %"))
    assert found == [("delivered", MAILS, MAILS), ("processed", MAILS, MAILS)]


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_events_before_their_mail(sandbox, database, end):
    """A transaction that is still open has sent a mail, whose events are drained; then it commits or rolls back."""
    address = f"{end}-{int(time.time())}@early.test"
    said = databases.run_script(database.name, SEND, ADDRESS=address, END=end)
    assert int(said.split("early:")[1]), "events came before their document"
    status = "SELECT status FROM sendgrid_email WHERE recipient = %s"

    def arrived():
        database.minute_is_over()
        return database.query(status, address) == [("delivered",)]

    wait_for(arrived, "the events on the document", 60)
    assert len([one for one in sandbox.messages(address)]) == 1
    matches = database.query("SELECT event, match FROM sendgrid_event WHERE recipient = %s ORDER BY event", address)
    assert matches == [("delivered", "odoo_id"), ("processed", "odoo_id")]
