"""The chatter in two windows: each recipient's state beside the message, live, and the envelope above it."""

import pytest
from axe import find_violations
from harness import OdooClient, OdooError, picture, wait_for
from playwright.sync_api import expect

SECONDS_TO_SEE = 10  # generous, see test_browser.py
ENVELOPE = ".o-mail-Message-notification"
ABOVE = ".o_sendgrid_record_emails"


@pytest.fixture(scope="module")
def lead(odoo):
    """A lead of a salesperson, and its three recipients."""
    user_id, _partner_id = odoo.user("Sally Chatter", "sally_chatter", "sales_team.group_sale_salesman_all_leads")
    contacts = {name: odoo.contact(name, f"{name.lower()}@chatter.test") for name in ("Ada", "Bob", "Cleo")}
    return odoo.create("crm.lead", name="Engine", type="opportunity", user_id=user_id), contacts


def post(client, lead_id, contact_ids, subject, subtype="mail.mt_comment"):
    client.call(
        "crm.lead",
        "message_post",
        [lead_id],
        body="Hello",
        subject=subject,
        message_type="comment",
        subtype_xmlid=subtype,
        partner_ids=contact_ids,
    )


def open_lead(page, lead_id):
    page.goto(f"/odoo/crm/{lead_id}")
    page.wait_for_selector(".o-mail-Chatter .o-mail-Message")


def envelope_of(page, text="Hello"):
    return page.locator(f".o-mail-Message:has-text('{text}') {ENVELOPE}").first


def expect_envelope(page, status):
    expect(envelope_of(page)).to_have_attribute("data-sendgrid-status", status, timeout=SECONDS_TO_SEE * 1000)


def states_in(page):
    return page.locator(".o-mail-MessageNotificationPopover .o_sendgrid_state")


def put_off(odoo, job, until):
    """Set the scheduled time of a job; tell whether that could be done, which it cannot while the job runs."""
    try:
        odoo.write("ir.cron", job, nextcall=until)
        return True
    except OdooError:
        return False


def test_two_windows(odoo, sandbox, stack, open_browser, lead):
    """Author and colleague look at the same chatter: both see what becomes of each recipient, without touching it."""
    lead_id, contacts = lead
    sally = OdooClient(stack.odoo, "sally_chatter", "sally_chatter")
    mine, other = open_browser("sally_chatter", "sally_chatter"), open_browser("admin", "admin")
    open_lead(mine, lead_id)
    expect(mine.locator(ABOVE)).to_have_count(0)
    # SendGrid holds its events, so that there is a moment before anything is known.
    sandbox.webhook(hold=True)
    try:
        post(sally, lead_id, list(contacts.values()), "Three recipients")
    finally:
        messages = [sandbox.message_to(f"{name.lower()}@chatter.test") for name in contacts]
    expect(mine.locator(ABOVE)).to_have_text("3", timeout=SECONDS_TO_SEE * 1000)
    for page in (mine, other):
        open_lead(page, lead_id)
        page.evaluate("window.notReloaded = true")
        expect_envelope(page, "sent")
    envelope_of(mine).click()
    expect(states_in(mine)).to_have_text(["Sent"] * 3)
    expect(mine.locator(".o-mail-MessageNotificationPopover")).not_to_contain_text("Delivered")
    sandbox.webhook(hold=False)
    sandbox.flush()
    expect(states_in(mine)).to_have_text(["Delivered"] * 3, timeout=SECONDS_TO_SEE * 1000)
    for page in (mine, other):
        expect_envelope(page, "delivered")
    sandbox.fire_by_person(messages[0], "ada@chatter.test", "click")
    for page in (mine, other):
        expect_envelope(page, "clicked")
    sandbox.fire(messages[1], "bob@chatter.test", "spamreport")
    for page in (mine, other):
        expect_envelope(page, "spam")
        expect(page.locator(f"{ABOVE} .text-danger")).to_be_visible(timeout=SECONDS_TO_SEE * 1000)
        assert page.evaluate("window.notReloaded") is True
    for name, text in (("Ada", "Clicked, by whom cannot be told"), ("Bob", "Reported as Spam"), ("Cleo", "Delivered")):
        row = mine.locator(".o-mail-MessageNotificationPopover > div", has_text=name)
        expect(row.locator(".o_sendgrid_state")).to_have_text(text)
        expect(row.locator("time")).to_be_visible()
    picture(mine, "chatter")
    assert find_violations(mine, ".o-mail-MessageNotificationPopover", ABOVE, ENVELOPE) == []

    mine.locator(".o-mail-MessageNotificationPopover > div", has_text="Ada").locator(".o_sendgrid_state").click()
    mine.wait_for_selector(".o_sendgrid_email_form .o_sendgrid_journey")
    expect(mine.locator(".o_sendgrid_email_form")).to_contain_text("ada@chatter.test")
    other.locator(ABOVE).click()
    expect(other.locator(".o_list_view .o_data_row")).to_have_count(3)
    picture(other, "documents_about_a_record")


