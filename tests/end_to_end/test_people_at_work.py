"""People at work: one looks at a lead's chatter, in another window the author is told, and a third may not see it."""

import pytest
from axe import find_violations
from harness import OdooClient, picture
from playwright.sync_api import expect
from test_answers import send_answer
from test_chatter import ABOVE, SECONDS_TO_SEE, expect_envelope, open_lead, post
from test_feed import BUTTON, COUNTER, FEED, LINE, SIZES, TOAST, click

LIVE = {"timeout": SECONDS_TO_SEE * 1000}
POPOVER = ".o-mail-MessageNotificationPopover"
NAMES = ("Ada", "Bob", "Cleo")


@pytest.fixture(scope="module")
def people(odoo, stack):
    """The author, a colleague who may read his leads, and one who may not; their clients by login."""
    groups = {"wendy": "_all_leads", "will": "_all_leads", "wolf": ""}
    for login, group in groups.items():
        odoo.user(login.title(), login, f"sales_team.group_sale_salesman{group}", odoobot_state="disabled")
    return {login: OdooClient(stack.odoo, login, login) for login in groups}


def look(page, name, size, *include):
    """Keep a picture, and fail if axe-core finds anything."""
    expect(page.locator(".o_loading_indicator")).to_have_count(0)
    picture(page, f"work-{name}-{size}")
    assert find_violations(page, *include) == []


@pytest.mark.parametrize("size", SIZES)
def test_message_to_three(odoo, sandbox, gateway, people, open_browser, size):
    """A message to three: sent, delivered, clicked, replied, seen live in both windows, and in no third."""
    people["wendy"].call("sendgrid.interaction", "action_mark_all_seen", [])
    lead_id = odoo.create("crm.lead", name=f"Engine, {size}", type="opportunity", user_id=people["wendy"].uid)
    hostile = '<img src=x onerror="window.isHacked=1">'
    contacts = {name: odoo.contact(f"{name} {hostile}", f"{name.lower()}@{size}.work.test") for name in NAMES}
    addresses = [f"{name.lower()}@{size}.work.test" for name in NAMES]
    colleague, author, stranger = (open_browser(login, login) for login in ("will", "wendy", "wolf"))
    for page in (colleague, author, stranger):
        page.set_viewport_size(SIZES[size])
        page.goto("/odoo/sendgrid-documents")
        page.wait_for_selector(".o_action_manager .o_content")

    sandbox.webhook(hold=True)
    try:
        post(people["wendy"], lead_id, list(contacts.values()), f"Offer, {size} {hostile}")
        messages = [sandbox.message_to(address) for address in addresses]
        open_lead(colleague, lead_id)
        expect_envelope(colleague, "sent")
        colleague.evaluate("window.notReloaded = true")
    finally:
        sandbox.webhook(hold=False)
    sandbox.flush()
    expect_envelope(colleague, "delivered")
    expect(author.locator(COUNTER)).to_have_count(0)

    click(sandbox, messages[0], addresses[0])
    expect_envelope(colleague, "clicked")
    toast = author.locator(TOAST).filter(has_text="Clicked by Ada <img")
    expect(toast).to_contain_text(f"Offer, {size} {hostile}", **LIVE)
    expect(author.locator(COUNTER)).to_have_text("2")

    [document] = odoo.documents(("recipient", "=", addresses[1]))
    send_answer(gateway, document.message_id, f"work-{size}", addresses[1], f"Yes, please. {hostile}")
    expect_envelope(colleague, "replied")
    toast = author.locator(TOAST).filter(has_text="Reply from Bob <img")
    expect(toast).to_contain_text(f"Offer, {size} {hostile}", **LIVE)
    expect(author.locator(COUNTER)).to_have_text("3")
    look(author, "told", size, TOAST)

    sent = colleague.locator(".o-mail-Message", has=colleague.locator("[data-sendgrid-status]"))
    envelope = sent.locator(".o-mail-Message-notification")
    envelope.scroll_into_view_if_needed()
    look(colleague, "envelope", size, ".o-mail-Message-notification", ABOVE)
    envelope.click()
    states = {"Ada": "Clicked", "Bob": "Replied", "Cleo": "Delivered"}
    for name, text in states.items():
        row = colleague.locator(f"{POPOVER} > div", has_text=f"{name} <img")
        expect(row.locator(".o_sendgrid_state")).to_have_text(text)
        expect(row.locator("time")).to_be_visible()
    look(colleague, "popover", size, POPOVER)
    assert colleague.evaluate("window.notReloaded") is True

    author.locator(BUTTON).click()
    lines = author.locator(LINE)
    # The click is some minutes ahead, see `click`.
    told = [f"{what} {hostile}" for what in ("Clicked by Ada", "Opened by Ada", "Reply from Bob")]
    expect(lines.filter(has_text=f"Offer, {size}")).to_contain_text(told)
    look(author, "feed", size, FEED, BUTTON)
    author.locator(FEED).get_by_role("button", name="Replies").click()
    expect(lines.filter(has_text=f"Offer, {size}")).to_have_count(1)
    author.locator(FEED).get_by_role("button", name="Show all").click()
    # The page before has rows with these words as well.
    expect(author.get_by_role("button", name="Mark All as Seen", exact=True)).to_be_visible()
    rows = author.locator(".o_data_row, .o_kanban_record:not(.o_kanban_ghost)").filter(has_text=f"Offer, {size}")
    expect(rows.filter(has_text="Replied")).to_have_count(1)
    look(author, "interactions", size, ".o_action_manager .o_content")
    author.goto(f"/odoo/my-preferences/{people['wendy'].uid}")
    author.locator(".o_sendgrid_tells").scroll_into_view_if_needed()
    look(author, "preferences", size, ".o_sendgrid_tells")

    # The third had the same open page all the time.
    expect(stranger.locator(COUNTER)).to_have_count(0)
    expect(stranger.locator(TOAST)).to_have_count(0)
    stranger.locator(BUTTON).click()
    expect(stranger.locator(FEED)).to_contain_text("Nothing here yet.")
    assert people["will"].documents(("recipient", "in", addresses), fields=["id"])
    assert not people["wolf"].documents(("recipient", "in", addresses), fields=["id"])
    for login in ("will", "wolf"):
        assert not people[login].find("sendgrid.interaction", fields=["id"]), "the feed is the author's alone"
    for page in (colleague, author, stranger):
        assert not page.evaluate("window.isHacked")
