from odoo import models


class MailThread(models.AbstractModel):
    """The top bar of each chatter gets the number of documents about its record."""

    _inherit = "mail.thread"

    def _thread_to_store(self, store, fields, *, request_list=None, **kwargs):
        result = super()._thread_to_store(store, fields, request_list=request_list, **kwargs)
        if "sendgridEmails" in (request_list or []):
            user = store.target.get_user(self.env)
            for thread in self if user else ():
                summary = self.env["sendgrid.email"]._get_record_summary(thread, user)
                store.add(thread, {"sendgridEmails": summary}, as_thread=True)
        return result
