from odoo import fields, models


class SendgridSwitchMixin(models.AbstractModel):
    """The switch *Track opens and links* of what becomes an e-mail: a composer, a template, a mailing, …

    It only lowers what is measured: whoever declined is not measured, whatever it says. The message keeps it, as
    `sendgrid_is_unmeasured`.
    """

    _name = "sendgrid.switch.mixin"
    _description = "Switch for Tracking Opens and Links"

    sendgrid_is_tracked = fields.Boolean(
        string="Track opens and links",
        help="If it is off, nobody's opens and clicks of the e-mail are measured. If it is on, they are measured as "
        "far as the recipient and the company allow.",
    )
    has_sendgrid_account = fields.Boolean(
        compute="_compute_has_sendgrid_account",
        groups="base.group_user",
        help="E-mails can leave through SendGrid, so that the switch matters and is shown.",
    )

    def _compute_has_sendgrid_account(self):
        self.has_sendgrid_account = self.env["sendgrid.account"]._is_used()
