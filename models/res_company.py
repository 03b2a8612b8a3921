from odoo import fields, models


class ResCompany(models.Model):
    _inherit = "res.company"

    sendgrid_detail_months = fields.Integer(
        string="Forget Details of E-mail Events after",
        default=12,
        groups="base.group_system",
        help="Months after which IP addresses, user agents and the secret part of links are removed from events; who "
        "opened and clicked how often stays as it was judged. 0: never. An account that serves all companies follows "
        "the shortest of their periods.",
    )
    sendgrid_document_months = fields.Integer(
        string="Forget Tracked E-mails after",
        groups="base.group_system",
        help="Months after which documents are deleted with all their events, what proves a bounce or a complaint "
        "included. 0: never.",
    )

    _sendgrid_months_not_negative = models.Constraint(
        "CHECK (sendgrid_detail_months >= 0 AND sendgrid_document_months >= 0)",
        "A period in months cannot be negative: 0 means never.",
    )
