"""The feed in the top bar and what is told at once, live: in one window a salesperson's, in another a colleague's."""

import time

import pytest
from axe import find_violations
from harness import OdooClient, picture, wait_for
from playwright.sync_api import expect

SIZES = {"wide": {"width": 1440, "height": 900}, "narrow": {"width": 390, "height": 844}}
BUTTON = ".o_sendgrid_feed_button"
COUNTER = ".o_sendgrid_feed_counter"
FEED = ".o_sendgrid_feed"
LINE = ".o_sendgrid_feed_line"
TOAST = ".o_notification"


@pytest.fixture(scope="module")
def writers(odoo, stack):
    """The clients of a salesperson and a colleague, to whom no robot writes: its window would cover a telephone's."""
    clients = {}
    for login in ("fay", "colin"):
        odoo.user(login.title(), login, "sales_team.group_sale_salesman", odoobot_state="disabled")
        clients[login] = OdooClient(stack.odoo, login, login)
    return clients


@pytest.fixture(params=SIZES)
def page(request, open_browser, writers):
    window = open_browser("fay", "fay")
    window.set_viewport_size(SIZES[request.param])
    window.size = request.param
    return window


def look(page, name, *include):
    """Keep a picture, and fail if axe-core finds anything."""
    expect(page.locator(".o_loading_indicator")).to_have_count(0)
    picture(page, f"feed-{name}-{page.size}")
    assert not find_violations(page, *include)


def send(client, odoo, sandbox, name, subject):
    """Have a user send an e-mail; return SendGrid's message and the address."""
    address = f"{time.monotonic_ns()}@feed.test"
    contact_id = odoo.contact(name, address)
    client.compose(contact_id, subject, '<p>Hello, <a href="https://www.example.com/offer">our offer</a></p>')
    message = sandbox.message_to(address)
    wait_for(lambda: odoo.document_to(address).status == "delivered", "delivered")
    return message, address


def click(sandbox, message, address):
    """Open an e-mail as a person does some minutes after it came, and click a little later."""
    moment = int(time.time()) + 300
    sandbox.fire(message, address, "open", timestamp=moment)
    sandbox.fire(message, address, "click", timestamp=moment + 20, url="https://www.example.com/offer")


def test_live(odoo, sandbox, writers, page, open_browser):
    """A click is told while one looks, with the way to the e-mail; the feed lives; a colleague hears nothing."""
    colleague = open_browser("colin", "colin")
    expect(colleague.locator(BUTTON)).to_be_visible()
    writers["fay"].call("sendgrid.interaction", "action_mark_all_seen", [])
    page.goto("/odoo/sendgrid-documents")
    expect(page.locator(BUTTON)).to_be_visible()
    expect(page.locator(COUNTER)).to_have_count(0)
    offer, another = f"<b>Offer, {page.size}</b>", f"Another offer, {page.size}"
    asked = []
    page.on("request", lambda request: asked.append(request.url) if "sendgrid.interaction" in request.url else None)
    message, address = send(writers["fay"], odoo, sandbox, "Ada <img src=x onerror=alert(1)>", offer)

    click(sandbox, message, address)
    toast = page.locator(TOAST).filter(has_text="Clicked by Ada")
    expect(toast).to_contain_text(offer)
    expect(page.locator(COUNTER)).to_have_text("2")
    look(page, "told", TOAST)
    assert not asked, "closed, it asks for nothing"
    toast.get_by_role("button", name="Open").click()
    expect(page.locator(".o_sendgrid_email_form")).to_be_visible()
    expect(page.locator(".o_sendgrid_email_form h1")).to_have_text(offer)
    expect(page.locator(COUNTER)).to_have_text("1")

    page.locator(BUTTON).click()
    expect(page.locator(LINE).filter(has_text=offer).first).to_contain_text("Clicked by Ada <img")
    look(page, "open", FEED, BUTTON)
    second, other = send(writers["fay"], odoo, sandbox, "Bob Buyer", another)
    sandbox.fire(second, other, "open", timestamp=int(time.time()) + 600)
    expect(page.locator(LINE).filter(has_text=another)).to_contain_text("Opened by Bob Buyer")
    expect(page.locator(COUNTER)).to_have_text("2")
    page.locator(FEED).get_by_role("button", name="Clicks").click()
    expect(page.locator(LINE).filter(has_text="Opened")).to_have_count(0)
    expect(page.locator(FEED).get_by_role("button", name="Clicks", pressed=True)).to_be_visible()
    page.locator(FEED).get_by_role("button", name="All", exact=True).click()
    page.locator(LINE).filter(has_text=another).click()
    expect(page.locator(".o_sendgrid_email_form h1")).to_have_text(another)
    expect(page.locator(COUNTER)).to_have_text("1")

    page.locator(BUTTON).click()
    page.locator(FEED).get_by_role("button", name="Mark all as seen").click()
    expect(page.locator(COUNTER)).to_have_count(0)
    expect(page.locator(f"{LINE}.o_sendgrid_unseen")).to_have_count(0)
    page.locator(FEED).get_by_role("button", name="Show all").click()
    expect(page.locator(".o_list_renderer, .o_kanban_renderer").first).to_contain_text(another)
    look(page, "page", ".o_action_manager .o_content")

    expect(colleague.locator(COUNTER)).to_have_count(0)
    expect(colleague.locator(TOAST)).to_have_count(0)
    colleague.locator(BUTTON).click()
    expect(colleague.locator(FEED)).to_contain_text("Nothing here yet.")


def test_page(odoo, sandbox, writers, page):
    """The page of its own lives, searches, marks all as seen, and leads to the e-mail."""
    page.goto("/odoo/sendgrid-interactions")
    page.wait_for_selector(".o_action_manager .o_content")
    quotation = f"A quotation to find, {page.size}"
    message, address = send(writers["fay"], odoo, sandbox, "Carla Client", quotation)
    click(sandbox, message, address)
    rows = page.locator(".o_data_row, .o_kanban_record:not(.o_kanban_ghost)")
    found = rows.filter(has_text=quotation)
    expect(found.first).to_be_visible()
    expect(page.locator(COUNTER)).to_be_visible()
    page.get_by_role("button", name="Mark All as Seen").click()
    expect(page.locator(COUNTER)).to_have_count(0)
    found.first.click()
    expect(page.locator(".o_sendgrid_email_form h1")).to_have_text(quotation)
    look(page, "mute", ".o_form_statusbar")


def test_preferences(writers, page):
    """The preferences say of what a user is told, and he changes them himself."""
    page.goto(f"/odoo/my-preferences/{writers['fay'].uid}")
    wishes = page.locator(".o_sendgrid_tells")
    expect(wishes).to_be_visible()
    expect(wishes.get_by_label("First Opens")).not_to_be_checked()
    expect(wishes.get_by_label("Clicks")).to_be_checked()
    look(page, "preferences", ".o_sendgrid_tells")
    wishes.get_by_label("First Opens").check()
    page.locator(".o_form_button_save").click()
    wait_for(
        lambda: writers["fay"].read("res.users", writers["fay"].uid, "sendgrid_tells_opened").sendgrid_tells_opened,
        "saved",
    )
    wishes.get_by_label("First Opens").uncheck()
    page.locator(".o_form_button_save").click()
    expect(page.locator(".o_form_button_save")).not_to_be_visible()
