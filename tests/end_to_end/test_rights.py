"""The rights of a person, as an administrator uses them: Privacy Lookup, Forget Tracking, Export Tracking."""

import pytest
from axe import find_violations
from harness import PATIENCE, picture, search, wait_for
from lxml import etree
from playwright.sync_api import expect

GUEST = "guest@rights.test"
DIALOG = ".modal-dialog"
SIZES = {"wide": {"width": 1440, "height": 900}, "narrow": {"width": 390, "height": 844}}


@pytest.fixture(autouse=True)
def _empty_inbox(sandbox):
    sandbox.clear()


def send_and_open(odoo, sandbox, name, address):
    """Send an e-mail to a new contact, have it opened, and return the ids of the contact and of the document."""
    contact = odoo.contact(name, address)
    odoo.compose(contact, f"An offer for {name}", f"<p>Dear {name}, a <a href='https://www.example.com/x'>link</a></p>")
    message = sandbox.message_to(address)
    wait_for(lambda: odoo.document_to(address).status == "delivered", "delivered")
    sandbox.fire_by_person(message, address, "open")
    wait_for(lambda: odoo.document_to(address).status == "opened", "opened")
    return contact, odoo.document_to(address).id


def act(page, name):
    """Choose an entry of the menu Actions of the present form or list."""
    page.locator(".o_cp_action_menus button:has(.fa-cog)").click()
    page.locator(".o-dropdown--menu .o_menu_item", has_text=name).click()


def look_at(page, name, selector):
    """Keep pictures of both sizes, and fail if axe-core finds anything."""
    for size, viewport in SIZES.items():
        page.set_viewport_size(viewport)
        expect(page.locator(".o_loading_indicator")).to_have_count(0)
        picture(page, f"rights-{name}-{size}")
        violations = find_violations(page, selector)
        assert not violations, f"{name}, {size}:\n" + "\n".join(violations)
    page.set_viewport_size(SIZES["wide"])


def test_privacy_lookup(odoo, sandbox, open_browser):
    """The documents of an address without a contact are found, and deleted together with their events."""
    contact, document = send_and_open(odoo, sandbox, "Guest", GUEST)
    odoo.call("res.partner", "unlink", [contact])
    page = open_browser("admin", "admin")
    page.goto("/odoo/action-privacy_lookup.action_privacy_lookup_wizard")
    page.fill("[name=email] input", GUEST.upper())
    page.fill("[name=name] input", "Nobody of this name")
    page.locator("button[name=action_lookup]").click()
    group = page.locator(".o_group_header", has_text="Tracked E-mail")
    expect(group).to_contain_text("(1)")
    group.click()
    row = page.locator(".o_data_row", has_text="An offer for Guest")
    expect(row).to_be_visible()
    picture(page, "rights-lookup")
    row.locator("button[name=action_unlink]").click()
    page.locator(f"{DIALOG} footer .btn-primary").click()
    wait_for(lambda: not odoo.documents(("id", "=", document)), "deleted")
    assert not odoo.find("sendgrid.event", ("recipient", "=", GUEST)), "its events went with it"


def test_export(odoo, sandbox, open_browser):
    """A contact's file is there at once, a browser shows it, and a program reads it."""
    contact, _document = send_and_open(odoo, sandbox, "Exporta", "exporta@rights.test")
    page = open_browser("admin", "admin")
    page.goto(f"/odoo/res.partner/{contact}")
    page.wait_for_selector(".o_form_view [name=email]")
    act(page, "Export Tracking")
    download = page.locator("button[name=action_download]")
    expect(download).to_be_visible(timeout=PATIENCE * 1000)
    look_at(page, "export", ".o_action_manager .o_content")
    with page.expect_download() as downloading:
        download.click()
    path = downloading.value.path()
    found = etree.parse(str(path)).xpath("//*[@data-field='subject']")
    assert [one.text for one in found] == ["An offer for Exporta"]
    shown = page.context.new_page()
    shown.set_content(path.read_text())
    shown.locator("details summary", has_text="Opened").click()
    shown.locator("details summary", has_text="Content").click()
    expect(shown.frame_locator("iframe").locator("body")).to_contain_text("Dear Exporta")
    for size, viewport in SIZES.items():
        shown.set_viewport_size(viewport)
        picture(shown, f"rights-file-{size}")
        violations = find_violations(shown, "main")
        assert not violations, violations
    page.goto(f"/odoo/res.partner/{contact}")
    expect(page.locator(".o-mail-Chatter")).to_contain_text("exporta@rights.test was written into a file. E-mails: 1.")


