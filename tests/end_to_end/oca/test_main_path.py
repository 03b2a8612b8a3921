"""The way that everybody takes, from the chatter to the click and the answer, beside each of OCA's modules."""

import pytest
from harness import wait_for
from playwright.sync_api import expect
from test_answers import send_answer
from test_browser import event_in, open_tracking

WAYS = {"SMTP": "login", "Web API": "sendgrid_api"}
LATER = 120  # what is sent half a minute later may wait a minute more for Odoo's scheduler
CHATTER = ".o-mail-Chatter .o-mail-Message"
CONFIRM = ".modal-dialog .modal-footer .btn-primary"


def send_from_chatter(page, contact_id, text):
    """Write a message below a contact, and send it; one of the modules asks once more."""
    page.goto(f"/odoo/contacts/{contact_id}")
    page.locator(".o-mail-Chatter-sendMessage").click()
    page.locator(
        ".o-mail-Composer textarea.o-mail-Composer-input, .o-mail-Composer [contenteditable=true]"
    ).first.click()
    page.keyboard.type(text)
    page.locator(".o-mail-Composer-send").click()
    page.locator(f"{CHATTER}:has-text('{text.split()[0]}'), {CONFIRM}").first.wait_for()
    if page.locator(CONFIRM).count():
        page.locator(CONFIRM).click()
    expect(page.locator(".o-mail-Composer")).to_have_count(0)


def wait_until_delivered(odoo, address):
    """Wait for the delivery; one of the modules puts each message off, and then leaves its mail to core's queue."""
    if odoo.find("mail.message.schedule"):
        wait_for(lambda: not odoo.find("mail.message.schedule"), "sent later", LATER)
        odoo.call("ir.cron", "method_direct_trigger", [odoo.ref("mail.ir_cron_mail_scheduler_action")])
    wait_for(lambda: odoo.documents(("recipient", "=", address), ("status", "=", "delivered")), "delivered", LATER)


@pytest.mark.parametrize("way", WAYS)
def test_main_path(odoo, sandbox, gateway, open_browser, way):
    """A message to a contact arrives, is clicked and answered, and says so where people look; each word is kept."""
    domain = f"{way.lower().replace(' ', '-')}.oca.test"
    odoo.write("res.users", odoo.uid, odoobot_state="disabled")
    [server] = odoo.find("ir.mail_server", ("sendgrid_account_id", "!=", False), fields=["id"])
    # mail_environment has a new mail server forget its port, without the addon too.
    odoo.write("ir.mail_server", server.id, smtp_authentication=WAYS[way], smtp_port=sandbox.server.smtp_port)
    words = {f"{word}@{domain}": word for word in ("agreed", "declined")}
    contacts = {}
    page = open_browser("admin", "admin")
    for address, word in words.items():
        odoo.call("sendgrid.address", "set_email_tracking", [address], word, "form", "Newsletter")
        contacts[address] = odoo.contact(word.title(), address)
        send_from_chatter(page, contacts[address], f"Engine: https://shop.example.com/{word} ")
        wait_until_delivered(odoo, address)
        message = sandbox.message_to(address)
        for event in ("open", "click"):
            sandbox.fire_by_person(message, address, event)

    def find(address):
        [document] = odoo.documents(("recipient", "=", address))
        return document

    agreed, declined = words
    wait_for(lambda: find(agreed).status == "clicked", "clicked")
    wait_for(lambda: len(odoo.events_of(find(declined).id)) >= 2, "the events of who declined")
    assert (find(agreed).open_count, find(agreed).click_count) == (1, 1)
    assert (find(declined).status, find(declined).open_count, find(declined).click_count) == ("delivered", 0, 0)
    for address, word in words.items():
        assert find(address).partner_id == contacts[address]
        assert odoo.read("res.partner", contacts[address], "email_tracking").email_tracking == word
    send_answer(gateway, find(agreed).message_id, 1, agreed)
    wait_for(lambda: find(agreed).status == "replied", "replied")

    page.goto(f"/odoo/contacts/{contacts[agreed]}")
    envelope = page.locator(f"{CHATTER}:has-text('Engine') .o-mail-Message-notification").first
    expect(envelope).to_have_attribute("data-sendgrid-status", "replied")
    expect(page.locator(CHATTER, has_text="Yes, please.")).to_be_visible()
    page.goto("/odoo/sendgrid-documents")
    expect(page.locator(".o_list_view .o_data_row", has_text=agreed)).to_have_count(1)
    page.locator(".o_list_view .o_data_row", has_text=agreed).locator("td:not(.o_list_record_selector)").first.click()
    open_tracking(page)
    for event in ("delivered", "open", "click", "reply"):
        expect(event_in(page, event)).to_have_count(1)
