from odoo import models

# What the writer of a message can say about its tracking, as fields of the message.
SWITCHES = {"sendgrid_is_unmeasured", "sendgrid_reminder_days"}


class MailThread(models.AbstractModel):
    """The switch *Track opens and links* travels with a message: methods that send one take `sendgrid_is_unmeasured`.

    So do the days after which its author wants to be reminded, `sendgrid_reminder_days`. No answer or forward inherits
    them, since each message has its own.
    """

    _inherit = "mail.thread"

    def _get_message_create_valid_field_names(self):
        return super()._get_message_create_valid_field_names() | SWITCHES

    def _message_create(self, values_list):
        if self.env.context.get("sendgrid_is_switched_off"):
            values_list = [{**values, "sendgrid_is_unmeasured": True} for values in values_list]
        return super()._message_create(values_list)

    def _get_allowed_message_params(self):
        """Let the chatter of employees send the switches; customers in the portal do not see them."""
        names = super()._get_allowed_message_params()
        return names | SWITCHES if self.env.user._is_internal() else names

    def message_post_with_source(self, source_ref, **kwargs):
        template, _view = self._get_source_from_ref(source_ref)
        return super().message_post_with_source(source_ref, **(self._set_switch(kwargs) if template else kwargs))

    def message_mail_with_source(self, source_ref, **kwargs):
        return super().message_mail_with_source(source_ref, **self._set_switch(kwargs))

    def _set_switch(self, values):
        """Return the values of a message as those of a composer, whose switch has the opposite meaning."""
        values = dict(values)
        return {**values, "sendgrid_is_tracked": False} if values.pop("sendgrid_is_unmeasured", False) else values
