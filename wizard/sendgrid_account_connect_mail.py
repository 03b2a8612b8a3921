from datetime import timedelta

from markupsafe import Markup

from odoo import fields, models
from odoo.exceptions import UserError
from odoo.tools import formataddr

from odoo.addons.base.models.ir_mail_server import MailDeliveryException

MAIL_ARRIVES_WITHIN = timedelta(seconds=60)  # SendGrid processes and delivers within seconds; then say what is missing
REFUSED = ("blocked", "dropped", "bounced", "spam", "unsubscribed")


class SendgridAccountConnectStep(models.TransientModel):
    """The last step, which runs if the user asks for it: an e-mail to himself, and what SendGrid reports of it.

    It goes the way of all e-mails, so that it shows more than each step before: the mail server sends, SendGrid posts,
    Odoo processes.
    """

    _inherit = "sendgrid.account.connect.step"

    def action_open_email(self):
        """Show the document of the test e-mail."""
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "res_model": "sendgrid.email",
            "res_id": self.email_id.id,
            "views": [[False, "form"]],
        }

    def _run_mail(self):
        """Send the test e-mail. Later calls look what has become of it."""
        if not self.mail_date:
            self._send_test_mail(self._get_account())
        return self._look_at_mail(self._get_account())

    def _send_test_mail(self, account):
        """Send an e-mail to the user through the account, and have a document made though he is a colleague."""
        user = self.env.user
        if not user.email:
            raise UserError(self.env._("Your user has no e-mail address: enter one in your preferences."))
        servers = account.mail_server_ids.filtered("active")
        chosen = servers.filtered(lambda server: server.smtp_authentication == self.connect_id.sending)
        server = (chosen or servers)[:1]
        if not server:
            raise UserError(self.env._("The account has no mail server: repeat that step first."))
        sender = formataddr((user.company_id.name or user.name, server._get_test_email_from()))
        last = self.env["sendgrid.event.batch"].sudo().search([("account_id", "=", account.id)], limit=1)
        mail = (
            self.env["mail.mail"]
            .with_context(sendgrid_tracks_colleagues=True)
            .create(
                {
                    "subject": self.env._("Test e-mail of SendGrid Email Tracking"),
                    "body_html": Markup("<p>%s</p>")
                    % self.env._(
                        "This e-mail shows that Odoo sends through the account “%s”, and hears what becomes of it.",
                        account.name,
                    ),
                    "email_from": sender,
                    "reply_to": user.email_formatted,
                    "email_to": user.email_formatted,
                    "author_id": user.partner_id.id,
                    "mail_server_id": server.id,
                    "auto_delete": True,
                }
            )
        )
        message_id = mail.message_id
        try:
            mail.send(raise_exception=True)
        except MailDeliveryException as error:
            # Its arguments are a title and SendGrid's words.
            reason = str(error.args[-1] if error.args else error)
            raise self._get_not_sent(server, reason) from error
        email = self.env["sendgrid.email"].sudo().search([("message_id", "=", message_id)], limit=1)
        if email.status == "failed":
            # Core raises nothing if the user's address is refused.
            raise self._get_not_sent(server, email.status_reason)
        self.write({"mail_date": fields.Datetime.now(), "email_id": email.id, "last_batch_id": last.id})

    def _get_not_sent(self, server, reason):
        return UserError(
            self.env._("The e-mail did not leave through “%(name)s”: %(why)s", name=server.name, why=reason)
        )

    def _look_at_mail(self, account):
        """Return the state and the message of the step, from what SendGrid has reported of the e-mail by now."""
        email = self.email_id
        if not email:
            return "failed", self.env._("The e-mail left, but Odoo has no document of it. The server's log says why.")
        is_over = fields.Datetime.now() - self.mail_date >= MAIL_ARRIVES_WITHIN
        stages = (
            (True, self.env._("sent to %s", email.recipient)),
            (email.processed_date or email.delivered_date, self.env._("processed by SendGrid")),
            (email.delivered_date, self.env._("delivered")),
        )
        lines = [f"{'✓' if is_done else '…'} {label}" for is_done, label in stages]
        if email.status in REFUSED:
            state = "failed"
            lines[-1] = f"✗ {email.status_explanation or email.status}"
            lines += [f"“{email.status_reason}”"] if email.status_reason else []
        elif email.delivered_date:
            state = "done"
        elif not is_over:
            state = "running"
        elif email.event_ids:
            state = "warning"
            lines.append(
                self.env._(
                    "SendGrid has it, and the receiving server has not taken it within a minute. The e-mail's page "
                    "shows what follows."
                )
            )
        else:
            state = "failed"
            lines.append(self._explain_silence(account))
        return state, "\n".join(lines)

    def _explain_silence(self, account):
        """Return words for why no event of the e-mail has come: the first link of the chain that is broken."""
        waiting = self.env["sendgrid.event.batch"].search_count(
            [("account_id", "=", account.id), ("id", ">", self.last_batch_id), ("state", "=", "pending")], limit=1
        )
        if waiting:
            return self.env._(
                "Events have arrived, but are not processed. Look whether the scheduled action “SendGrid: process "
                "received events” is active, and whether this server runs scheduled actions."
            )
        since = self.mail_date
        if refused := self.env["sendgrid.rejection"].sudo()._get_counts(account, since)[account.id]:
            hint = self.env["sendgrid.account.check"]._get_messages()[max(refused, key=refused.get)]
            return hint.replace("{}", str(refused.total()))
        broken = self.connect_id.step_ids.filtered(
            lambda step: step.name in ("webhook", "signing", "test") and step.state not in ("done", "warning")
        )[:1]
        if broken:
            return self.env._(
                "It was sent, but SendGrid has reported nothing: the step “%s” is missing. Repeat it.",
                broken.display_name,
            )
        return self.env._(
            "It was sent, but SendGrid has reported nothing within a minute. Repeat the steps “Event webhook” and "
            "“SendGrid's test event”: they tell whether SendGrid still reaches this Odoo."
        )
