from odoo import fields, models


class SendgridAddress(models.Model):
    """The word of an address' owner on being measured: whether opens and clicks may be kept.

    It belongs to the address, so that guests, leads and mailing contacts have one too. A new address has none.
    """

    _inherit = "sendgrid.address"

    email_tracking = fields.Selection(
        [("agreed", "Agreed"), ("declined", "Declined")],
        string="E-mail Tracking",
        readonly=True,
        help="Whether the owner of the address agreed that opens and clicks are measured. Empty: not asked, so that "
        "the company's setting decides.",
    )
    email_tracking_date = fields.Datetime(string="Said On", readonly=True, help="When the owner last said so.")
    unmeasured_until = fields.Datetime(
        readonly=True,
        help="Opens and clicks up to this moment are not kept, whenever they are reported: the tracking was forgotten "
        "then, or the owner declined until then.",
    )
