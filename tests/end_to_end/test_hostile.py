"""Texts in events, from SendGrid or from whoever writes in its name, are shown on every page as text and nothing else.

The pages are all of the addon's own menus and actions, and the pages of Odoo that it adds to.
"""

import secrets
import time

import pytest
from harness import wait_for
from playwright.sync_api import expect

from odoo.addons.sendgrid_tracking.tools.events.event import DELIVERY_EVENTS, ENGAGEMENT_EVENTS

MARK = "<img src=x"
HOSTILE = (
    f"""'"></textarea>{MARK} onerror="hacked=1"><script>hacked=1</script>{{{{7*7}}}}'; DROP TABLE sendgrid_event; --"""
)
ADDRESSES = (
    "javascript:hacked=1",
    "  JaVaScRiPt:hacked=1",
    "java\tscript:hacked=1",
    "vbscript:hacked",
    f"https://{HOSTILE}",
)
ADDRESSES += ("data:text/html,<script>hacked=1</script>", "data:text/html;base64,PHNjcmlwdD5oYWNrZWQ9MTwvc2NyaXB0Pg==")
TEXTS = ("reason", "response", "status", "bounce_classification", "ip", "useragent", "url")
EXECUTABLE = "a[href^='javascript' i], a[href^='data:' i], a[href^='vbscript' i], a[href*='script:' i]"
# Selectors of elements made of the text above; no page may have one.
WRONG = f"img[src=x], {EXECUTABLE}"


def hostile_events(ids, address):
    """Return events of all kinds whose texts are all hostile, and links that execute."""
    common = {**ids, "email": address, "timestamp": int(time.time()) + 600, **dict.fromkeys(TEXTS, HOSTILE)}

    def event(name, **fields):
        message = f"{secrets.token_hex(8)}.{HOSTILE}"
        return {
            **common,
            "event": name,
            "sg_event_id": HOSTILE + secrets.token_hex(8),
            "sg_message_id": message,
            **fields,
        }

    yield from (event(name) for name in DELIVERY_EVENTS + ENGAGEMENT_EVENTS)
    yield from (event("click", url=url, url_offset={"type": "<b>html", "index": 1}) for url in ADDRESSES)
    yield event("bounce", type="bounce")
    yield event("bounce", type=HOSTILE)
    yield event(HOSTILE[:64])
    # These events have no document: they are unmatched, or about the account.
    stranger = {"odoo_id": None, "odoo_db": None, "smtp-id": HOSTILE}
    yield event("delivered", **stranger, **{"email": HOSTILE})
    yield event("account_status_change", **stranger, type="compliance_suspend")
    yield event("account_status_change", **stranger, type=HOSTILE)
    # This one lands, and the page says that a field could not be read.
    yield event("open", **{"sg_machine_open": HOSTILE})
    # These are no events at all: the page shows the reasons.
    yield event("open", timestamp=HOSTILE)
    yield HOSTILE


@pytest.fixture(scope="module")
def victims(odoo, webhook):
    """A contact, a lead and a mail, each with documents that have hostile events."""
    contact_id = odoo.contact("Victim", "victim@hostile.test")
    lead_id = odoo.create("crm.lead", name="Lead", type="opportunity", email_from="lead@hostile.test", contact_name="L")
    # A text that we write ourselves is HTML, and stays HTML.
    body = HOSTILE.replace(MARK, "<img src=y") + "".join(
        f'<a href="{url}">go</a>' for url in ADDRESSES if MARK not in url
    )
    odoo.compose(contact_id, HOSTILE, body)
    mail_id = odoo.send_mail(subject=HOSTILE, body_html=body, email_to="mail@hostile.test")
    odoo.send_mail(subject=HOSTILE, body_html=body, email_to="lead@hostile.test", model="crm.lead", res_id=lead_id)
    odoo_db = odoo.call("ir.config_parameter", "get_param", "database.uuid")
    # Other tests have left batches with rejected events.
    last = max((batch.id for batch in odoo.find("sendgrid.event.batch")), default=0)
    for name in ("victim", "mail", "lead"):
        document = odoo.document_to(f"{name}@hostile.test")
        ids = {"odoo_db": odoo_db, "odoo_id": document.odoo_id}
        assert webhook.post(list(hostile_events(ids, document.recipient))).status_code == 204
    assert webhook.post(b"{" + HOSTILE.encode()).status_code == 204
    wait_for(lambda: not odoo.find("sendgrid.event.batch", ("state", "=", "pending")), "all drained")
    batches = odoo.find("sendgrid.event.batch", ("id", ">", last), ("rejected_count", ">", 0))
    assert {batch.rejected_count for batch in batches} == {2}
    assert {odoo.document_to(f"{name}@hostile.test").status for name in ("victim", "mail", "lead")} == {"spam"}
    return {"res.partner": contact_id, "crm.lead": lead_id, "mail.mail": mail_id}


