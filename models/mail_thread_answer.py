from odoo import models


class MailThread(models.AbstractModel):
    """What comes in may answer a document's e-mail: by mail through core's gateway, or in the portal."""

    _inherit = "mail.thread"

    def _message_route_process(self, message, message_dict, routes):
        """Core calls this for each mail that it has not seen before, also for reports of delivery, which have no route.

        Core has done its work before ours begins.
        """
        thread_id = super()._message_route_process(message, message_dict, routes)
        # Without a route, and if it is no report, core has refused the mail: nobody reads it, so it answers nothing.
        if routes or message_dict.get("is_bounce"):
            self.env["sendgrid.answer"]._hear_mail(message, message_dict)
        return thread_id

    def _message_post_after_hook(self, message, msg_values):
        result = super()._message_post_after_hook(message, msg_values)
        # Mails have another type, and what an employee posts in a contact's name is not written in the portal.
        if message.message_type == "comment" and not self.env.user._is_internal() and message.author_id:
            self.env["sendgrid.answer"]._hear_portal(message.sudo())
        return result
