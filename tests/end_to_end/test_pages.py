"""The salesperson's pages in a real Chromium: their addresses, what they show by themselves, and sending again."""

import re
import time

import pytest
from harness import OdooClient, picture, wait_for
from playwright.sync_api import expect

SECONDS_TO_SEE = 10  # generous: a browser, two servers and other work share the machine; usually it takes one second
BODY = "<p>Dear reader,</p><p>the offer is ready: see https://www.example.com/offer?token=never-in-a-list</p>"
ROWS = ".o_list_view .o_data_row"
COUNT = "button[name=action_view_sendgrid_emails] .o_stat_value"


@pytest.fixture(scope="module")
def sally(odoo, stack):
    """A salesperson's client. Her clock is not the browser's."""
    odoo.user("Sally Pages", "sally.pages", "sales_team.group_sale_salesman")
    client = OdooClient(stack.odoo, "sally.pages", "sally.pages")
    odoo.write("res.users", client.uid, tz="America/New_York")
    return client


def open_form(page, address):
    page.goto(address)
    page.wait_for_selector(".o_form_view button[name=action_view_sendgrid_emails]")


def open_documents(page):
    page.click(".o_notebook .nav-link:has-text('Documents')")


def send_from_chatter(page, text):
    """Press *Send message*, write and send, as a user does."""
    page.click(".o-mail-Chatter-sendMessage")
    page.fill(".o-mail-Composer-input", text)
    page.click(".o-mail-Composer-send:not([disabled])")


def make_bounced(odoo, client, name, subject):
    """Send an e-mail that bounces, and correct the contact's address. Return its document."""
    address = f"{name.lower()}@pages.test"
    contact_id = odoo.contact(name, f"bounce.{address}")
    client.compose(contact_id, subject, BODY)
    wait_for(lambda: odoo.document_to(f"bounce.{address}").status == "bounced", "bounced")
    odoo.write("res.partner", contact_id, email=address)
    return odoo.document_to(f"bounce.{address}")


def test_address_shows_the_same_in_every_session(odoo, sally, sandbox, open_browser):
    """The address of a contact's or lead's documents, opened by somebody else, shows these and no others."""
    contact_id = odoo.contact("Emmy Noether", "emmy@pages.test")
    other_id = odoo.contact("Somebody Else", "else@pages.test")
    lead_id = odoo.create("crm.lead", name="Symmetries", type="opportunity", partner_id=contact_id, user_id=sally.uid)
    sally.compose(contact_id, "To Emmy", BODY)
    sally.compose(other_id, "To somebody else", BODY)
    for address in ("emmy@pages.test", "else@pages.test"):
        wait_for(lambda a=address: odoo.document_to(a).status == "delivered", f"delivered to {address}")

    page = open_browser("sally.pages", "sally.pages")
    for record in (f"/odoo/contacts/{contact_id}", f"/odoo/crm/{lead_id}"):
        open_form(page, record)
        page.click("button[name=action_view_sendgrid_emails]")
        expect(page.locator(ROWS)).to_have_count(1)
        expect(page.locator(ROWS)).to_contain_text("To Emmy")
        wait_for(lambda: "sendgrid-" in page.url, "the list's own address")
        address = page.url
        page.click(f"{ROWS} td[name=subject]")
        page.wait_for_selector(".o_sendgrid_email_form")
        wait_for(lambda before=address: page.url != before, "the document's address")
        document = page.url

        fresh = open_browser("admin", "admin")
        fresh.goto(address)
        expect(fresh.locator(ROWS)).to_have_count(1)
        expect(fresh.locator(ROWS)).to_contain_text("To Emmy")
        fresh.goto(document)
        fresh.wait_for_selector(".o_sendgrid_email_form")
        expect(fresh.locator(".o_sendgrid_email_form h1")).to_have_text("To Emmy")
        # Its neighbours are those of the list, not all documents, and the way back leads to the list.
        expect(fresh.locator(".o_pager_limit")).to_have_text("1")
        fresh.locator(".o_breadcrumb a, .breadcrumb-item a").last.click()
        expect(fresh.locator(ROWS)).to_have_count(1)
        fresh.context.close()