def pages(odoo, victims):
    """Return the addresses of all pages: the addon's actions in all views, with a record of each, and Odoo's own."""
    data = odoo.find("ir.model.data", ("module", "=", "sendgrid_tracking"), ("model", "=", "ir.actions.act_window"))
    for action in odoo.find("ir.actions.act_window", ("id", "in", [one.res_id for one in data])):
        # A dialog, or the list of one mailing, is opened from a record.
        if action.target == "new" or "active_id" in (action.domain or ""):
            continue
        modes = [mode for mode in action.view_mode.split(",") if mode != "form"]
        yield from (f"/odoo/action-{action.id}?view_type={mode}" for mode in modes)
        if modes:
            found = odoo.call(action.res_model, "search", [], limit=1, order="id desc")
            yield from (f"/odoo/action-{action.id}/{record_id}" for record_id in found)
    yield f"/odoo/sendgrid.email/{odoo.document_to('victim@hostile.test').id}"
    for name in ("click", "bounce", HOSTILE[:64]):
        event = odoo.find("sendgrid.event", ("email_id.recipient", "=", "victim@hostile.test"), ("event", "=", name))[0]
        yield f"/odoo/sendgrid.event/{event.id}"
    for batch in odoo.find("sendgrid.event.batch", order="id desc")[:2]:
        yield f"/odoo/sendgrid.event.batch/{batch.id}"
    [account] = odoo.find("sendgrid.account")
    yield f"/odoo/sendgrid.account/{account.id}"
    yield from (f"/odoo/{model}/{record_id}" for model, record_id in victims.items())
    [entry] = odoo.find("mail.blacklist", ("email", "=", "victim@hostile.test"))
    yield f"/odoo/mail.blacklist/{entry.id}"


def test_shown_as_text(odoo, victims, open_browser):
    """On every tab of every page nothing runs, no link can, and the text is there to be read."""
    page = open_browser("admin", "admin")
    dialogs, shown = [], set()
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    addresses = list(pages(odoo, victims))
    assert len(addresses) > 15
    for address in addresses:
        open_page(page, address)
        look(page, address, shown)
        for tab in page.locator(".o_notebook_headers .nav-link").all():
            tab.click()
            look(page, address, shown)
        for button in page.locator(".o_sendgrid_show_all, .o_sendgrid_event_explain").all():
            button.click()
        look(page, address, shown)
    assert not dialogs
    # The text must be visible on these pages.
    for model in ("res.partner", "mail.mail"):
        assert f"/odoo/{model}/{victims[model]}" in shown, model
    for model in ("sendgrid.email", "sendgrid.event", "sendgrid.event.batch", "mail.blacklist"):
        assert any(f"/odoo/{model}/" in address for address in shown), model


def open_page(page, address):
    """Open an address, and wait until all is loaded, the chatter's messages included."""
    page.goto(address)
    page.wait_for_selector(".o_action_manager .o_view_controller .o_content")
    if page.locator(".o-mail-Form-chatter").count():
        # Each record has at least the message of its creation; the chatter looks empty until it is loaded.
        page.wait_for_selector(".o-mail-Chatter .o-mail-Message", state="attached")
    expect(page.locator(".o_loading_indicator")).to_have_count(0)


def found_in(frame, selector):
    """Return the source of the elements that a selector finds."""
    return frame.locator(selector).evaluate_all("(all) => all.map((one) => one.outerHTML)")


def look(page, address, shown):
    """Check the page, mails in frames included, and note whether the hostile text can be read."""
    assert page.evaluate("window.hacked") is None, address
    assert found_in(page, WRONG) == [], address
    for frame in page.frames[1:]:
        assert found_in(frame, EXECUTABLE) == [], address
    texts = page.evaluate(
        "[document.body.innerText, ...[...document.querySelectorAll('input, textarea')].map((one) => one.value)]"
    )
    if any(MARK in text for text in texts):
        shown.add(address)


def test_warning_before_writing(odoo, victims, open_browser):
    """The reason of a bounce, in the warning above the message that one is about to write."""
    page = open_browser("admin", "admin")
    page.goto(f"/odoo/res.partner/{victims['res.partner']}")
    page.click(".o-mail-Chatter-sendMessage")
    expect(page.locator(".o_sendgrid_recipients_warning").first).to_contain_text(MARK)
    look(page, "chatter", set())
