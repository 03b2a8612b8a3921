from collections import defaultdict

from odoo import models

from odoo.addons.mail.tools.discuss import Store


class MailMessage(models.Model):
    """With the notifications of its messages, a chatter gets the state of each recipient's document."""

    _inherit = "mail.message"

    def _to_store(self, store, fields, **kwargs):
        # For the format of messages core calls this once more, without "message_format".
        has_notifications = "message_format" not in fields and any(
            isinstance(field, Store.Attr) and field.field_name == "notification_ids" for field in fields
        )
        result = super()._to_store(store, fields, **kwargs)
        if has_notifications:
            self._sendgrid_states_to_store(store)
        return result

    def _sendgrid_states_to_store(self, store):
        """Add the states of the documents to the notifications of the messages that are in the store.

        Core reads notifications with sudo, so that whether a document may be seen is decided here for the user whom
        the store is for. A store for a channel or a group is for nobody in particular, and gets none. The documents of
        all messages are read at once, since core adds notifications message by message.
        """
        user = store.target.get_user(self.env)
        if not user:
            return
        Email = self.env["sendgrid.email"]
        by_message = defaultdict(dict)
        for (message_id, *recipient), state in Email._get_notification_states(self, user).items():
            by_message[message_id][tuple(recipient)] = state
        # Core's values of the notifications are in the store already. To read the records once more would take as long
        # as all the rest.
        for values in store.data.get("mail.notification", {}).values():
            found = by_message.get(values.get("mail_message_id"))
            if found and values.get("notification_type") == "email":
                state = Email._find_state(found, values.get("res_partner_id"), values.get("mail_email_address"))
                if state:
                    values["sendgridState"] = state
