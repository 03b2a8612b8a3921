from odoo import api, models

from .sendgrid_switch_mixin import read_mark


class MailMail(models.Model):
    """The mails of a mailing, and those with which it is tried out, are tracked as the mailing says.

    So are those whose text was rendered from a template.
    """

    _inherit = "mail.mail"

    @api.model_create_multi
    def create(self, vals_list):
        vals_list = [read_mark(vals, "body_html") for vals in vals_list]
        if mailing_ids := {vals["mailing_id"] for vals in vals_list if vals.get("mailing_id")}:
            mailings = self.env["mailing.mailing"].sudo().browse(mailing_ids)
            switched_off = set(mailings.filtered(lambda mailing: not mailing.sendgrid_is_tracked).ids)
            vals_list = [
                {**vals, "sendgrid_is_unmeasured": True} if vals.get("mailing_id") in switched_off else vals
                for vals in vals_list
            ]
        return super().create(vals_list)
