from odoo import api, fields, models


class MailMail(models.Model):
    """A mail knows which e-mail it is sent again after, and tells its documents."""

    _inherit = "mail.mail"

    sendgrid_again_of_id = fields.Many2one(
        "sendgrid.email",
        string="Sent Again After",
        readonly=True,
        copy=False,
        index="btree_not_null",
        ondelete="set null",
        help="The e-mail from whose page this mail was sent again.",
    )

    @api.model_create_multi
    def create(self, vals_list):
        mails = super().create(vals_list)
        if again_of_id := self.env.context.get("sendgrid_again_of"):
            # The context comes from a browser: the user has to see the e-mail, and to write where it was written.
            again = self.env["sendgrid.email"].with_user(self.env.uid).search([("id", "=", again_of_id)])
            mails.filtered(
                lambda mail: (mail.model, mail.res_id) == (again.model, again.res_id)
            ).sendgrid_again_of_id = again.id
        return mails
