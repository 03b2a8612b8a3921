"""The switch *Track opens and links* in both composers of the chatter, with mouse and keyboard."""

import pytest
from axe import find_violations
from harness import picture, wait_for
from playwright.sync_api import expect

SIZES = {"wide": {"width": 1440, "height": 900}, "narrow": {"width": 390, "height": 844}}
DIALOG = ".modal-dialog"
INLINE = ".o-mail-Composer .o_sendgrid_switch"
FULL = f"{DIALOG} .o_sendgrid_switch"


@pytest.fixture
def contact(odoo):
    """A contact to write to, and a company that measures nobody who was not asked."""
    company_id = odoo.read("res.users", odoo.uid, "company_id").company_id
    before = odoo.read("res.company", company_id, "sendgrid_unasked").sendgrid_unasked
    odoo.write("res.company", company_id, sendgrid_unasked="nobody")
    yield odoo.contact("Ada Lovelace", "ada@switch.test")
    odoo.write("res.company", company_id, sendgrid_unasked=before)


@pytest.fixture(scope="module")
def writer(odoo):
    """A salesperson to whom no robot writes: its window would cover the page of a telephone."""
    odoo.user("Wanda Writer", "wanda", "sales_team.group_sale_salesman", odoobot_state="disabled")
    return "wanda"


@pytest.fixture(params=SIZES)
def page(request, open_browser, contact, writer):
    """The contact's page, in one size, ready to write."""
    window = open_browser(writer, writer)
    window.set_viewport_size(SIZES[request.param])
    window.size = request.param
    open_composer(window, contact)
    return window


def open_composer(page, contact_id):
    page.goto(f"/odoo/contacts/{contact_id}")
    page.locator(".o-mail-Chatter-sendMessage").click()
    page.wait_for_selector(INLINE)


def look(page, name, *include):
    """Keep a picture, and fail if axe-core finds anything."""
    expect(page.locator(".o_loading_indicator")).to_have_count(0)
    picture(page, f"switch-{name}-{page.size}")
    assert not find_violations(page, *include)


def is_pressed(page, selector, value):
    expect(page.locator(selector)).to_have_attribute("aria-pressed", value)


def write(page, text):
    page.locator(
        ".o-mail-Composer textarea.o-mail-Composer-input, .o-mail-Composer [contenteditable=true]"
    ).first.click()
    page.keyboard.type(text)


def send(page):
    page.locator(".o-mail-Composer-send").click()
    # Until then the message is a draft, which a page that is left would keep.
    expect(page.locator(".o-mail-Composer")).to_have_count(0)


def messages_of(odoo, contact_id):
    return odoo.find(
        "mail.message",
        ("model", "=", "res.partner"),
        ("res_id", "=", contact_id),
        ("message_type", "=", "comment"),
        fields=["body", "sendgrid_is_unmeasured"],
    )


def sent(odoo, contact_id, text):
    """Wait for a message, and return whether it is switched off."""
    [message] = wait_for(
        lambda: [one for one in messages_of(odoo, contact_id) if text in one.body], f"the message {text}"
    )
    return message.sendgrid_is_unmeasured


def test_chatter(odoo, page, contact):
    """The chatter's switch: by keyboard, not for notes, kept with the draft, sent with the message, then on again."""
    is_pressed(page, INLINE, "true")
    line = page.locator(".o-mail-RecipientsInput .o_sendgrid_unmeasured")
    expect(line).to_have_text("Opens and links are not measured: Ada Lovelace (not asked)")
    look(page, "inline-on", ".o-mail-Chatter .o_sendgrid_unmeasured", INLINE)
    expect(page.get_by_role("button", name="Track opens and links", pressed=True)).to_be_visible()

    page.locator(INLINE).focus()
    page.keyboard.press("Space")
    is_pressed(page, INLINE, "false")
    expect(line).to_have_count(0)
    write(page, "Not tracked")
    look(page, "inline-off", INLINE)

    page.locator(".o-mail-Chatter-logNote").click()
    expect(page.locator(INLINE)).to_have_count(0)
    page.locator(".o-mail-Chatter-sendMessage").click()
    is_pressed(page, INLINE, "false")

    open_composer(page, contact)
    is_pressed(page, INLINE, "false")
    send(page)
    assert sent(odoo, contact, "Not tracked") is True

    open_composer(page, contact)
    is_pressed(page, INLINE, "true")
    write(page, "As always")
    send(page)
    assert sent(odoo, contact, "As always") is False


def test_note(odoo, page, contact):
    """A note that is written after the switch was set is no switched-off message."""
    page.locator(INLINE).click()
    is_pressed(page, INLINE, "false")
    page.locator(".o-mail-Chatter-logNote").click()
    write(page, "A note")
    send(page)
    assert sent(odoo, contact, "A note") is False


def test_full_composer(odoo, page, contact):
    """The full composer takes the switch over, gives it back if it is closed, and sends it."""
    page.locator(INLINE).click()
    write(page, "In full")
    open_full(page)
    is_pressed(page, FULL, "false")
    expect(page.locator(f"{DIALOG} .o_sendgrid_unmeasured")).to_be_hidden()
    page.locator(FULL).focus()
    page.keyboard.press("Space")
    is_pressed(page, FULL, "true")
    expect(page.locator(f"{DIALOG} .o_sendgrid_unmeasured")).to_have_text(
        "Opens and links are not measured: Ada Lovelace (not asked)"
    )
    look(page, "full-on", f"{DIALOG} .o_sendgrid_unmeasured", FULL)
    page.locator(f"{DIALOG} .btn-close, {DIALOG} .oi-arrow-left").first.click()
    expect(page.locator(DIALOG)).to_have_count(0)
    expect(page.locator(".o-mail-Composer")).to_have_count(0)
    page.locator(".o-mail-Chatter-sendMessage").click()
    is_pressed(page, INLINE, "true")

    open_full(page)
    is_pressed(page, FULL, "true")
    page.locator(FULL).click()
    is_pressed(page, FULL, "false")
    look(page, "full-off", FULL)
    page.locator(f"{DIALOG} .o_mail_send:visible").click()
    expect(page.locator(DIALOG)).to_have_count(0)
    assert sent(odoo, contact, "In full") is True


def open_full(page):
    page.locator(".o-mail-Composer button[name=open-full-composer]").click()
    page.wait_for_selector(FULL)