def test_address_of_an_accounts_list(odoo, webhook, open_browser):
    """The address of a list behind a figure of an account shows, in a new session, what this account has of it."""
    other_id = odoo.create("sendgrid.account", name="Without events")
    webhook.post(b"no JSON at all")
    wait_for(lambda: odoo.find("sendgrid.event.batch", ("state", "=", "failed")), "a failed batch")
    account_id = odoo.ref("sendgrid_tracking.sendgrid_account_demo")
    page = open_browser("admin", "admin")
    for record, is_empty in ((account_id, False), (other_id, True)):
        page.goto(f"/odoo/action-sendgrid_tracking.sendgrid_account_action/{record}")
        page.locator("button", has_text="Batches failed").click()
        expect(page.locator(".o_searchview_facet")).to_have_text("Failed")
        expect(page.locator(ROWS)).to_have_count(0) if is_empty else expect(page.locator(ROWS).first).to_be_visible()
        count = page.locator(ROWS).count()
        wait_for(lambda: "sendgrid-account-failed" in page.url, "the list's own address")
        fresh = open_browser("admin", "admin")
        fresh.goto(page.url)
        expect(fresh.locator(".o_searchview_facet")).to_have_text("Failed")
        expect(fresh.locator(ROWS)).to_have_count(count)
        expect(fresh.locator(".o_breadcrumb")).to_contain_text("Event Batches")
        fresh.context.close()
    odoo.call("sendgrid.account", "unlink", [other_id])


def test_contact_is_live(odoo, sally, sandbox, open_browser):
    """After *Send message* the Documents page, its button and the row follow what happens, without a reload."""
    contact_id = odoo.contact("Lise Meitner", "lise@pages.test")
    page = open_browser("sally.pages", "sally.pages")
    open_form(page, f"/odoo/contacts/{contact_id}")
    open_documents(page)
    expect(page.locator(".o_sendgrid_empty")).to_be_visible()
    page.evaluate("window.notReloaded = true")

    send_from_chatter(page, "What do you think of fission?")
    row = page.locator("[name=sendgrid_email_ids] .o_data_row")
    expect(row).to_have_count(1, timeout=SECONDS_TO_SEE * 1000)
    expect(page.locator(COUNT)).to_have_text("1")
    expect(row).to_contain_text("What do you think of fission?")
    expect(row.locator(".badge")).to_have_text("Delivered", timeout=SECONDS_TO_SEE * 1000)

    # Somebody is typing meanwhile: nothing of it is lost.
    page.fill(".o_field_widget[name=phone] input", "+49 30 1234")
    message = sandbox.message_to("lise@pages.test")
    sandbox.fire_by_person(message, "lise@pages.test", "open")
    expect(row.locator(".badge")).to_have_text("Opened", timeout=SECONDS_TO_SEE * 1000)
    expect(page.locator(".o_field_widget[name=phone] input")).to_have_value("+49 30 1234")
    assert page.evaluate("window.notReloaded") is True
    picture(page, "live_contact")
    # The row is in the keyboard's reach.
    row.locator("a.o_sendgrid_subject").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".o_sendgrid_email_form .o_sendgrid_journey")


def test_half_typed_value_is_left_alone(odoo, sally, sandbox, open_browser):
    """An event that comes in while somebody types does not put what is half typed into the record."""
    contact_id = odoo.contact("Ada Typing", "ada.typing@pages.test")
    lead_id = odoo.create("crm.lead", name="Typing", type="opportunity", partner_id=contact_id, user_id=sally.uid)
    page = open_browser("sally.pages", "sally.pages")
    open_form(page, f"/odoo/crm/{lead_id}")
    expect(page.locator(COUNT)).to_have_text("0")

    revenue = page.locator(".o_field_widget[name=expected_revenue] input")
    revenue.click()
    page.keyboard.press("Control+A")
    page.keyboard.type("1.")
    sally.compose(contact_id, "An offer", BODY)
    expect(page.locator(COUNT)).to_have_text("1", timeout=SECONDS_TO_SEE * 1000)
    expect(revenue).to_have_value("1.")
    page.keyboard.type("5")
    page.keyboard.press("Tab")
    expect(revenue).to_have_value("1.50")


