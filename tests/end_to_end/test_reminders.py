"""*Remind me if there is no answer*: in both composers of the chatter, and on a document's page."""

import pytest
from axe import find_violations
from harness import picture, wait_for
from playwright.sync_api import expect
from test_switch import DIALOG, SIZES, open_composer, open_full, send, write

INLINE = ".o-mail-Composer .o_sendgrid_reminder"
FULL = f"{DIALOG} .o_sendgrid_reminder"
QUESTION = ".o_sendgrid_reminder_question"


@pytest.fixture(scope="module")
def writer(odoo):
    odoo.user("Rita Writer", "rita", "sales_team.group_sale_salesman", odoobot_state="disabled")
    return "rita"


@pytest.fixture
def contact(odoo):
    return odoo.contact("Ada Lovelace", "ada@reminders.test")


@pytest.fixture(params=SIZES)
def page(request, open_browser, contact, writer):
    window = open_browser(writer, writer)
    window.set_viewport_size(SIZES[request.param])
    window.size = request.param
    open_composer(window, contact)
    return window


def look(page, name, *include):
    """Keep a picture, and fail if axe-core finds anything."""
    expect(page.locator(".o_loading_indicator")).to_have_count(0)
    picture(page, f"reminder-{name}-{page.size}")
    assert not find_violations(page, *include)


def days_of(odoo, contact, text):
    domain = ("model", "=", "res.partner"), ("res_id", "=", contact), ("body", "like", text)
    [message] = wait_for(
        lambda: odoo.find("mail.message", *domain, fields=["sendgrid_reminder_days"]), f"the message {text}"
    )
    return message.sendgrid_reminder_days


def test_composers(odoo, page, contact):
    """By keyboard in the chatter, kept by the full composer and given back by it, sent once."""
    button = page.locator(INLINE)
    expect(button).to_have_attribute("aria-pressed", "false")
    write(page, "Please answer")
    button.focus()
    page.keyboard.press("Enter")
    expect(page.locator(f"{QUESTION} input")).to_be_focused()
    look(page, "question", QUESTION)
    page.keyboard.type("5")
    page.keyboard.press("Enter")
    expect(page.locator(QUESTION)).to_have_count(0)
    expect(button).to_have_attribute("aria-pressed", "true")
    expect(button).to_have_attribute("title", "You are reminded if there is no answer. Days to wait: 5")
    look(page, "inline", INLINE)

    open_full(page)
    expect(page.locator(FULL)).to_have_attribute("aria-pressed", "true")
    page.locator(FULL).click()
    page.locator(f"{QUESTION} input").fill("400")
    page.locator(f"{QUESTION} button[type=submit]").click()
    expect(page.locator(QUESTION)).to_be_visible()  # no such number of days
    page.locator(f"{QUESTION} input").fill("7")
    page.locator(f"{QUESTION} button[type=submit]").click()
    expect(page.locator(FULL)).to_have_attribute("title", "You are reminded if there is no answer. Days to wait: 7")
    look(page, "full", FULL)
    page.locator(f"{DIALOG} .btn-close, {DIALOG} .oi-arrow-left").first.click()
    expect(page.locator(DIALOG)).to_have_count(0)
    page.locator(".o-mail-Chatter-sendMessage").click()
    expect(page.locator(INLINE)).to_have_attribute("title", "You are reminded if there is no answer. Days to wait: 7")
    send(page)
    assert days_of(odoo, contact, "Please answer") == 7

    open_composer(page, contact)
    expect(page.locator(INLINE)).to_have_attribute("aria-pressed", "false")
    write(page, "No hurry")
    send(page)
    assert not days_of(odoo, contact, "No hurry")


def test_follow_up(odoo, page, contact):
    """The document's button asks in how many days, shows when it will be, and takes it back."""
    write(page, "An offer")
    send(page)
    about = ("model", "=", "res.partner"), ("res_id", "=", contact)
    # Only then are the page's buttons those that stay.
    [document] = wait_for(lambda: odoo.documents(*about, ("status", "=", "delivered")), "the delivered document")
    page.goto(f"/odoo/sendgrid-documents/{document.id}")
    press(page, "action_follow_up")
    dialog = page.locator(DIALOG)
    expect(dialog).to_contain_text("Remind me if there is no answer")
    expect(dialog.locator("[name=days] input")).to_have_value("3")
    look(page, "follow-up", f"{DIALOG} .o_sendgrid_follow_up")
    dialog.locator("button[name=action_remind]").click()
    banner = page.locator(".o_sendgrid_reminded")
    expect(banner).to_contain_text("You are reminded if there is no answer by this time")
    look(page, "document", ".o_sendgrid_reminded")
    banner.locator("button[name=action_no_reminder]").click()
    expect(banner).to_be_hidden()


def press(page, name):
    """Press a button of the form's header. A telephone shows the first one, and has the others in a menu."""
    if page.size == "narrow":
        page.locator(".o_statusbar_buttons button[title=More]").click()
    page.locator(f"button[name={name}]:visible").first.click()
