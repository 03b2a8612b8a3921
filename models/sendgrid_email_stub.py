from odoo import api, fields, models


class SendgridEmail(models.Model):
    """Stands in for columns and methods of other branches. It goes when these are merged."""

    _inherit = "sendgrid.email"

    recipient_role = fields.Selection(
        [("to", "To"), ("cc", "Cc"), ("bcc", "Bcc")],
        string="Sent As",
        readonly=True,
        help="Where the e-mail names the recipient. It names nobody who is Bcc.",
    )
    email_from = fields.Char(
        string="Sender's Address", readonly=True, help="The address that the recipient sees as the sender's."
    )
    company_id = fields.Many2one("res.company", readonly=True)
    template_id = fields.Many2one("mail.template", readonly=True, ondelete="set null")
    team_id = fields.Many2one("crm.team", string="Sales Team", readonly=True, ondelete="set null")
    date = fields.Datetime(related="sent_date")
    sent_count = fields.Integer(string="Times Sent", readonly=True)

    @api.model
    def _read_sources(self):
        return {email.id: email.body for email in self if email.body}

    def _get_present_source(self):
        source = self.mail_message_id.body
        if not source and self.mailing_res_id and "mailing.mailing" in self.env:
            source = self.env["mailing.mailing"].browse(self.mailing_res_id).exists().body_html
        return source, False
