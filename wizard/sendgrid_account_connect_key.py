from odoo import models

from ..tools.api import scopes


class SendgridAccountConnectStep(models.TransientModel):
    """The step that asks SendGrid what the API key may do, and stores the key if that is enough."""

    _inherit = "sendgrid.account.connect.step"

    def _get_purposes(self):
        """Return words for the purpose of each scope that `tools.api.scopes` names.

        :return: {scope: words}
        """
        return {
            "mail.send": self.env._("Send e-mails"),
            "user.webhooks.event.settings.read": self.env._("Find the event webhook"),
            "user.webhooks.event.settings.update": self.env._("Set up the event webhook and its signature"),
            "user.webhooks.event.test.create": self.env._("Have SendGrid send a test event"),
            "tracking_settings.read": self.env._("Show what is tracked, and track links by the Web API"),
            "tracking_settings.open.update": self.env._("Switch open tracking"),
            "tracking_settings.click.update": self.env._("Switch click tracking"),
            "suppression.read": self.env._("Fetch bounces, unsubscribes and complaints that the webhook missed"),
            "suppression.delete": self.env._("Clear an address at SendGrid that is valid again"),
            "asm.groups.read": self.env._("Fetch who left an unsubscribe group"),
            "email_activity.read": self.env._("Fetch events that the webhook missed"),
        }

    def _run_key(self):
        allowed, _date = scopes.read(self.connect_id._get_client())
        purposes = self._get_purposes()
        missing, useful = (
            [{"scope": scope, "purpose": purposes[scope]} for scope in wanted if scope not in allowed]
            for wanted in (scopes.NEEDED, scopes.USEFUL)
        )
        if missing:
            return "failed", "\n".join(
                [
                    self.env._("SendGrid knows the key, but the key may not do what is needed. It lacks:"),
                    *("• " + self.env._("%(scope)s: %(purpose)s", **lacks) for lacks in missing),
                    *("• " + self.env._("%(scope)s: %(purpose)s (not necessary)", **lacks) for lacks in useful),
                    self.env._("Add these under Settings > API Keys at SendGrid, or make a key with Full Access."),
                ]
            )
        self.connect_id._save_account()
        if useful:
            return "warning", "\n".join(
                [
                    self.env._("The key is good. For these it lacks the permission, and they will not work:"),
                    *("• " + self.env._("%(scope)s: %(purpose)s", **lacks) for lacks in useful),
                ]
            )
        return "done", self.env._("The key is good, and has every permission that is used.")
