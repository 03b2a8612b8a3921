"""Who agrees to be measured or declines, as a salesperson notes it in a real Chromium."""

import pytest
from harness import OdooClient, picture, search
from playwright.sync_api import expect

DIALOG = ".modal-dialog"
DETAILS = ".o_form_view [name=email_tracking_details]"


@pytest.fixture(scope="module")
def sally(odoo, stack):
    """A salesperson's client."""
    odoo.user("Sally Consent", "sally.consent", "sales_team.group_sale_salesman", "base.group_partner_manager")
    return OdooClient(stack.odoo, "sally.consent", "sally.consent")


def choose_word(page, word):
    """Choose a word on the form that is open, and save it."""
    page.locator(".o_form_view [name=email_tracking] input").click()
    page.locator(".o_select_menu_item", has_text=word).click()
    page.locator(".o_form_button_save").click()
    expect(page.locator(".o_form_status_indicator_buttons.invisible")).to_have_count(1)


def test_forms(odoo, sally, open_browser):
    """A salesperson notes the word on a contact and on a lead; each says so, with who did it, also in the chatter."""
    contact_id = odoo.contact("Ida Rhodes", "ida@consent.test")
    lead_id = odoo.create(
        "crm.lead", name="A calendar", type="opportunity", email_from="ida@consent.test", user_id=sally.uid
    )
    page = open_browser("sally.consent", "sally.consent")
    page.goto(f"/odoo/contacts/{contact_id}")
    page.wait_for_selector(".o_form_view [name=email_tracking]")
    expect(page.locator(DETAILS)).to_have_count(0)
    choose_word(page, "Declined")
    expect(page.locator(DETAILS)).to_contain_text("noted by Sally Consent")
    expect(page.locator(".o-mail-Message", has_text="E-mail tracking of ida@consent.test: Declined")).to_be_visible()
    picture(page, "consent_contact")

    page.goto(f"/odoo/crm.lead/{lead_id}")
    page.wait_for_selector(".o_form_view [name=email_tracking]")
    expect(page.locator(DETAILS)).to_contain_text("noted by Sally Consent")
    choose_word(page, "Agreed")
    expect(page.locator(DETAILS)).to_contain_text("Agreed on")
    picture(page, "consent_lead")
    assert odoo.read("res.partner", contact_id, "email_tracking").email_tracking == "agreed"

    admin = open_browser("admin", "admin")
    [address] = odoo.find("sendgrid.address", ("email", "=", "ida@consent.test"))
    admin.goto(f"/odoo/action-sendgrid_tracking.sendgrid_address_action/{address.id}")
    expect(admin.locator("[name=consent_ids] .o_data_row")).to_have_count(2)
    picture(admin, "consent_address")


def test_typed_address(odoo, sally, open_browser):
    """A form shows the word of the address that somebody types, and saving the address says nothing for its owner."""
    odoo.call("sendgrid.address", "set_email_tracking", ["known@consent.test"], "declined", "form", "Newsletter")
    contact_id = odoo.contact("Jean Sammet", "jean@consent.test")
    page = open_browser("sally.consent", "sally.consent")
    page.goto(f"/odoo/contacts/{contact_id}")
    page.wait_for_selector(".o_form_view [name=email_tracking]")
    page.fill(".o_form_view [name=email] input", "known@consent.test")
    page.keyboard.press("Tab")
    expect(page.locator(DETAILS)).to_contain_text("form Newsletter")
    page.locator(".o_form_button_save").click()
    expect(page.locator(".o_form_status_indicator_buttons.invisible")).to_have_count(1)
    assert odoo.read("res.partner", contact_id, "email_tracking").email_tracking == "declined"
    assert len(odoo.find("sendgrid.consent", ("address_id.email", "=", "known@consent.test"))) == 1


def test_list(odoo, sally, open_browser):
    """The list's action notes one word for many contacts, with one question; then they are found by the filter."""
    wording_id = odoo.create("sendgrid.wording", name="Spring fair", text="May we see whether you open our e-mails?")
    contacts = [odoo.contact(f"Visitor {one}", f"visitor{one}@consent.test") for one in range(3)]
    page = open_browser("sally.consent", "sally.consent")
    page.goto("/odoo/contacts?view_type=list")
    page.wait_for_selector(".o_list_renderer .o_data_row")
    search(page, "Visitor")
    expect(page.locator(".o_data_row")).to_have_count(3)
    page.locator("thead .o_list_record_selector input").click()
    page.locator(".o_cp_action_menus button:has(.fa-cog)").click()
    page.locator(".o-dropdown--menu .o_menu_item", has_text="Set e-mail tracking").click()
    page.locator(f"{DIALOG} [name=word] label", has_text="They agreed").click()
    page.fill(f"{DIALOG} [name=form] input", "Spring fair")
    page.fill(f"{DIALOG} [name=wording_id] input", "Spring")
    page.locator(".o-autocomplete--dropdown-item", has_text="Spring fair (version 1)").click()
    picture(page, "consent_dialog")
    page.click(f"{DIALOG} footer button[name=action_set]")
    expect(page.locator(".o_notification", has_text="Addresses for which it was noted: 3.")).to_be_visible()
    expect(page.locator(DIALOG)).to_have_count(0)
    for contact_id in contacts:
        contact = odoo.read("res.partner", contact_id, "email_tracking", "email_tracking_details")
        assert contact.email_tracking == "agreed"
        assert "noted by Sally Consent, Spring fair, wording Spring fair (version 1)" in contact.email_tracking_details
    [address] = odoo.find("sendgrid.address", ("email", "=", "visitor0@consent.test"))
    assert [one.wording_id for one in odoo.find("sendgrid.consent", ("address_id", "=", address.id))] == [wording_id]
    page.locator(".o_searchview_dropdown_toggler").click()
    page.locator(".o_filter_menu .o_menu_item", has_text="Tracking Declined").click()
    expect(page.locator(".o_data_row")).to_have_count(0)
