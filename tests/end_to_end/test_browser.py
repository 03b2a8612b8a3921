"""The user's walk in a real Chromium, with events that arrive while he looks."""

import time

import pytest
from harness import OdooClient, html_of, picture, wait_for
from playwright.sync_api import expect

SECONDS_TO_SEE = 10  # generous: a browser, two servers and other work share the machine; usually it takes one second
BODY = (
    "<p>Dear Ada,</p><p>thank you for your visit. The <a href='{shop}'>offer for the analytical engine</a> is ready; "
    "it is valid until the end of the month.</p><p>Kind regards<br>Marc</p>"
)
# An event within seconds of the delivery counts as a machine's.
A_PERSON_TAKES = 3


COLOUR = "element => getComputedStyle(element).backgroundColor"


@pytest.fixture
def shop(stack):
    """An address to link to, with a page behind it."""
    return f"{stack.odoo.url}/web/health?offer=7"


def open_contact(page, contact_id):
    page.goto(f"/odoo/contacts/{contact_id}")
    page.wait_for_selector(".o_form_view button[name=action_view_sendgrid_emails]")


def open_tracking(page):
    page.wait_for_selector(".o_sendgrid_email_form .o_sendgrid_journey")
    page.click(".o_notebook .nav-link:has-text('Tracking')")


def event_in(page, name):
    return page.locator(f".o_sendgrid_event[data-event={name}]")


def step_in(page, status):
    return page.locator(f".o_sendgrid_step_done[data-status={status}]")


def wait_for_a_person(odoo, address):
    """Wait as long as a person needs to look into his mailbox."""

    def is_over():
        delivered = odoo.document_to(address).delivered_date
        then = delivered and time.mktime(time.strptime(delivered, "%Y-%m-%d %H:%M:%S")) - time.timezone
        return then and time.time() > then + A_PERSON_TAKES

    wait_for(is_over, "delivered, and a moment later")


def test_walk_of_the_administrator(odoo, sandbox, open_browser, shop):
    """Contact, Documents, document, Tracking; then an open and a bounce appear on the open page by themselves."""
    contact_id = odoo.contact("Ada Lovelace", "ada@browser.test")
    odoo.compose(contact_id, "Your analytical engine", BODY.format(shop=shop), attachments=[("offer.txt", "Five.")])
    message = sandbox.message_to("ada@browser.test")
    wait_for(lambda: odoo.document_to("ada@browser.test").status == "delivered", "delivered")

    page = open_browser("admin", "admin")
    open_contact(page, contact_id)
    expect(page.locator("button[name=action_view_sendgrid_emails] .o_stat_value")).to_have_text("1")
    page.click(".o_notebook .nav-link:has-text('Documents')")
    row = page.locator("[name=sendgrid_email_ids] .o_data_row")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("Your analytical engine")
    expect(row.locator(".badge")).to_have_text("Delivered")
    picture(page, "contact")

    # Open it once by the button and once by the row: both lead to the document.
    page.click("button[name=action_view_sendgrid_emails]")
    page.click(".o_list_view .o_data_row td[name=subject]")
    open_tracking(page)
    page.go_back()
    page.go_back()
    page.wait_for_selector("button[name=action_view_sendgrid_emails]")
    page.click(".o_notebook .nav-link:has-text('Documents')")
    page.click("[name=sendgrid_email_ids] .o_data_row td[name=display_name]")
    open_tracking(page)
    expect(event_in(page, "processed")).to_have_count(1)
    expect(event_in(page, "delivered")).to_have_count(1)
    expect(step_in(page, "delivered")).to_be_visible()
    expect(step_in(page, "opened")).to_have_count(0)

    # From here on nobody touches the page.
    page.evaluate("window.notReloaded = true")
    sandbox.fire_by_person(message, "ada@browser.test", "open")
    expect(event_in(page, "open")).to_be_visible(timeout=SECONDS_TO_SEE * 1000)
    expect(step_in(page, "opened")).to_be_visible()
    expect(event_in(page, "open")).to_contain_text("Chrome on Linux")
    expect(event_in(page, "open")).to_contain_text("203.0.113.7")
    sandbox.fire_by_person(message, "ada@browser.test", "click")
    expect(event_in(page, "click")).to_be_visible(timeout=SECONDS_TO_SEE * 1000)
    expect(event_in(page, "click").locator("[data-name=url]")).to_have_text(shop)
    expect(step_in(page, "clicked")).to_be_visible()
    picture(page, "tracking")
    assert page.evaluate("window.notReloaded") is True

    page.click(".o_notebook .nav-link:has-text('Content')")
    content = page.frame_locator("iframe.o_sendgrid_content")
    expect(content.locator("body")).to_contain_text("thank you for your visit")
    expect(content.locator("a", has_text="offer").locator("+ .o_sendgrid_clicks")).to_have_text("Clicks: 1")
    expect(page.locator(".o_field_many2many_binary")).to_contain_text("offer.txt")
    picture(page, "content")


