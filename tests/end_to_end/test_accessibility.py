"""Every page of ours, looked at by axe-core, on a wide screen and on a telephone's."""

import pytest
from all_pages import FORMS, LISTS, go, settle
from axe import find_violations
from conftest import AGENT
from harness import PATIENCE, picture
from playwright.sync_api import expect

SIZES = {"wide": {"width": 1440, "height": 900}, "narrow": {"width": 390, "height": 844}}
# A list, form or other view as a whole: all that a page of ours shows below the menu.
VIEW = ".o_action_manager .o_content"
DIALOG = ".modal-dialog"
# What a contact or lead said about being measured.
WORD = ".o_form_view div:has(> [name=email_tracking])"
PRIVACY = [f"#sendgrid_{name}" for name in ("measuring", "notice", "details", "retention")]


@pytest.fixture(scope="module", params=SIZES)
def page(request, browser, stack):
    """A window of the administrator's, of one size, for all tests of that size."""
    context = browser.new_context(
        base_url=stack.odoo.url,
        viewport=SIZES[request.param],
        timezone_id="Europe/Berlin",
        locale="en-US",
        user_agent=AGENT,
        reduced_motion="reduce",  # a colour that is just fading in has no contrast yet
    )
    context.set_default_timeout(90_000)  # the first page has to build the assets
    window = context.new_page()
    window.size = request.param
    window.goto("/web/login")
    window.fill("input[name=login]", "admin")
    window.fill("input[name=password]", "admin")
    window.click(".oe_login_form button[type=submit]")
    window.wait_for_selector(".o_web_client .o_main_navbar")
    yield window
    context.close()


def open_tab(page, name):
    page.locator(f".o_notebook .nav-link[name={name}]").click()
    settle(page)


def check(page, name, *include):
    """Keep a picture, and fail if axe-core finds anything."""
    picture(page, f"axe-{name}-{page.size}")
    violations = find_violations(page, *include)
    assert not violations, f"{name}, {page.size}:\n" + "\n".join(violations)


@pytest.mark.parametrize("name", LISTS)
def test_list(page, world, name):
    go(page, LISTS[name], view="kanban" if name == "accounts" and page.size == "narrow" else None)
    check(page, f"list-{name}", VIEW)


def test_dashboard_of_accounts(page, world):
    go(page, "sendgrid_account_action", view="kanban")
    check(page, "accounts-dashboard", VIEW)


@pytest.mark.parametrize("name", FORMS)
def test_form(page, world, name):
    go(page, FORMS[name], world[name])
    check(page, f"form-{name}", VIEW)


@pytest.mark.parametrize("name", ["health", "connection", "consequences", "manual"])
def test_account(page, world, name):
    go(page, "sendgrid_account_action", world["account"])
    open_tab(page, name)
    check(page, f"account-{name}", ".o_form_view .o_form_sheet_bg")


@pytest.mark.parametrize("name", ["document", "bounced"])
@pytest.mark.parametrize("tab", ["Tracking", "Content"])
def test_document(page, world, name, tab):
    go(page, "sendgrid_email_action", world[name])
    page.locator(".o_notebook .nav-link", has_text=tab).click()
    settle(page)
    check(page, f"{name}-{tab.lower()}", ".o_form_view .o_form_sheet_bg")


def documents_button(page):
    """The button that leads to the documents; on a telephone Odoo hides it behind another."""
    return [] if page.size == "narrow" else ["button[name=action_view_sendgrid_emails]"]


def test_contact(page, world):
    page.goto(f"/odoo/res.partner/{world['contact']}")
    page.wait_for_selector(".o_form_view .alert:has([name=sendgrid_warning])")
    page.locator(".o_notebook .nav-link", has_text="Documents").click()
    settle(page)
    check(
        page,
        "contact",
        ".o_form_view .alert:has([name=sendgrid_warning])",
        *documents_button(page),
        "[name=sendgrid_email_ids]",
        WORD,
    )


def test_lead(page, world):
    page.goto(f"/odoo/crm.lead/{world['lead']}")
    page.wait_for_selector(".o_form_view .alert:has([name=sendgrid_warning])")
    settle(page)
    page.locator(WORD).scroll_into_view_if_needed()
    check(page, "lead", ".o_form_view .alert:has([name=sendgrid_warning])", *documents_button(page), WORD)


def test_composers(page, world):
    """Both places where a message is written warn of the address that bounced."""
    page.goto(f"/odoo/res.partner/{world['contact']}")
    page.wait_for_selector(".o-mail-Chatter")
    page.locator(".o-mail-Chatter-sendMessage").click()
    warning = page.locator(".o_sendgrid_recipients_warning")
    expect(warning).to_be_visible()
    check(page, "composer-chatter", ".o_sendgrid_recipients_warning")
    page.locator(".o-mail-Composer button[name=open-full-composer]").click()
    expect(page.locator(f"{DIALOG} [name=sendgrid_warning]")).to_be_visible()
    settle(page)
    check(page, "composer-full", f"{DIALOG} .alert:has([name=sendgrid_warning])")
    page.keyboard.press("Escape")


