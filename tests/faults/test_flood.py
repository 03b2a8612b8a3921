"""More events at once than SendGrid has ever sent, while somebody works in the web client."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from crowd import Crowd
from harness import wait_for

AT_ONCE = 1000  # events of a POST, about as many as in SendGrid's largest
EVENTS_OF_A_DOCUMENT = 20


class Visitor:
    """A user who goes from page to page of the web client; it makes the requests that the server would get."""

    def __init__(self, odoo, crowd):
        self.odoo = odoo
        self.crowd = crowd
        self.seconds = []

    def visit(self):
        """Open the list of documents, one document with its events, and its contact; change the contact."""
        start = time.monotonic()
        found = self.odoo.call(
            "sendgrid.email", "web_search_read", [], {"subject": {}, "status": {}, "recipient": {}}, limit=80
        )
        document_id = found["records"][0]["id"]
        events = {"fields": {"name": {}, "timestamp": {}, "explanation": {}}, "limit": 40}
        [document] = self.odoo.call(
            "sendgrid.email",
            "web_read",
            [document_id],
            {"subject": {}, "status": {}, "journey": {}, "partner_id": {}, "event_ids": events},
        )
        [contact] = self.odoo.find("res.partner", ("id", "=", document["partner_id"]), fields=["sendgrid_email_count"])
        assert contact.sendgrid_email_count
        self.odoo.write("res.partner", contact.id, comment=f"Looked at on {start}")
        self.seconds.append(time.monotonic() - start)

    def summary(self):
        """Return the times of the visits in words."""
        return f"{median(self.seconds) * 1000:.0f} ms (of {len(self.seconds)} the longest {max(self.seconds):.1f} s)"


def test_flood(request, odoo, database, webhook, chance, report):
    """Every event is stored and drained, and the pages answer meanwhile. The times are reported, not judged."""
    number = request.config.getoption("flood")
    crowd = Crowd(database, max(number // EVENTS_OF_A_DOCUMENT, 1))
    idle, busy = Visitor(odoo, crowd), Visitor(odoo, crowd)
    for _ in range(20):
        idle.visit()
    known = database.value("SELECT count(*) FROM sendgrid_event")
    ends = threading.Event()

    def work():
        busy.visit()
        while not ends.wait(2):  # the time in which the user reads
            busy.visit()

    # Make the events only when they are posted: a million would fill the memory. The end of the message's id makes each
    # event unique.
    def post(batch):
        with lock:
            events = crowd.events(chance, AT_ONCE)
        for index, event in enumerate(events):
            event["sg_message_id"] += f"-{batch}-{index}"
        return webhook.post(events).status_code

    lock, start = threading.Lock(), time.monotonic()
    with ThreadPoolExecutor(5) as pool:
        working = pool.submit(work)
        try:
            answers = set(pool.map(post, range(number // AT_ONCE)))
            posted = time.monotonic() - start
            crowd.wait_until_drained(60 + number / 100)
            drained = time.monotonic() - start
        finally:
            ends.set()
        working.result()
    assert answers == {204}
    wanted = number // AT_ONCE * AT_ONCE
    wait_for(lambda: database.value("SELECT count(*) FROM sendgrid_event") == known + wanted, "each event once")
    report(f"flood: {wanted} events posted in {posted:.0f} s, drained after {drained:.0f} s")
    report(f"flood: a visit takes {idle.summary()} when idle, {busy.summary()} meanwhile")