def test_walk_of_a_salesperson(odoo, sandbox, open_browser, stack, shop):
    """A salesperson writes, then opens the mail as the recipient would, in a second tab: the events arrive live."""
    odoo.user("Sally Sales", "sally", "sales_team.group_sale_salesman")
    sally = OdooClient(stack.odoo, "sally", "sally")
    contact_id = odoo.contact("Grace Hopper", "grace@browser.test")
    sally.compose(contact_id, "The compiler you asked for", BODY.format(shop=shop))
    message = sandbox.message_to("grace@browser.test")
    document = sally.document_to("grace@browser.test")
    wait_for_a_person(odoo, "grace@browser.test")

    page = open_browser("sally", "sally")
    open_contact(page, contact_id)
    page.click(".o_notebook .nav-link:has-text('Documents')")
    page.click("[name=sendgrid_email_ids] .o_data_row td[name=display_name]")
    open_tracking(page)
    expect(event_in(page, "delivered")).to_have_count(1)
    expect(event_in(page, "open")).to_have_count(0)
    page.evaluate("window.notReloaded = true")

    inbox = page.context.new_page()
    inbox.goto(sandbox.server.url)
    inbox.click(f"a[href='/messages/{message['id']}/0'] >> nth=0")
    mail = inbox.frame_locator("iframe")
    expect(mail.locator("body")).to_contain_text("thank you for your visit")
    picture(inbox, "inbox")
    with page.context.expect_page() as followed:
        mail.locator("a", has_text="offer for the analytical engine").click()
    followed.value.wait_for_load_state()
    assert followed.value.url == shop, "the tracked link leads to where the mail said"

    page.bring_to_front()
    expect(event_in(page, "open")).to_be_visible(timeout=SECONDS_TO_SEE * 1000)
    expect(event_in(page, "click")).to_be_visible(timeout=SECONDS_TO_SEE * 1000)
    expect(step_in(page, "opened")).to_be_visible()
    expect(step_in(page, "clicked")).to_be_visible()
    assert page.evaluate("window.notReloaded") is True
    expect(page.locator(".o_sendgrid_event_name", has_text="Opened")).to_be_visible()
    expect(page.locator(".o_sendgrid_event_name", has_text="Clicked")).to_be_visible()

    # A colleague who has nothing to do with the e-mail reads the same contact and so the same document.
    [seen] = sally.documents(("id", "=", document.id), fields=["status"])
    assert seen.status == "clicked"


def test_failure_in_its_place(odoo, sandbox, open_browser, shop):
    """A mail that bounces shows the server's reason in words, and the step that it did not reach."""
    contact_id = odoo.contact("Nobody", "bounce@browser.test")
    odoo.compose(contact_id, "To nobody", BODY.format(shop=shop))
    wait_for(lambda: odoo.document_to("bounce@browser.test").status == "bounced", "bounced")
    document = odoo.document_to("bounce@browser.test")
    page = open_browser("admin", "admin")
    open_contact(page, contact_id)
    page.click("button[name=action_view_sendgrid_emails]")
    expect(page.locator(".o_list_view .o_data_row .badge")).to_have_text("Bounced")
    page.click(".o_list_view .o_data_row td[name=subject]")
    open_tracking(page)
    expect(page.locator(".alert-danger")).to_contain_text(document.status_reason)
    expect(page.locator(".o_sendgrid_step_failed[data-status=bounced]")).to_be_visible()
    expect(event_in(page, "bounce").locator("[data-name=reason]")).to_have_text(document.status_reason)
    picture(page, "bounced")


def test_one_colour(odoo, sandbox, open_browser, shop):
    """A status has one colour: in the list and as a step of its way an unsubscription is amber."""
    contact_id = odoo.contact("Una", "una@browser.test")
    odoo.compose(contact_id, "To somebody who leaves", BODY.format(shop=shop))
    message = sandbox.message_to("una@browser.test")
    sandbox.fire(message, "una@browser.test", "unsubscribe")
    wait_for(lambda: odoo.document_to("una@browser.test").status == "unsubscribed", "unsubscribed")
    page = open_browser("admin", "admin")
    open_contact(page, contact_id)
    page.click("button[name=action_view_sendgrid_emails]")
    badge = page.locator(".o_list_view .o_data_row .o_sendgrid_status .badge")
    expect(badge).to_contain_class("text-bg-warning")
    colour = badge.evaluate(COLOUR)
    page.click(".o_list_view .o_data_row td[name=subject]")
    open_tracking(page)
    assert step_in(page, "unsubscribed").locator(".o_sendgrid_step_icon").evaluate(COLOUR) == colour
    picture(page, "unsubscribed")


def test_no_secret_link(odoo, sandbox, open_browser, shop):
    """With what the Content and Tracking pages show nobody can act in the recipient's name; the mail has its link."""
    secret = f"{shop}&token=never-on-a-page"
    contact_id = odoo.contact("Mary Somerville", "mary@browser.test")
    body = BODY.format(shop=shop) + f"<p><a href='{secret}'>Accept</a> or go to {secret}</p>"
    odoo.compose(contact_id, "An invitation", body)
    message = sandbox.message_to("mary@browser.test")
    document = odoo.document_to("mary@browser.test")
    assert secret.replace("&", "&amp;") in html_of(sandbox.received(message))
    wait_for_a_person(odoo, "mary@browser.test")
    sandbox.fire_by_person(message, "mary@browser.test", "click", url=secret)
    wait_for(lambda: odoo.document_to("mary@browser.test").status == "clicked", "clicked")

    page = open_browser("admin", "admin")
    page.goto(f"/odoo/sendgrid-documents/{document.id}")
    open_tracking(page)
    link = event_in(page, "click").locator("[data-name=url]")
    expect(link).to_have_text(f"{shop.partition('?')[0]}?…")
    expect(link.locator("a")).to_have_count(0)
    page.click(".o_notebook .nav-link:has-text('Content')")
    content = page.frame_locator("iframe.o_sendgrid_content")
    expect(content.locator("a", has_text="Accept")).to_be_visible()
    expect(content.locator("a", has_text="offer")).to_have_attribute("href", shop)
    expect(content.locator(".o_sendgrid_clicks")).to_have_count(0)
    expect(page.locator(".o_sendgrid_secret_links")).to_be_visible()
    picture(page, "secret_links")
    assert "never-on-a-page" not in page.content() + content.locator("html").inner_html()
