from odoo import fields, models


class SendgridAddress(models.Model):
    """The question to an address whether its owner agreed indeed: others may hold the link to the page, too."""

    _inherit = "sendgrid.address"

    confirmation_date = fields.Datetime(
        string="Asked to Confirm",
        readonly=True,
        help="When the last e-mail was sent that asks to confirm that the owner agrees to be measured.",
    )
