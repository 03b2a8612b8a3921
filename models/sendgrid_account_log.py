from markupsafe import Markup

from odoo import models

from .company_language import in_company_language
from .durations import describe_utc

# The fields whose changes are told in the chatter, though their values are secret or mean little.
LOGGED = ("api_key", "verification_key", "previous_verification_key", "webhook_token", "webhook_id", "connection_date")


class SendgridAccount(models.Model):
    """The account's chatter tells who changed a key or the webhook, and when. It never holds a secret."""

    _inherit = "sendgrid.account"

    def write(self, vals):
        if not any(name in vals for name in LOGGED):
            return super().write(vals)
        old = {account: {name: account.sudo()[name] for name in LOGGED} for account in self}
        result = super().write(vals)
        for account, values in old.items():
            account._log_lines(account._tell_changes(values))
        return result

    def _log_lines(self, lines):
        """Note sentences in the chatter, in one message; without any, note nothing."""
        if lines:
            self._message_log(body=Markup("<br/>").join(lines))

    @in_company_language
    def _tell_changes(self, old):
        """Return sentences for what has changed.

        :param old: {field of `LOGGED`: its value before}
        """
        account = self.sudo()
        changed = {name for name, value in old.items() if account[name] != value}
        lines = []
        sentences = {
            "api_key": {
                "removed": self.env._("The API key was removed."),
                "replaced": self.env._("The API key was replaced by another."),
                "stored": self.env._("A new API key was stored."),
            },
            "verification_key": {
                "removed": self.env._("The verification key was removed."),
                "replaced": self.env._("The verification key was replaced by another."),
                "stored": self.env._("A new verification key was stored."),
            },
        }
        for name, words in sentences.items():
            if name in changed:
                lines.append(words["removed" if not account[name] else "replaced" if old[name] else "stored"])
        if "previous_verification_key" in changed:
            if not account.previous_verification_key:
                lines.append(self.env._("The previous verification key is not accepted any more."))
            elif account.previous_verification_key_end:
                end = describe_utc(self.env, account.previous_verification_key_end)
                lines.append(self.env._("The previous verification key is accepted until %s (UTC).", end))
            else:
                lines.append(self.env._("A previous verification key is accepted as well."))
        if "webhook_token" in changed:
            lines.append(self.env._("The webhook got another secret address."))
        if "webhook_id" in changed:
            if account.webhook_id:
                lines.append(self.env._("The webhook at SendGrid is the one with the id %s now.", account.webhook_id))
            else:
                lines.append(self.env._("The webhook at SendGrid with the id %s was let go.", old["webhook_id"]))
        if "connection_date" in changed and account.connection_date:
            lines.append(self.env._("Connected: SendGrid's test event arrived at %s.", account.get_base_url()))
        return lines
