"""In the browser: e-mails that are not measured, and the choice of who is."""

import pytest
from axe import find_violations
from harness import picture, wait_for
from playwright.sync_api import expect

SIZES = {"wide": {"width": 1440, "height": 900}, "phone": {"width": 390, "height": 844}}
STEPS = ".o_sendgrid_step"
DOMAIN = "measured.test"
WISH = "Not measured at the recipient's wish"


@pytest.fixture(scope="module")
def documents(odoo, database):
    """Documents that were delivered: one that is measured, one that is not, and one of which nothing was heard yet."""
    ids = {}
    for name in ("full", "wish"):
        odoo.compose(odoo.contact(name.title(), f"{name}@{DOMAIN}"), f"Offer to {name}", "<p>Hello</p>")
        wait_for(lambda n=name: odoo.document_to(f"{n}@{DOMAIN}").status == "delivered", f"delivered to {name}")
        ids[name] = odoo.document_to(f"{name}@{DOMAIN}").id
    database.query("UPDATE sendgrid_email SET measured = 'none', unmeasured_reason = 'wish' WHERE id = %s", ids["wish"])
    return ids


@pytest.fixture
def undecided(database):
    """Nobody has chosen who is measured, as after an upgrade."""
    [(before,)] = database.query("SELECT sendgrid_unasked FROM res_company ORDER BY id LIMIT 1")
    database.query("UPDATE res_company SET sendgrid_unasked = NULL")
    yield
    database.query("UPDATE res_company SET sendgrid_unasked = %s", before)


def settle(page):
    """Wait until nothing is being loaded, and what was loaded is drawn."""
    expect(page.locator(".o_loading_indicator")).to_have_count(0)
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def check(page, name, *include):
    """Keep a picture, and fail if axe-core finds anything."""
    settle(page)
    picture(page, name)
    violations = find_violations(page, *include)
    assert not violations, "\n".join(violations)


@pytest.mark.parametrize("size", SIZES)
def test_document(documents, open_browser, size):
    """The way has no opens and clicks, and the page says why; one that is measured shows the further steps."""
    page = open_browser("admin", "admin")
    page.emulate_media(reduced_motion="reduce")
    page.set_viewport_size(SIZES[size])
    page.goto(f"/odoo/sendgrid.email/{documents['full']}")
    expect(page.locator(STEPS)).to_have_count(6)
    expect(page.locator("[name=engagement_summary]")).to_contain_text("Not opened yet")
    page.goto(f"/odoo/sendgrid.email/{documents['wish']}")
    expect(page.locator("[name=engagement_summary]")).to_contain_text(WISH)
    # An answer is known without any measuring.
    expect(page.locator(STEPS)).to_have_count(4)
    expect(page.locator(STEPS).nth(2)).to_have_attribute("data-status", "delivered")
    expect(page.locator(STEPS).last).to_have_attribute("data-status", "replied")
    assert "Not opened" not in page.locator(".o_form_sheet").inner_text()
    check(page, f"unmeasured-document-{size}", ".o_form_view .o_form_sheet_bg")


@pytest.mark.parametrize("size", SIZES)
def test_nothing_heard_yet(documents, database, open_browser, size):
    """A page without any event says what will appear on it, and what will not."""
    known = database.query("SELECT id FROM sendgrid_event WHERE email_id = %s", documents["wish"])
    ids = [id_ for (id_,) in known]
    database.query("UPDATE sendgrid_event SET email_id = NULL WHERE id = ANY(%s)", ids)
    try:
        page = open_browser("admin", "admin")
        page.emulate_media(reduced_motion="reduce")
        page.set_viewport_size(SIZES[size])
        page.goto(f"/odoo/sendgrid.email/{documents['wish']}")
        expect(page.locator(".o_sendgrid_empty")).to_contain_text(WISH)
        check(page, f"unmeasured-nothing-yet-{size}", ".o_form_view .o_form_sheet_bg")
    finally:
        database.query("UPDATE sendgrid_event SET email_id = %s WHERE id = ANY(%s)", documents["wish"], ids)