def test_by_the_bus_alone(odoo, sandbox, open_browser):
    """An open chatter waits for nothing: the POST itself starts the drain, and the drain tells by the bus.

    The drain's scheduled time is far away. The page asks as often as it is told of something, and never by itself.
    """
    lead_id = odoo.create("crm.lead", name="Bus", type="opportunity")
    post(odoo, lead_id, [odoo.contact("Bea", "bea@chatter.test")], "By the bus")
    message = sandbox.message_to("bea@chatter.test", "By the bus")
    wait_for(lambda: odoo.document_to("bea@chatter.test").status == "delivered", "delivered")
    drain = odoo.ref("sendgrid_tracking.ir_cron_drain")
    wait_for(lambda: put_off(odoo, drain, "2100-01-01 00:00:00"), "the drain put off")
    try:
        page = open_browser("admin", "admin")
        open_lead(page, lead_id)
        expect_envelope(page, "delivered")
        expect(page.locator(ABOVE)).to_have_text("1")
        asked = []
        page.on("request", lambda request: "sendgrid_states" in (request.post_data or "") and asked.append(request.url))
        for event, status, tone in (("unsubscribe", "unsubscribed", "warning"), ("spamreport", "spam", "danger")):
            asked.clear()
            sandbox.fire(message, "bea@chatter.test", event)
            expect_envelope(page, status)
            expect(envelope_of(page).locator(f"i.text-{tone}")).to_have_count(1)
            expect(page.locator(f"{ABOVE} .text-{tone}")).to_be_visible()
            assert len(asked) == 1, asked
    finally:
        wait_for(lambda: put_off(odoo, drain, "2026-01-01 00:00:00"), "the drain as before")


def test_on_a_phone(odoo, sandbox, open_browser, lead):
    """On a phone the envelope, its popover and the number have room."""
    _lead_id, contacts = lead
    lead_id = odoo.create("crm.lead", name="Phone", type="opportunity")
    post(odoo, lead_id, [contacts["Ada"], contacts["Cleo"]], "To a phone")
    message = sandbox.message_to("ada@chatter.test", "To a phone")
    sandbox.fire(message, "ada@chatter.test", "bounce")
    wait_for(
        lambda: odoo.documents(("subject", "=", "To a phone"), ("status", "=", "bounced"), fields=["id"]), "bounced"
    )
    page = open_browser("admin", "admin")
    page.set_viewport_size({"width": 390, "height": 844})
    open_lead(page, lead_id)
    envelope_of(page).scroll_into_view_if_needed()
    expect_envelope(page, "bounced")
    expect(page.locator(ABOVE)).to_have_text("2")
    for place in (ABOVE, ".o-mail-Followers"):
        box = page.locator(place).bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390, place
    picture(page, "chatter_phone")
    envelope_of(page).click()
    expect(states_in(page).filter(has_text="Bounced: ")).to_have_count(1)
    picture(page, "chatter_phone_popover")
    box = page.locator(".o-mail-MessageNotificationPopover").bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 390


