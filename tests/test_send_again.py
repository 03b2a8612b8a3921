from odoo.tests import Form, tagged

from .common import SendgridCase
from .test_reminders import ReminderMixin


@tagged("post_install", "-at_install")
class TestSendAgain(ReminderMixin, SendgridCase):
    """*Send Again* of what was delivered and not answered: it answers the first e-mail, with the same subject."""

    def deliver(self, email):
        self.receive(self.relay(email).event("delivered", timestamp=self.after(email, 2)))

    def send_again(self, email):
        """Press the button and *Send*, as the salesperson.

        :return: the message as it left
        """
        action = email.with_user(self.salesperson).action_send_again()
        composer = Form(self.env["mail.compose.message"].with_user(self.salesperson).with_context(**action["context"]))
        with self.sending() as sent:
            composer.save().action_send_mail()
        self.assertEqual(len(sent), 1)
        return sent[0].message

    def test_delivered(self):
        """Test that the mail program shows both as one conversation, and that both documents know each other."""
        email = self.write_to(self.contact, days=0)
        for number in range(4):
            # Core's own references name the latest messages only.
            self.lead.message_post(body=f"News {number}", subtype_xmlid="mail.mt_comment", message_type="comment")
        self.deliver(email)
        self.assertTrue(email.with_user(self.salesperson).can_send_again)
        message = self.send_again(email)
        self.assertEqual(message["In-Reply-To"], email.message_id)
        references = message["References"].split()
        self.assertIn(email.message_id, references)
        self.assertEqual(len(references), len(set(references)))
        self.assertEqual(message["Subject"], "An offer")
        new = self.Email.search([("again_of_id", "=", email.id)])
        self.assertEqual(new.mail_message_id.parent_id, email.mail_message_id)
        self.assertTrue(email.again_date)
        self.answer(new)
        self.assertTrue(new.reply_date)

    def test_bounced(self):
        """Test that what did not arrive is no conversation: the recipient would not find the first e-mail."""
        email = self.write_to(self.contact, days=0)
        self.bounce(email)
        self.contact.email = "ada.lovelace@example.org"
        message = self.send_again(email)
        self.assertIsNone(message["In-Reply-To"])

    def test_when(self):
        """Test for which e-mails the button is there."""
        email = self.write_to(self.contact, days=0)
        mine = email.with_user(self.salesperson)
        self.assertFalse(mine.can_send_again, "it is on its way")
        self.deliver(email)
        self.assertTrue(mine.can_send_again)
        email.mailing_res_id = 7
        self.assertFalse(mine.can_send_again, "a mailing's is sent again from there")
        email.mailing_res_id = False
        self.answer(email)
        self.assertFalse(mine.can_send_again, "it was answered")

    def test_without_message(self):
        """Test an e-mail whose message was deleted from the chatter."""
        email = self.write_to(self.contact, days=0)
        self.deliver(email)
        message_id = email.message_id
        email.mail_message_id.unlink()
        self.env.invalidate_all()
        self.assertEqual(self.send_again(email)["In-Reply-To"], message_id)
