"""From the contact's composer through the relay to the document, and back with every event that SendGrid has."""

import json
import time

import pytest
from harness import wait_for

BODY = '<p>Dear Ada, the <a href="https://shop.example.com/offer?a=1&amp;b=2">offer</a> you asked for – 5 €.</p>'

# Seconds from the local SendGrid's POST until Odoo shows the event; one second when nothing else runs.
SECONDS_TO_SEE = 3

# The status of a document that has only this event.
STATUS_AFTER = {
    "processed": "processed",
    "dropped": "dropped",
    "deferred": "deferred",
    "delivered": "delivered",
    "bounce": "bounced",
    "blocked": "blocked",
    "open": "opened",
    "machine-open": "sent",
    "click": "clicked",
    "spamreport": "spam",
    "unsubscribe": "unsubscribed",
    "group_unsubscribe": "unsubscribed",
    "group_resubscribe": "sent",
}
WIRE_NAME = {"blocked": "bounce", "machine-open": "open"}
# The field of a stored event for each of SendGrid's fields.
TEXTS = {
    "recipient": "email",
    "reason": "reason",
    "response": "response",
    "smtp_status": "status",
    "bounce_classification": "bounce_classification",
    "ip": "ip",
    "user_agent": "useragent",
    "url": "url",
    "sg_event_id": "sg_event_id",
}
FIGURES = {
    "processed": {"processed_date": True},
    "delivered": {"delivered_date": True},
    "open": {"open_count": 1, "first_open_date": True, "last_open_date": True},
    "machine-open": {"machine_open_count": 1},
    "click": {"click_count": 1},
}
ALL_FIGURES = (
    "processed_date",
    "delivered_date",
    "first_open_date",
    "last_open_date",
    "open_count",
    "click_count",
    "machine_open_count",
    "machine_click_count",
)


def test_composer_to_document_and_back(odoo, sandbox):
    """A mail from the composer: its document shows everything, and its events come by themselves."""
    contact_id = odoo.contact("Ada Lovelace", "ada@journey.test")
    odoo.compose(contact_id, "Your offer", BODY, attachments=[("offer.txt", "Five euros.")])
    message = sandbox.message_to("ada@journey.test")
    document = odoo.document_to("ada@journey.test")

    assert document.subject == "Your offer" == message["subject"]
    assert document.partner_id == contact_id
    assert document.author_id == odoo.session["partner_id"]
    assert (document.model, document.res_id) == ("res.partner", contact_id)
    assert document.resource_ref == f"res.partner,{contact_id}"
    assert "offer</a> you asked for – 5 €." in document.content
    assert 'href="https://shop.example.com/offer?a=1&amp;b=2"' in document.content
    [attachment_id] = document.attachment_ids
    assert odoo.read("ir.attachment", attachment_id, "name", "raw") | {"id": 0} == {
        "id": 0,
        "name": "offer.txt",
        "raw": "Five euros.",
    }
    assert [one["filename"] for one in message["attachments"]] == ["offer.txt"]
    assert document.message_id == message["message_id"]
    assert document.mail_message_id and not document.mail_id, "core deletes the mail of a notification"

    # The vendor keeps unique_args forever, so they hold two opaque ids and nothing else.
    assert message["smtpapi"]["valid"]
    assert message["smtpapi"]["unique_args"] == {"odoo_db": odoo_db(odoo), "odoo_id": document.odoo_id}
    assert odoo.server.database not in sandbox.source(message).decode()

    def delivered():
        [now] = odoo.documents(("id", "=", document.id))
        return now.status == "delivered" and now

    now = wait_for(delivered, "delivered")
    assert now.sg_message_id == message["id"]
    assert now.processed_date and now.delivered_date and not now.open_count
    assert sorted(one.event for one in odoo.events_of(document.id)) == ["delivered", "processed"]
    assert all(one.partner_id == contact_id for one in odoo.events_of(document.id))
    assert odoo.read("res.partner", contact_id, "sendgrid_email_count").sendgrid_email_count == 1


@pytest.fixture(scope="module")
def silent_message(odoo, sandbox):
    """One mail to a contact for each event, before any event of it: message and document by event."""
    url = sandbox.webhook()["url"]
    sandbox.webhook(url=None)
    contacts = {event: odoo.contact(f"Contact {event}", f"to-{event}@journey.test") for event in STATUS_AFTER}
    first = next(iter(contacts.values()))
    odoo.compose(first, "One of each", BODY, recipients=list(contacts.values()))
    messages = {event: sandbox.message_to(f"to-{event}@journey.test") for event in STATUS_AFTER}
    documents = {event: odoo.document_to(f"to-{event}@journey.test") for event in STATUS_AFTER}
    wait_for(lambda: sandbox.webhook()["pending"] == 0, "nothing pending")
    sandbox.webhook(url=url)
    assert {document.status for document in documents.values()} == {"sent"}
    assert [documents[event].partner_id for event in contacts] == list(contacts.values())
    return messages, documents


