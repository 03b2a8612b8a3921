from odoo import models

from odoo.addons.mail.tools.discuss import Store

from ..tools.address_form import comparable


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
        # Core's values of the notifications are in the store already. To read the records once more would take as long
        # as all the rest.
        sent = [
            values
            for values in store.data.get("mail.notification", {}).values()
            if values.get("notification_type") == "email"
        ]
        # What went to inboxes of Odoo only is often sent to each of them in a store of its own.
        messages = self & self.browse(values.get("mail_message_id") for values in sent)
        if not user or not messages:
            return
        states = self.env["sendgrid.email"]._get_notification_states(messages, user)
        for values in sent:
            # Core has the address of those only who have no contact.
            recipient = values.get("res_partner_id") or comparable(values.get("mail_email_address") or "")
            if state := states.get((values.get("mail_message_id"), recipient)):
                values["sendgridState"] = state