def test_banner_is_live(odoo, sally, sandbox, open_browser):
    """The warning that an address bounced appears in the open forms of contact and lead by itself."""
    contact_id = odoo.contact("Sofia", "bounce.sofia@pages.test")
    lead_id = odoo.create("crm.lead", name="A bounce", type="opportunity", partner_id=contact_id, user_id=sally.uid)
    page = open_browser("sally.pages", "sally.pages")
    open_form(page, f"/odoo/crm/{lead_id}")
    other = page.context.new_page()
    open_form(other, f"/odoo/contacts/{contact_id}")
    expect(page.locator("[name=sendgrid_warning]")).to_have_count(0)
    sally.compose(contact_id, "It will bounce", BODY)
    for window in (page, other):
        window.bring_to_front()
        expect(window.locator(".alert [name=sendgrid_warning]")).to_contain_text(
            "bounced on", timeout=SECONDS_TO_SEE * 1000
        )
        expect(window.locator(COUNT)).to_have_text("1")


def test_not_sent(odoo, open_browser):
    """The page of an e-mail that did not leave waits for nothing, and has no line for a contact that nobody is."""
    odoo.send_mail(subject="Mistyped", body_html=BODY, email_to="good@pages.test, mistyped@pages..test")
    failed = odoo.document_to("mistyped@pages..test")
    assert failed.status == "failed"
    page = open_browser("admin", "admin")
    page.goto(f"/odoo/sendgrid.email/{failed.id}")
    expect(page.locator(".o_sendgrid_empty")).to_contain_text("It did not reach SendGrid")
    expect(page.locator("[name=recipient]:visible").first).to_contain_text("mistyped@pages..test")
    expect(page.locator("[name=partner_id]")).to_have_count(0)
    picture(page, "not_sent")


def test_long_title(odoo, open_browser):
    """A title of several lines leaves room to the way of the e-mail below it, on a wide screen and on a telephone's."""
    odoo.send_mail(subject="A title that wants to say all at once " * 5, body_html=BODY, email_to="long@pages.test")
    page = open_browser("admin", "admin")
    page.goto(f"/odoo/sendgrid.email/{odoo.document_to('long@pages.test').id}")
    for width in (1440, 390):
        page.set_viewport_size({"width": width, "height": 844})
        title, journey = (page.locator(name).bounding_box() for name in (".oe_title h1", ".o_sendgrid_journey"))
        assert title["height"] > 60, "one line only"
        assert journey["y"] >= title["y"] + title["height"] + 8


def test_list_is_live(odoo, sally, sandbox, open_browser):
    """The list of a contact's documents shows a new one, what became of it, and the beginning of its content."""
    contact_id = odoo.contact("Rosalind", "rosalind@pages.test")
    sally.compose(contact_id, "First", BODY)
    page = open_browser("sally.pages", "sally.pages")
    open_form(page, f"/odoo/contacts/{contact_id}")
    page.click("button[name=action_view_sendgrid_emails]")
    expect(page.locator(ROWS)).to_have_count(1)
    sally.compose(contact_id, "Second", BODY)
    expect(page.locator(ROWS)).to_have_count(2, timeout=SECONDS_TO_SEE * 1000)
    first = page.locator(ROWS).first
    expect(first).to_contain_text("Second")
    expect(first.locator(".o_sendgrid_preview")).to_have_text("Dear reader, the offer is ready: see …")
    expect(first.locator(".badge")).to_have_text("Delivered", timeout=SECONDS_TO_SEE * 1000)
    assert "never-in-a-list" not in page.content()
    picture(page, "live_list")


