"""An answer comes in by Odoo's gateway, as the mail server's script hands it over, and appears on the open page."""

import time
from email.message import EmailMessage
from email.utils import formatdate

from harness import picture, wait_for
from playwright.sync_api import expect
from test_browser import SECONDS_TO_SEE, event_in, open_contact, open_tracking, step_in


def send_answer(gateway, message_id, number, sender, text="Yes, please.", **headers):
    """Have somebody answer a mail, by SMTP and Odoo's gateway."""
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = sender, "catchall@answers.test", "Re: An offer"
    mail["Message-ID"], mail["In-Reply-To"] = f"<{number}-{time.time()}@answers.test>", message_id
    mail["Date"] = formatdate()
    for name, value in headers.items():
        mail[name.replace("_", "-")] = value
    mail.set_content(text)
    gateway.send(mail)


def test_answer_appears(odoo, sandbox, gateway, open_browser):
    """An absence notice, a stranger's answer to a copy for two, and the recipient's: each appears by itself."""
    contact_id = odoo.contact("Ada Lovelace", "ada@answers.test")
    odoo.compose(contact_id, "An offer", "<p>Dear Ada, our offer.</p>")
    sandbox.message_to("ada@answers.test")
    wait_for(lambda: odoo.document_to("ada@answers.test").status == "delivered", "delivered")
    document = odoo.document_to("ada@answers.test")

    page = open_browser("admin", "admin")
    open_contact(page, contact_id)
    page.click("button[name=action_view_sendgrid_emails]")
    page.click(".o_list_view .o_data_row td[name=subject]")
    open_tracking(page)
    expect(page.locator(".o_sendgrid_step[data-status=replied]")).to_have_class("o_sendgrid_step o_sendgrid_step_open")
    page.evaluate("window.notReloaded = true")
    send_answer(gateway, document.message_id, 1, "ada@answers.test", "I am away.", Auto_Submitted="auto-replied")
    expect(event_in(page, "reply")).to_contain_text("Automatic answer", timeout=SECONDS_TO_SEE * 1000)
    expect(step_in(page, "replied")).to_have_count(0)
    send_answer(gateway, document.message_id, 2, "Ada <ada@answers.test>")
    expect(step_in(page, "replied")).to_be_visible(timeout=SECONDS_TO_SEE * 1000)
    expect(step_in(page, "opened")).to_be_visible()
    expect(step_in(page, "clicked")).to_have_count(0)
    newest = event_in(page, "reply").first
    expect(newest).to_contain_text("Replied")
    expect(newest.locator("[data-name=sender]")).to_have_text("ada@answers.test")
    assert page.evaluate("window.notReloaded") is True
    picture(page, "replied")
    page.set_viewport_size({"width": 390, "height": 844})
    picture(page, "replied-narrow")

    # The link leads to the answer in the chatter.
    with page.context.expect_page() as opened:
        newest.locator("[data-name=answer] a").click()
    answer = opened.value
    expect(answer.locator(".o-mail-Message", has_text="Yes, please.")).to_be_visible(timeout=30_000)

    # Of a message to several it may not be clear whose the answer is.
    bob_id = odoo.contact("Bob <b>Bold</b>", "bob@answers.test")
    odoo.compose(contact_id, "For two", "<p>Dear both.</p>", recipients=[contact_id, bob_id])
    both = [odoo.document_to(f"{name}@answers.test", subject="For two") for name in ("ada", "bob")]
    send_answer(gateway, both[0].message_id, 3, '"<i>Zoe</i>" <zoe@answers.test>')
    for one in both:
        wait_for(lambda one=one: [e.name for e in odoo.events_of(one.id) if e.event == "reply"], "answered")
        [name] = [event.name for event in odoo.events_of(one.id) if event.event == "reply"]
        assert name == "Answered by zoe@answers.test"
        assert not odoo.read("sendgrid.email", one.id, "reply_date").reply_date
