"""In a real Chromium: contacts by whether somebody there reads, and beside each link how often it was followed."""

import time

import pytest
from harness import picture, wait_for
from playwright.sync_api import expect
from test_browser import BODY, wait_for_a_person

SIZES = {"wide": {"width": 1440, "height": 900}, "narrow": {"width": 390, "height": 844}}


@pytest.fixture
def offer(stack):
    """An address to link to."""
    return f"{stack.odoo.url}/web/health?offer=9"


def test_active_silent_and_clicks(odoo, sandbox, open_browser, offer):
    """Who clicked is active, who only got the e-mail is silent; the links of the content tell their clicks."""
    body = (
        BODY.format(shop=offer) + f"<p>Our <a href='{offer}&terms'>terms</a>, and <a href='{offer}'>once more</a></p>"
    )
    for name in ("Reader", "Sleeper"):
        contact_id = odoo.contact(f"{name} of offers", f"{name.lower()}@activity.test")
        odoo.compose(contact_id, "An offer to read", body)
    message = sandbox.message_to("reader@activity.test")
    wait_for(lambda: odoo.document_to("sleeper@activity.test").status == "delivered", "delivered")
    wait_for_a_person(odoo, "reader@activity.test")
    sandbox.fire_by_person(message, "reader@activity.test", "open")
    sandbox.fire(message, "reader@activity.test", "click", url=offer, timestamp=int(time.time()) + 400)
    wait_for(lambda: odoo.document_to("reader@activity.test").person_click_date, "clicked by a person")

    page = open_browser("admin", "admin")
    for filter_name, found in (("Active Lately", "Reader of offers"), ("Silent", "Sleeper of offers")):
        page.set_viewport_size(SIZES["wide"])
        page.goto("/odoo/contacts?view_type=list")
        page.wait_for_selector(".o_list_renderer .o_data_row")
        page.fill(".o_searchview_input", "of offers")
        page.locator(".o_searchview_autocomplete .o-dropdown-item", has_text="of offers").first.click()
        expect(page.locator(".o_data_row")).to_have_count(2)
        page.locator(".o_searchview_dropdown_toggler").click()
        page.locator(".o_filter_menu .o_menu_item", has_text=filter_name).click()
        expect(page.locator(".o_data_row")).to_have_count(1)
        expect(page.locator(".o_data_row")).to_contain_text(found)
        expect(page.locator(".o_searchview_facet", has_text=filter_name)).to_be_visible()
        picture(page, f"activity_{filter_name}_menu")
        page.keyboard.press("Escape")
        expect(page.locator(".o_filter_menu")).to_have_count(0)
        for size, viewport in SIZES.items():
            page.set_viewport_size(viewport)
            expect(page.locator(".o_data_row")).to_have_count(1)
            picture(page, f"activity_{filter_name}_{size}")

    document = odoo.document_to("reader@activity.test")
    for size, viewport in SIZES.items():
        page.set_viewport_size(viewport)
        page.goto(f"/odoo/sendgrid-documents/{document.id}")
        page.wait_for_selector(".o_sendgrid_email_form .o_sendgrid_journey")
        page.click(".o_notebook .nav-link:has-text('Content')")
        content = page.frame_locator("iframe.o_sendgrid_content")
        # Nobody can tell two links to one address apart by the address alone: the first one has the clicks.
        expect(content.locator(".o_sendgrid_clicks")).to_have_text(["Clicks: 1"])
        expect(content.locator("a", has_text="offer").locator("+ .o_sendgrid_clicks")).to_be_visible()
        picture(page, f"activity_content_{size}")