def test_without_access(odoo, sandbox, stack, open_browser):
    """Of a note that also went outside, a colleague sees Odoo's own envelope, before and after events."""
    lead_id = odoo.create("crm.lead", name="Note", type="opportunity")
    groups = ("sales_team.group_sale_salesman_all_leads",)
    for login in ("nora_author", "carl_colleague"):
        odoo.user(login.title(), login, *groups)
    contact_id = odoo.contact("Nina", "nina@chatter.test")
    nora = OdooClient(stack.odoo, "nora_author", "nora_author")
    post(nora, lead_id, [contact_id], "A note", subtype="mail.mt_note")
    message = sandbox.message_to("nina@chatter.test", "A note")
    author, colleague = open_browser("nora_author", "nora_author"), open_browser("carl_colleague", "carl_colleague")
    for page in (author, colleague):
        open_lead(page, lead_id)
    expect_envelope(author, "delivered")
    sandbox.fire_by_person(message, "nina@chatter.test", "click")
    expect_envelope(author, "clicked")
    for is_reloaded in (False, True):
        if is_reloaded:
            open_lead(colleague, lead_id)
        expect(envelope_of(colleague)).to_be_visible()
        expect(envelope_of(colleague).locator("i")).to_have_count(1)
        assert envelope_of(colleague).get_attribute("data-sendgrid-status") is None
        expect(colleague.locator(ABOVE)).to_have_count(0)
        envelope_of(colleague).click()
        popover = colleague.locator(".o-mail-MessageNotificationPopover")
        expect(popover).to_contain_text("Nina")
        expect(states_in(colleague)).to_have_count(0)
        expect(popover.locator("time")).to_have_count(0)
    picture(colleague, "chatter_without_access")


def test_merged_archived_deleted(odoo, sandbox, open_browser):
    """States follow a merge and stay in an archived record; an open page outlives the deletion of its record."""
    contact_id = odoo.contact("Mia", "mia@chatter.test")
    leads = [odoo.create("crm.lead", name=f"Merged {n}", type="opportunity") for n in range(2)]
    post(odoo, leads[1], [contact_id], "Before the merge")
    message = sandbox.message_to("mia@chatter.test", "Before the merge")
    wait_for(lambda: odoo.document_to("mia@chatter.test").status == "delivered", "delivered")
    document_id = odoo.document_to("mia@chatter.test").id
    odoo.call("crm.lead", "merge_opportunity", leads)
    [remaining] = odoo.find("crm.lead", ("id", "in", leads), fields=["id"])
    odoo.write("crm.lead", remaining.id, active=False)
    page = open_browser("admin", "admin")
    open_lead(page, remaining.id)
    expect_envelope(page, "delivered")
    expect(page.locator(ABOVE)).to_have_text("1")
    sandbox.fire_by_person(message, "mia@chatter.test", "click")
    expect_envelope(page, "clicked")
    picture(page, "chatter_archived")

    odoo.call("crm.lead", "unlink", [remaining.id])
    with page.expect_response("**/mail/data"):
        sandbox.fire(message, "mia@chatter.test", "spamreport")
    assert odoo.read("sendgrid.email", document_id, "status").status == "spam"
    page.goto(f"/odoo/sendgrid-documents/{document_id}")
    expect(page.locator(".o_sendgrid_email_form")).to_contain_text("mia@chatter.test")


def test_in_discuss(odoo, sandbox, stack, open_browser):
    """The inbox of Discuss shows the envelope live, and the menu of failures says why an e-mail did not arrive."""
    groups = ("sales_team.group_sale_salesman_all_leads",)
    _user_id, colleague_id = odoo.user("Ira Inbox", "ira_inbox", *groups, notification_type="inbox")
    # The menu has one line for all failures of an author about records of one model.
    odoo.user("Otto Author", "otto_author", *groups)
    contact_id = odoo.contact("Dora", "dora@chatter.test")
    lead_id = odoo.create("crm.lead", name="Inbox", type="opportunity")
    otto = OdooClient(stack.odoo, "otto_author", "otto_author")
    post(otto, lead_id, [contact_id, colleague_id], "To an inbox")
    message = sandbox.message_to("dora@chatter.test", "To an inbox")
    wait_for(lambda: odoo.document_to("dora@chatter.test").status == "delivered", "delivered")
    page = open_browser("ira_inbox", "ira_inbox")
    page.goto("/odoo/discuss?active_id=mail.box_inbox")
    page.wait_for_selector(".o-mail-Discuss .o-mail-Message")
    expect_envelope(page, "delivered")
    sandbox.fire(message, "dora@chatter.test", "bounce")
    expect_envelope(page, "bounced")
    picture(page, "inbox")

    author = open_browser("otto_author", "otto_author")
    author.click(".o_menu_systray button:has(i[aria-label='Messages'])")
    failure = author.locator(".o-mail-NotificationItem", has_text="Inbox")
    expect(failure).to_contain_text("Bounced: the address does not work")
    picture(author, "failures")
