from odoo import fields, models


class ResCompany(models.Model):
    _inherit = "res.company"

    sendgrid_detail_months = fields.Integer(
        string="Forget Details of E-mail Events after",
        default=12,
        groups="base.group_system",
        help="After so many months Odoo removes IP addresses, user agents and the secret part of links from events. "
        "Counts of opens and clicks stay as they are. 0: never. An account that serves all companies follows the "
        "shortest of their periods.",
    )
    sendgrid_document_months = fields.Integer(
        string="Forget Tracked E-mails after",
        groups="base.group_system",
        help="After so many months Odoo deletes documents with all their events, and with them the proof of a bounce "
        "or a complaint. 0: never.",
    )

    _sendgrid_months_not_negative = models.Constraint(
        "CHECK (sendgrid_detail_months >= 0 AND sendgrid_document_months >= 0)",
        "A period in months cannot be negative: 0 means never.",
    )