@pytest.mark.parametrize("size", SIZES)
def test_list(documents, open_browser, size):
    """Lists and cards have a mark with a title where a 0 would be a claim, and "Not Opened" leaves the e-mail out."""
    page = open_browser("admin", "admin")
    page.emulate_media(reduced_motion="reduce")
    page.set_viewport_size(SIZES[size])
    page.goto("/odoo/action-sendgrid_tracking.sendgrid_email_action")
    row = page.locator(".o_data_row, .o_kanban_record", has_text=f"wish@{DOMAIN}")
    other = page.locator(".o_data_row, .o_kanban_record", has_text=f"full@{DOMAIN}")
    mark = row.locator(".o_sendgrid_unmeasured").first
    expect(mark).to_have_attribute("title", f"{WISH}.")
    expect(other.locator(".o_sendgrid_unmeasured")).to_have_count(0)
    check(page, f"unmeasured-list-{size}", ".o_action_manager .o_content")
    if size == "phone":
        return
    expect(row.locator("td[name=open_count]")).to_have_text("")
    expect(other.locator("td[name=open_count]")).to_have_text("0")
    page.locator(".o_searchview_dropdown_toggler").click()
    page.locator(".o_filter_menu .o_menu_item", has_text="Not Opened").click()
    expect(row).to_have_count(0)
    expect(other).to_have_count(1)
    page.locator(".o_filter_menu .o_menu_item", has_text="Not Opened").click()
    page.locator(".o_filter_menu .o_menu_item", has_text="Not Measured").click()
    expect(row).to_have_count(1)
    expect(other).to_have_count(0)


def test_choice(odoo, database, undecided, open_browser):
    """Health says that nobody has chosen, its button asks, and Settings shows and changes what was chosen."""
    account_id = odoo.ref("sendgrid_tracking.sendgrid_account_demo")
    odoo.call("sendgrid.account", "action_check_health", [account_id])
    page = open_browser("admin", "admin")
    page.emulate_media(reduced_motion="reduce")
    page.set_viewport_size(SIZES["wide"])
    page.goto(f"/odoo/action-sendgrid_tracking.sendgrid_account_action/{account_id}")
    page.click(".o_notebook .nav-link[name=health]")
    finding = page.locator("[name=check_ids] .o_data_row", has_text="Nobody has chosen")
    finding.locator("button[name=action_open]").click()
    step = page.locator(".modal .o_sendgrid_connect_step[data-name=measuring]")
    expect(step.locator("[data-choice=country]")).to_be_visible()
    check(page, "measuring-step-wide", ".modal-dialog")
    page.set_viewport_size(SIZES["phone"])
    check(page, "measuring-step-phone", ".modal-dialog")
    page.set_viewport_size(SIZES["wide"])
    # The list of countries opens beside, so that the dialog stays.
    with page.context.expect_page() as opened:
        step.locator("button", has_text="The Countries").click()
    opened.value.wait_for_selector(".o_form_renderer, .o_list_renderer")
    picture(opened.value, "measuring-countries")
    opened.value.close()
    step.locator("[data-choice=nobody]").click()
    expect(step).to_have_attribute("data-state", "done")
    expect(step).to_contain_text("Only who agreed is measured.")
    assert {one for (one,) in database.query("SELECT sendgrid_unasked FROM res_company")} == {"nobody"}
    page.locator(".modal footer button", has_text="Close").click()

    for size in SIZES:
        page.set_viewport_size(SIZES[size])
        page.goto("/odoo/settings")
        page.wait_for_selector("#sendgrid_measuring")
        page.locator("#sendgrid_measuring").scroll_into_view_if_needed()
        expect(page.locator("#sendgrid_measuring input[data-value=nobody]")).to_be_checked()
        names = ("measuring", "notice", "details", "retention")
        check(page, f"settings-privacy-{size}", *(f"#sendgrid_{name}" for name in names))
    page.set_viewport_size(SIZES["wide"])
    page.locator("#sendgrid_measuring input[data-value=country]").check()
    page.locator(".o_form_button_save:visible, button[name=execute]:visible").first.click()
    wait_for(
        lambda: database.value("SELECT sendgrid_unasked FROM res_company ORDER BY id LIMIT 1") == "country", "saved"
    )
