import base64
from datetime import timedelta

from odoo import fields, models

from ..tools.api import event_webhook
from ..tools.api.client import ApiError
from ..tools.events.event import MAX_TEST_BODY, TEST_RECIPIENT

TEST_ARRIVES_WITHIN = timedelta(seconds=60)  # SendGrid needs some seconds; after a minute the step fails
SENT_AGAIN_AFTER = timedelta(seconds=15)


class SendgridAccountConnectStep(models.TransientModel):
    """The step that switches the webhook on, and waits for the test event that it has SendGrid send."""

    _inherit = "sendgrid.account.connect.step"

    def _run_test(self):
        """Switch the webhook on and have SendGrid send its test event. Later calls look whether it has arrived.

        A later call has a transaction of its own, and so sees what the webhook has stored meanwhile. If the test does
        not come soon, ask for it again: SendGrid does not repeat a test that was refused.
        """
        account = self._get_account()
        now = fields.Datetime.now()
        if self.test_count and self._has_arrived(account):
            account.connection_date = now
            return "done", self.env._("The webhook is switched on. The test has arrived, and its signature is valid.")
        waited = now - (self.test_date or now)
        if waited >= self.test_count * SENT_AGAIN_AFTER and waited < TEST_ARRIVES_WITHIN:
            last = self.env["sendgrid.event.batch"].sudo().search([("account_id", "=", account.id)], limit=1)
            client = account._get_client(patience=5)
            event_webhook.update(client, account.webhook_id, account.webhook_url, enabled=True)
            try:
                event_webhook.test(client, account.webhook_id, account.webhook_url)
            except ApiError as error:
                if error.kind != "scope":
                    raise
                return "skipped", self.env._(
                    "The webhook is switched on, but the key may not have a test sent. Press “Test Integration” on the "
                    "page of the webhook, and look under Configuration > Event Batches whether something arrives."
                )
            if not self.test_count:
                self.write({"last_batch_id": last.id, "test_date": now})
            self.test_count += 1
        if waited < TEST_ARRIVES_WITHIN:
            return "running", self.env._("The webhook is switched on, and SendGrid has been asked for the test.")
        reasons = [
            account._explain_unreachable(account.webhook_url),
            self.env._("Is this Odoo reachable from the internet under that address, with a valid certificate?"),
            self.env._("Does a proxy or firewall in front of it hold back or change what SendGrid posts?"),
            self.env._("With several databases, does the host name decide which one answers (--db-filter)?"),
        ]
        return "failed", "\n".join(
            [
                self.env._(
                    "It has not arrived within a minute, at %s…", account.webhook_url.partition("/sendgrid/")[0]
                ),
                *(f"• {reason}" for reason in reasons if reason),
            ]
        )

    def _has_arrived(self, account):
        """Tell whether a batch that came since holds SendGrid's test event.

        The webhook stores only what has a valid signature, so that a stored test event proves the signing key as well.
        """
        batches = self.env["sendgrid.event.batch"].search(
            [("account_id", "=", account.id), ("id", ">", self.last_batch_id), ("size", "<", MAX_TEST_BODY)]
        )
        return any(TEST_RECIPIENT.encode() in base64.b64decode(batch.body or b"") for batch in batches)
