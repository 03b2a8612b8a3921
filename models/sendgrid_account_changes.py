from markupsafe import Markup

from odoo import models

# Everybody who may read the account reads its chatter, also years later: it says that these have changed, never how.
SECRETS = ("api_key", "verification_key", "previous_verification_key", "webhook_token")


class SendgridAccount(models.Model):
    """The changes of an account, which its chatter tells with the one who made them.

    Core tracks what may be read, such as the switches (``tracking`` of the fields). This file tells of the secrets.
    """

    _inherit = "sendgrid.account"

    def write(self, vals):
        names = [name for name in SECRETS if name in vals]
        before = {account: account._read_secrets(names) for account in self} if names else {}
        result = super().write(vals)
        for account, known in before.items():
            now = account._read_secrets(names)
            account._tell_changes([name for name in names if now[name] != known[name]], now)
        return result

    def _read_secrets(self, names):
        return {name: self.sudo()[name] or False for name in names}

    def _tell_changes(self, names, values):
        """Note in the chatter which secrets the user has entered, changed or removed, without any value.

        :param names: the fields that changed
        :param values: {field: its value now}
        """
        if not names:
            return
        labels = {name: self._fields[name]._description_string(self.env) for name in names}
        changed = ", ".join(labels[name] for name in names if values[name])
        removed = ", ".join(labels[name] for name in names if not values[name])
        lines = [
            changed and self.env._("New value, which is not shown: %s", changed),
            removed and self.env._("Removed: %s", removed),
        ]
        self._message_log(body=Markup("<br/>").join(filter(None, lines)))
