import secrets
from urllib.parse import urlsplit

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools.i18n import format_list

from ..models.elsewhere import ElsewhereError
from ..models.said import isolate
from ..models.sendgrid_account_connection import PREVIOUS_KEY_VALID
from ..tools.api import event_webhook
from ..tools.api.client import ApiError


class SendgridAccountConnectStep(models.TransientModel):
    """The steps that set up the webhook at SendGrid, and have it sign what it posts."""

    _inherit = "sendgrid.account.connect.step"

    def _run_second(self):
        """Note the present webhook as the previous one, so that the next step makes a new one beside it.

        A webhook has one pair of keys. To get another pair, its signature would have to be switched off and on, and
        events posted in between would be refused. With two webhooks SendGrid posts each event twice for a day; the
        second time it is a duplicate.
        """
        account = self._get_account()
        if account.previous_webhook_token and not account.webhook_id:
            return "done", self.env._("The present webhook has been put aside already.")
        if account.previous_webhook_token or account.previous_verification_key:
            raise UserError(
                self.env._(
                    "The last change of keys has not ended yet. End it first, on the account: “Delete it now”, or "
                    "empty the previous key on the page By Hand."
                )
            )
        webhooks, allowed = event_webhook.list_all(account._get_client(patience=5))
        own = event_webhook.find(webhooks, account.webhook_token, account.webhook_id)
        if not own:
            raise UserError(
                self.env._("SendGrid has no webhook for this account. Connect it: that gives a new key too.")
            )
        self._ask_before_moving(own, account.webhook_url)
        if allowed and len(webhooks) >= allowed:
            raise UserError(
                self.env._(
                    "To change the key without losing an event, a second webhook is needed for a day, and the plan "
                    "allows no more: %(names)s. Delete one at SendGrid that nobody needs, or ask for a larger plan.",
                    names=self._name_webhooks(webhooks),
                )
            )
        account.write(
            {
                "previous_webhook_id": own["id"],
                "previous_webhook_token": account.webhook_token,
                "webhook_id": False,
                "webhook_token": secrets.token_urlsafe(32),
            }
        )
        return "done", self.env._("The present webhook goes on beside the new one until the old key ends.")

    def _run_webhook(self):
        account = self._get_account()
        client, url = account._get_client(patience=5), account.webhook_url
        webhooks, allowed = event_webhook.list_all(client)
        own = event_webhook.find(webhooks, account.webhook_token, account.webhook_id)
        self._ask_before_moving(own, url)
        created = False
        try:
            if not own:
                if allowed and len(webhooks) >= allowed:
                    raise UserError(
                        self.env._(
                            "The plan allows no more webhooks than there are: %(names)s. Delete one at SendGrid "
                            "(Settings > Mail Settings > Event Webhooks) that nobody needs, then repeat this step.",
                            names=self._name_webhooks(webhooks),
                        )
                    )
                own, created = event_webhook.create(client, url), True
            # Leave it on or off as it is. Only the last step switches it on, when the signing key is committed: events
            # that come earlier would be refused.
            event_webhook.update(client, own["id"], url, bool(own.get("enabled")))
        except ApiError as error:
            if error.kind == "refused":
                raise UserError(self._explain_refusal(error, url)) from error
            raise
        if own["id"] != account.webhook_id:
            account.write(
                {
                    "webhook_id": own["id"],
                    # A process that died may have made it before it stored the id. Then it has the name that we give.
                    "webhook_created": created or own.get("friendly_name") == event_webhook.FRIENDLY_NAME,
                }
            )
        message = (
            self.env._("Made at SendGrid, for all events.")
            if created
            else self.env._("It was there. It sends all events to this address.")
        )
        doubt = account._explain_unreachable(url)
        return ("warning", f"{message}\n{doubt}") if doubt else ("done", message)

    def _ask_before_moving(self, own, url):
        """Raise if the webhook would be led to another address, or from another database, and nobody has agreed to it.

        Odoo's address changes by itself: core takes the one at which an administrator logs in. It may be one that
        SendGrid cannot reach, while the webhook works at the old one.

        :param own: the account's webhook as SendGrid describes it, or None
        :param url: the address to which it would be led
        :raise ElsewhereError: with the question for the user
        """
        account = self._get_account()
        question = account._get_place_question()
        if question == "place":
            account._require_place()
        old = own["url"] if own else url
        if not own and question and account.previous_webhook_id:
            # A change of keys was interrupted: the webhook that leads to the old address has been put aside.
            old = account.connected_url
        old, new = (one.partition(event_webhook.PATH)[0] for one in (old, url))
        if old != new and not self.connect_id.moves_webhook:
            words = self.env._(
                "SendGrid's webhook leads to %(old)s, and Odoo's address is %(new)s now. It stays as it is until you "
                "say that it shall be moved: %(old)s → %(new)s.",
                old=old,
                new=new,
            )
            doubt = account._explain_unreachable(url)
            raise ElsewhereError(f"{words}\n{doubt}" if doubt else words, "unreachable" if doubt else "address")
        if question:
            # Nothing is moved against anybody's will, so that the account is connected from the new address.
            account._claim()

    @api.model
    def _name_webhooks(self, webhooks):
        # Show no more than the host of an address: the rest may hold somebody's secret.
        return format_list(
            self.env,
            [
                self.env._("“%s”", one.get("friendly_name") or urlsplit(one.get("url") or "").hostname or one["id"])
                for one in webhooks
            ],
        )

    def _explain_refusal(self, error, url):
        """Return words for why SendGrid did not make or change the webhook, and what the user can do about it.

        :param error: `ApiError` of kind ``refused``
        :param url: the webhook's address
        """
        words, reason = isolate(error), event_webhook.read_refusal(error)
        if reason == "exists":
            return self.env._(
                "Another webhook has this address already, but this key does not see it: it may belong to a parent "
                "account or a subuser. Delete it there, or give the account a new webhook address. SendGrid said: “%s”",
                words,
            )
        if reason == "maximum":
            return self.env._(
                "The plan allows no more webhooks. Delete one at SendGrid (Settings > Mail Settings > Event Webhooks) "
                "that nobody needs, then repeat this step. SendGrid said: “%s”",
                words,
            )
        return self.env._(
            "SendGrid does not take the address %(host)s…: it has to be the one under which the internet reaches this "
            "Odoo, best with https. It is the system parameter web.base.url. SendGrid said: “%(words)s”",
            host=url.partition("/sendgrid/")[0],
            words=words,
        )

    def _run_signing(self):
        account = self._get_account()
        if not account.webhook_id:
            raise UserError(self.env._("There is no webhook yet: repeat that step first."))
        old = account.verification_key
        account.verification_key = event_webhook.sign(account._get_client(patience=5), account.webhook_id)
        if not old or account.verification_key == old:
            return "done", self.env._("SendGrid signs every event, and the key to check it with is stored.")
        end = fields.Datetime.now() + PREVIOUS_KEY_VALID
        account.write({"previous_verification_key": old, "previous_verification_key_end": end})
        return "done", self.env._("SendGrid signs with a new key. The old one is accepted for another day.")