def test_settings(page, world):
    page.goto("/odoo/settings")
    page.wait_for_selector("#sendgrid_accounts")
    page.locator("#sendgrid_accounts").scroll_into_view_if_needed()
    settle(page)
    check(page, "settings", "#sendgrid_accounts", "#sendgrid_follow_up", *PRIVACY)


def test_mail_server(page, world):
    page.goto(f"/odoo/ir.mail_server/{world['server']}")
    page.wait_for_selector("[name=sendgrid_account_id]")
    settle(page)
    check(page, "mail-server", ".o_form_view [name=sendgrid_account_id]")


def press_in_header(page, name):
    """Press a button of a form's header; on a telephone they are behind another button."""
    if page.size == "narrow":
        page.locator(".o_statusbar_buttons .o-dropdown, .o_statusbar_buttons .dropdown-toggle").first.click()
    page.locator(f"button[name={name}]:visible").click()


def press(page, button):
    page.locator(f"{DIALOG} footer button:visible", has_text=button).click()


def test_connect_and_disconnect(page, world, odoo):
    """The dialogs at each step: before anything is done, with a failure, when all is done, and the other way."""
    known = [account.id for account in odoo.find("sendgrid.account")]
    page.goto("/odoo/settings")
    page.locator("#sendgrid_accounts button", has_text="Connect").click()
    page.wait_for_selector(f"{DIALOG} [name=api_key] input")
    settle(page)
    check(page, "connect", DIALOG)
    page.fill(f"{DIALOG} [name=name] input", f"Accessible {page.size}")
    page.fill(f"{DIALOG} [name=api_key] input", "SG.mistyped")
    press(page, "Connect")
    expect(page.locator(".o_sendgrid_connect_step[data-state=failed]")).to_be_visible(timeout=PATIENCE * 1000)
    check(page, "connect-failed", DIALOG)
    press(page, "Back")
    page.fill(f"{DIALOG} [name=api_key] input", "SG.sandbox")
    press(page, "Connect")
    expect(page.locator(f"{DIALOG} .alert-success:visible")).to_be_visible(timeout=PATIENCE * 2000)
    check(page, "connect-done", DIALOG)
    press(page, "Open the Account")
    page.wait_for_selector(".o_form_view [name=connection_state]")
    [account] = [one for one in odoo.find("sendgrid.account", fields=["mail_server_ids"]) if one.id not in known]
    press_in_header(page, "action_disconnect")
    expect(page.locator(f"{DIALOG} [name=plan]")).to_be_visible()
    check(page, "disconnect", DIALOG)
    press(page, "Disconnect")
    expect(page.locator(f"{DIALOG} [name=done]")).to_be_visible()
    check(page, "disconnected", DIALOG)
    press(page, "Close")
    odoo.write("sendgrid.account", account.id, active=False)


def test_clear_dialog(page, world):
    page.goto(f"/odoo/res.partner/{world['contact']}")
    page.locator("button[name=action_clear_at_sendgrid]").click()
    page.wait_for_selector(f"{DIALOG} [name=line_ids]")
    settle(page)
    check(page, "clear", DIALOG)


def open_dialog_of_list(page, name, selector):
    """Tick the first row of the list that is open, and open a dialog by the menu of actions."""
    page.locator(".o_data_row .o_list_record_selector input").first.click()
    page.locator(".o_cp_action_menus button:has(.fa-cog)").click()
    page.locator(".o-dropdown--menu .o_menu_item", has_text=name).click()
    page.wait_for_selector(f"{DIALOG} {selector}")
    page.set_viewport_size(SIZES[page.size])
    settle(page)


def test_forget_dialog(page, world):
    page.set_viewport_size(SIZES["wide"])  # on a telephone, a row is ticked by a long touch
    go(page, "sendgrid_address_action")
    open_dialog_of_list(page, "Forget Tracking", "[name=address_names]")
    check(page, "forget", DIALOG)


def test_attach_dialog(page, world):
    page.set_viewport_size(SIZES["wide"])  # on a telephone, a row is ticked by a long touch
    go(page, "sendgrid_event_action_unmatched")
    open_dialog_of_list(page, "Attach to an E-mail", "[name=event_ids]")
    check(page, "attach", DIALOG)


def test_tracking_dialog(page, world):
    page.set_viewport_size(SIZES["wide"])
    page.goto("/odoo/action-contacts.action_contacts?view_type=list")
    page.wait_for_selector(".o_list_renderer .o_data_row")
    open_dialog_of_list(page, "Set e-mail tracking", "[name=word]")
    check(page, "tracking", DIALOG)
