"""Mass mailing, installed after the addon, on a server with several processes."""

import re

import pytest
import requests
from harness import SandboxClient, html_of, wait_for

ADDRESSES = [f"reader{number}@mailing.test" for number in range(8)]
BODY = (
    '<div><p>Our <a href="https://shop.example.com/autumn">autumn cheese</a> for everybody.</p>'
    '<p><a href="/unsubscribe_from_list">Unsubscribe</a> or <a href="/view">view it in the browser</a></p>'
    '<p><a href="/sendgrid/measuring">How this e-mail is measured</a></p></div>'
)


@pytest.fixture(scope="module")
def mailing(large_odoo, large_stack):
    """A mailing to eight contacts, put into the queue as its button does and sent by core's job."""
    odoo = large_odoo
    odoo.call("res.partner", "create", [{"name": f"Reader {a}", "email": a} for a in ADDRESSES])
    mailing_id = odoo.create(
        "mailing.mailing",
        subject="Autumn cheese",
        mailing_type="mail",
        mailing_model_id=odoo.find("ir.model", ("model", "=", "res.partner"), fields=["model"])[0].id,
        mailing_domain="[('email', 'like', '@mailing.test')]",
        body_arch=BODY,
        body_html=BODY,
        email_from="cheese@example.com",
        reply_to_mode="new",
        reply_to="cheese@example.com",
    )
    odoo.call("mailing.mailing", "action_put_in_queue", [mailing_id])
    wait_for(lambda: odoo.read("mailing.mailing", mailing_id, "state").state == "done", "the mailing done", timeout=60)
    return mailing_id


def test_every_recipient_has_a_document(large_odoo, large_stack, mailing):
    """Each recipient has a document that points to the mailing, shows its content and follows its events."""
    sandbox = SandboxClient(large_stack.sandbox)
    found = wait_for(
        lambda: len(found := large_odoo.documents(("recipient", "in", ADDRESSES))) == 8 and found, "eight documents"
    )
    assert sorted(document.recipient for document in found) == sorted(ADDRESSES)
    for document in found:
        [contact] = large_odoo.find("res.partner", ("email", "=", document.recipient), fields=["name"])
        assert document.partner_id == contact.id
        assert (document.model, document.res_id) == ("res.partner", contact.id)
        assert document.mailing_res_id == mailing
        assert document.subject == "Autumn cheese"
        assert "autumn cheese" in document.content
        assert document.content_state == "kept" and not document.content_note
        message = sandbox.message_to(document.recipient)
        assert message["smtpapi"]["unique_args"]["odoo_id"] == document.odoo_id
    wait_for(
        lambda: {one.status for one in large_odoo.documents(("recipient", "in", ADDRESSES))} == {"delivered"},
        "all delivered",
    )
    address = ADDRESSES[3]
    message = sandbox.message_to(address)
    sandbox.fire_by_person(message, address, "open")
    wait_for(lambda: large_odoo.document_to(address).status == "opened", "opened")
    assert [one.status for one in large_odoo.documents(("recipient", "in", ADDRESSES))].count("delivered") == 7


def test_links_of_a_mailing(large_stack, mailing):
    """Unsubscribe and view links are keys of one reader: they are marked, and not tracked. The others are."""
    sandbox = SandboxClient(large_stack.sandbox)
    unsubscribe_links = set()
    for address in ADDRESSES:
        message = sandbox.message_to(address)
        tags = re.findall(
            r"<a[^>]*href=\"[^\"]*/mailing/\d+/(?:[\w/]*unsubscribe|view)[^>]*>", html_of(sandbox.received(message))
        )
        assert len(tags) == 2, tags
        assert all('clicktracking="off"' in tag for tag in tags)
        unsubscribe_links.update(re.search('href="([^"]+)"', tag)[1] for tag in tags if "unsubscribe" in tag)
        tracked = [link["url"] for link in message["links"]]
        assert len(tracked) == 1 and "/mailing/" not in tracked[0]
        assert dict(message["headers"])["List-Unsubscribe"]
    assert len(unsubscribe_links) == len(ADDRESSES), "each has his own"


def test_measuring_link_of_a_mailing(large_odoo, large_stack, mailing):
    """Each reader has his own link to the page that tells how the mailing is measured: core does not shorten it."""
    sandbox = SandboxClient(large_stack.sandbox)
    links = set()
    for address in ADDRESSES:
        received = html_of(sandbox.received(sandbox.message_to(address)))
        [link] = re.findall(r'href="([^"]*/sendgrid/measuring/[\w-]+)"', received)
        links.add(link)
        assert address in requests.get(link, timeout=60).text
        [document] = large_odoo.documents(("recipient", "=", address), fields=["content"])
        assert "sendgrid/measuring" not in document.content
    assert len(links) == len(ADDRESSES)


def test_trace_of_the_mailing(large_odoo, mailing):
    """Core's own traces are as without the addon: sent."""
    traces = large_odoo.find("mailing.trace", ("mass_mailing_id", "=", mailing), fields=["email", "trace_status"])
    assert sorted(trace.email for trace in traces) == sorted(ADDRESSES)
    assert not {trace.trace_status for trace in traces} & {"error", "bounce", "cancel"}