@pytest.mark.parametrize("event", STATUS_AFTER)
def test_event(odoo, sandbox, silent_message, event):
    """Each event lands on its recipient's document, with its details, and the status follows."""
    messages, documents = silent_message
    document_id = documents[event].id
    [sent] = sandbox.fire(messages[event], f"to-{event}@journey.test", event)
    began = time.monotonic()
    [stored] = wait_for(lambda: odoo.events_of(document_id), f"{event} on its document")
    assert time.monotonic() - began < SECONDS_TO_SEE

    assert stored.event == sent["event"] == WIRE_NAME.get(event, event)
    assert stored.match == "odoo_id"
    assert stored.timestamp == time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(sent["timestamp"]))
    assert {name: stored[name] or "" for name in TEXTS} == {
        name: str(sent.get(key, "")).strip() for name, key in TEXTS.items()
    }
    assert stored.sg_message_id == messages[event]["id"]
    assert (stored.bounce_type or None) == sent.get("type")
    assert stored.attempt == int(sent.get("attempt", 0))
    assert stored.asm_group_id == sent.get("asm_group_id", 0)
    assert stored.is_machine == (event == "machine-open")
    assert stored.partner_id == documents[event].partner_id
    if event == "click":
        assert stored.url_offset == "html:0"
        assert stored.url == "https://shop.example.com/offer?a=1&b=2"

    [document] = odoo.documents(("id", "=", document_id))
    assert document.status == STATUS_AFTER[event]
    expected = FIGURES.get(event, {})
    for name in ALL_FIGURES:
        assert bool(document[name]) == bool(expected.get(name)), name
    if event in ("bounce", "blocked", "dropped"):
        assert document.status_reason == sent["reason"]
    if event == "deferred":
        assert document.status_reason == sent["response"]


def test_account_event(odoo, sandbox):
    """The twelfth event is about no e-mail: it is kept, and only administrators see it."""
    [sent] = sandbox.post_events({"type": "compliance_suspend"})
    [stored] = wait_for(
        lambda: odoo.find("sendgrid.event", ("sg_event_id", "=", sent["sg_event_id"])), "the account's event"
    )
    assert stored.event == "account_status_change"
    assert stored.match == "account"
    assert stored.bounce_type == "compliance_suspend"
    assert not stored.email_id and not stored.recipient


def test_last_word_whatever_the_order(odoo, sandbox):
    """A batch in which everything comes twice and in the wrong order gives the same result as the right one."""
    contact_id = odoo.contact("Grace Hopper", "grace@journey.test")
    sandbox.webhook(hold=True)
    odoo.compose(contact_id, "Mixed up", BODY)
    message = sandbox.message_to("grace@journey.test")
    document = odoo.document_to("grace@journey.test")
    sandbox.fire(message, "grace@journey.test", "deferred")
    for event in ("open", "click"):
        sandbox.fire_by_person(message, "grace@journey.test", event)
    sandbox.webhook(shuffle=True, duplicate=True, max_events=2)
    posts = sandbox.flush()
    sandbox.webhook(hold=False, shuffle=False, duplicate=False, max_events=None)
    assert [post["status"] for post in posts] == [204] * 5, posts

    wait_for(lambda: len(odoo.events_of(document.id)) == 5, "five events")
    [now] = odoo.documents(("id", "=", document.id))
    assert (now.status, now.open_count, now.click_count) == ("clicked", 1, 1)
    batches = odoo.find(
        "sendgrid.event.batch", ("state", "=", "done"), fields=["event_count", "duplicate_count"], order="id desc"
    )[:5]
    assert [sum(one[name] for one in batches) for name in ("event_count", "duplicate_count")] == [10, 5]


def odoo_db(odoo):
    """The opaque name of the database."""
    return odoo.call("ir.config_parameter", "get_param", "database.uuid")


def test_ids_are_opaque(odoo, sandbox):
    """The header, which the vendor keeps, contains neither address nor name."""
    contact_id = odoo.contact("Katherine Johnson", "katherine@journey.test")
    odoo.compose(contact_id, "Opaque", BODY)
    header = json.dumps(sandbox.smtpapi(sandbox.message_to("katherine@journey.test")))
    for secret in ("atherine", "ohnson", "journey", odoo.server.database, "Opaque"):
        assert secret not in header