def test_one_clock(odoo, sally, sandbox, open_browser):
    """List, contact and Tracking show one time: that of the user's preferences, not that of the browser."""
    contact_id = odoo.contact("Chien-Shiung", "wu@pages.test")
    sally.compose(contact_id, "Parity", BODY)
    wait_for(lambda: odoo.document_to("wu@pages.test").status == "delivered", "delivered")
    document = odoo.document_to("wu@pages.test")
    page = open_browser("sally.pages", "sally.pages")
    [expected] = page.evaluate(
        """date => [new Date(date.replace(" ", "T") + "Z").toLocaleString("en-US", {
            timeZone: "America/New_York", month: "short", day: "numeric", hour: "numeric", minute: "2-digit",
        })]""",
        document.sent_date,
    )
    clock = re.compile(re.escape(expected).replace(r"\ ", r"\s").replace("\u202f", r"\s"))
    open_form(page, f"/odoo/contacts/{contact_id}")
    open_documents(page)
    expect(page.locator("[name=sendgrid_email_ids] .o_data_row td[name=date]")).to_have_text(clock)
    page.click("button[name=action_view_sendgrid_emails]")
    expect(page.locator(f"{ROWS} td[name=date]")).to_have_text(clock)
    expect(page.locator(f"{ROWS} td[name=date] time")).to_have_attribute("title", re.compile("America/New_York"))
    page.click(f"{ROWS} td[name=subject]")
    hour = re.compile(rf"\b{expected.split(', ')[1].split(':')[0]}:")
    expect(page.locator(".o_sendgrid_step[data-status=sent] time")).to_have_text(hour)

    # Without a zone pages go by that in which the server writes times into texts.
    odoo.write("res.users", sally.uid, tz=False)
    page.reload()
    when = page.locator(".o_sendgrid_step[data-status=sent] time")
    expect(when).to_have_attribute("title", re.compile(r"\(UTC\)"))
    expect(when).to_contain_text(document.sent_date[13:19])
    odoo.write("res.users", sally.uid, tz="America/New_York")


def test_dialog_closes_while_the_page_reloads(odoo, sally, sandbox, open_browser):
    """A dialog that waits for its page to reload closes although the page reloads by itself, and stays live."""
    former = make_bounced(odoo, sally, "Rosalind", "Helix")

    page = open_browser("sally.pages", "sally.pages")
    page.goto(f"/odoo/sendgrid-documents/{former.id}")
    page.click("button[name=action_send_again]:visible")
    send = page.locator(".modal button.o_mail_send:visible")
    expect(send).to_be_enabled()
    held = []
    page.route(
        "**/sendgrid.email/web_read",
        lambda request: held.append(request) if len(held) < 2 else request.continue_(),
    )
    send.click()
    # The dialog asks for one reload, and the page for the other, since the e-mail knows that it was sent again.
    deadline = time.monotonic() + SECONDS_TO_SEE
    while len(held) < 2 and time.monotonic() < deadline:
        page.wait_for_timeout(50)
    assert len(held) == 2
    for request in held:
        request.continue_()
    expect(page.locator(".modal")).to_have_count(0)
    expect(page.locator("button[name=action_send_again]:visible")).to_have_text("Send Once More…")

    message = sandbox.message_to("bounce.rosalind@pages.test")
    sandbox.fire(message, "bounce.rosalind@pages.test", "spamreport")
    expect(page.locator("[data-status=spam]").first).to_be_visible(timeout=SECONDS_TO_SEE * 1000)


def test_send_again(odoo, sally, sandbox, open_browser):
    """*Send Again* says that it was sent, its button knows it, and both e-mails lead to each other."""
    former = make_bounced(odoo, sally, "Barbara", "Jumping genes")

    page = open_browser("sally.pages", "sally.pages")
    page.goto(f"/odoo/sendgrid-documents/{former.id}")
    page.click("button[name=action_send_again]:visible")
    page.click(".modal button.o_mail_send:visible, .modal button[name=action_send_mail]:visible")
    # The failures of other tests are told on the screen too.
    notification = page.locator(".o_notification", has_text="on its way to Barbara")
    expect(notification).to_be_visible()
    expect(notification.locator("a")).to_contain_text("Barbara")
    banner = page.locator(".o_sendgrid_sent_again")
    expect(banner).to_be_visible()
    expect(page.locator("button[name=action_send_again]:visible")).to_have_text("Send Once More…")
    picture(page, "sent_again")
    wait_for(lambda: odoo.documents(("recipient", "=", "barbara@pages.test")), "the new document")
    [new] = odoo.documents(("recipient", "=", "barbara@pages.test"), fields=["again_of_id"])
    assert new.again_of_id == former.id
    # A press by accident asks first.
    page.click("button[name=action_send_again]:visible")
    expect(page.locator(".modal")).to_contain_text("has sent this e-mail again already")
    page.click(".modal button:has-text('Cancel'), .modal button.btn-secondary >> nth=0")
    page.click("button[name=action_view_again]")
    expect(page.locator(".o_field_widget[name=again_of_id]")).to_contain_text("bounce.barbara@pages.test")
    assert len(odoo.documents(("partner_id.name", "=", "Barbara"))) == 2
