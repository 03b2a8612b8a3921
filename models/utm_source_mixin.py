from odoo import fields, models


class UtmSourceMixin(models.AbstractModel):
    """A mailing has the switch *Track opens and links*.

    The addon does not depend on `mass_mailing`, so that it cannot extend the mailing itself. But it can extend this
    part of it, which is there in any case. So the field comes and goes with the mailings, whichever addon is installed
    first, and duplicates and A/B tests have it as well. `models/base.py` puts it into the form.
    """

    _name = "utm.source.mixin"
    _inherit = ["utm.source.mixin", "sendgrid.switch.mixin"]

    sendgrid_is_tracked = fields.Boolean(default=True)