def test_forget(odoo, sandbox, database, open_browser):
    """A contact's opens are forgotten after one question, and SendGrid is asked to erase the address. It is noted."""
    contact, document = send_and_open(odoo, sandbox, "Forgetta", "forgetta@rights.test")
    page = open_browser("admin", "admin")
    page.goto(f"/odoo/res.partner/{contact}")
    page.wait_for_selector(".o_form_view [name=email]")
    act(page, "Forget Tracking")
    expect(page.locator(f"{DIALOG} [name=email_count]")).to_have_text("1")
    expect(page.locator(f"{DIALOG} [name=event_count]")).to_have_text("1")
    page.locator(f"{DIALOG} [name=erases_at_sendgrid] input").check()
    expect(page.locator(f"{DIALOG}").get_by_text("Odoo's blacklist stays")).to_be_visible()
    look_at(page, "forget", DIALOG)
    page.locator(f"{DIALOG} button[name=action_forget]").click()
    expect(page.locator(f"{DIALOG} .alert-success")).to_be_visible()
    look_at(page, "forgotten", DIALOG)
    wait_for(lambda: odoo.read("sendgrid.email", document, "status").status == "delivered", "forgotten")

    def erased():
        database.minute_is_over()
        jobs = sandbox.control("GET", "erasures").json()
        return [job["job_id"] for job in jobs if "forgetta@rights.test" in job["addresses"]]

    [job_id] = wait_for(erased, "SendGrid has taken it")
    page.locator(f"{DIALOG} button[name=action_view_erasures]").click()
    page.locator(".o_data_row").first.click()
    expect(page.locator(".o_form_view [name=job_ids]")).to_contain_text(job_id, timeout=PATIENCE * 1000)
    look_at(page, "erasure", ".o_action_manager .o_content")
    page.goto(f"/odoo/res.partner/{contact}")
    page.wait_for_selector(".o_form_view [name=email]")
    act(page, "Forget Tracking")
    page.locator(f"{DIALOG} button[name=action_forget]").click()
    page.locator(f"{DIALOG} button[name=action_view_progress]").click()
    expect(page.locator(".o_list_view .o_data_row")).to_have_count(1)
    look_at(page, "reductions", ".o_action_manager .o_content")
    page.locator(".o_data_row").first.click()
    done = page.locator(".o_form_view .o_statusbar_status .o_arrow_button_current")
    expect(done).to_have_text("Done", timeout=PATIENCE * 1000)
    look_at(page, "reduction", ".o_action_manager .o_content")
    page.goto(f"/odoo/res.partner/{contact}")
    said = "The tracking of forgetta@rights.test was forgotten. E-mails: 1."
    expect(page.locator(".o-mail-Chatter")).to_contain_text(said)


@pytest.mark.parametrize("place", ["list of contacts", "list of addresses", "address"])
def test_forget_elsewhere(odoo, sandbox, open_browser, place):
    """A selected list and an address have the same dialog, and of whom was not selected nothing is forgotten."""
    name = place.replace(" ", "-")
    addresses = [f"{name}-{number}@rights.test" for number in range(3)]
    documents = [send_and_open(odoo, sandbox, address, address)[1] for address in addresses]
    chosen = addresses[:1] if place == "address" else addresses[:2]
    odoo.call("sendgrid.address", "set_email_tracking", addresses, "agreed", "hand")  # so that it has each of them
    page = open_browser("admin", "admin")
    if place == "address":
        [known] = odoo.find("sendgrid.address", ("email", "=", addresses[0]))
        page.goto(f"/odoo/action-sendgrid_tracking.sendgrid_address_action/{known.id}")
        page.wait_for_selector(".o_form_view [name=email]")
    else:
        action = "contacts.action_contacts" if "contacts" in place else "sendgrid_tracking.sendgrid_address_action"
        page.goto(f"/odoo/action-{action}?view_type=list")
        search(page, f"{name}-")
        for address in chosen:
            row = page.locator(".o_data_row", has_text=address)
            row.locator(".o_list_record_selector input").check()
        expect(page.locator(".o_data_row_selected")).to_have_count(len(chosen))
    act(page, "Forget Tracking")
    expect(page.locator(f"{DIALOG} [name=email_count]")).to_have_text(str(len(chosen)))
    expect(page.locator(f"{DIALOG} [name=address_names]")).to_have_text(", ".join(chosen))
    page.locator(f"{DIALOG} button[name=action_forget]").click()
    expect(page.locator(f"{DIALOG} .alert-success")).to_be_visible()
    for address, document in zip(addresses, documents, strict=True):
        found = odoo.read("sendgrid.email", document, "status", "unmeasured_reason")
        expected = ("delivered", "forgotten") if address in chosen else ("opened", False)
        assert (found.status, found.unmeasured_reason) == expected
    assert len(odoo.find("sendgrid.address", ("email", "in", addresses), ("forgotten_date", "!=", False))) == len(
        chosen
    )


@pytest.fixture
def kept_forever(database):
    """No company deletes documents."""
    before = database.query("SELECT id, sendgrid_document_months FROM res_company")
    database.query("UPDATE res_company SET sendgrid_document_months = 0")
    yield
    for company, months in before:
        database.query("UPDATE res_company SET sendgrid_document_months = %s WHERE id = %s", months, company)


def test_retention(odoo, sandbox, database, kept_forever, open_browser):
    """Health says how much there is of which nothing is ever deleted, and its button leads to the choice."""
    odoo.compose(odoo.contact("Kept", "kept@rights.test"), "Kept", "<p>Hello</p>")
    account = odoo.ref("sendgrid_tracking.sendgrid_account_demo")
    page = open_browser("admin", "admin")
    page.goto(f"/odoo/action-sendgrid_tracking.sendgrid_account_action/{account}")
    page.click(".o_notebook .nav-link[name=health]")
    said = page.locator("[name=stored_explanation]")
    expect(said).to_contain_text("Nothing is ever deleted.")
    look_at(page, "health", ".o_form_view .o_form_sheet_bg")
    page.locator("button[name=action_choose_retention]").click()
    months = page.locator("#sendgrid_retention [name=sendgrid_document_months] input")
    expect(months).to_have_value("0")
    months.fill("36")
    page.locator(".o_form_button_save:visible, button[name=execute]:visible").first.click()
    current = "SELECT min(sendgrid_document_months) FROM res_company WHERE sendgrid_document_months > 0"
    wait_for(lambda: database.value(current) == 36, "the choice is stored")
    # Whoever saves settings gets a page that is loaded anew, so that this one cannot go elsewhere at the moment.
    other = open_browser("admin", "admin")
    other.goto(f"/odoo/action-sendgrid_tracking.sendgrid_account_action/{account}")
    other.click(".o_notebook .nav-link[name=health]")
    other.wait_for_selector(".o_form_view [name=check_ids]")
    expect(other.locator("[name=stored_explanation]")).to_be_hidden()
