from odoo import fields, models

from .sendgrid_interaction import FILTERS


class ResUsers(models.Model):
    """What a user wants to be told of at once. The names of the fields end with the feed's `FILTERS`.

    Core reads the user for each page, without these. So they are read by themselves, and all at once.
    """

    _inherit = "res.users"

    sendgrid_tells_opened = fields.Boolean(
        prefetch="sendgrid",
        string="First Opens",
        help="Tell me when a person opens one of my e-mails for the first time.",
    )
    sendgrid_tells_clicked = fields.Boolean(
        prefetch="sendgrid",
        string="Clicks",
        default=True,
        help="Tell me when a person clicks a link of one of my e-mails.",
    )
    sendgrid_tells_replied = fields.Boolean(
        prefetch="sendgrid", string="Replies", default=True, help="Tell me when somebody answers one of my e-mails."
    )
    sendgrid_tells_failed = fields.Boolean(
        prefetch="sendgrid",
        string="Failures",
        default=True,
        help="Tell me when one of my e-mails does not arrive, or is reported as spam.",
    )

    @property
    def SELF_READABLE_FIELDS(self):  # noqa: N802 (core's name)
        return super().SELF_READABLE_FIELDS + self._get_sendgrid_wishes()

    @property
    def SELF_WRITEABLE_FIELDS(self):  # noqa: N802 (core's name)
        return super().SELF_WRITEABLE_FIELDS + self._get_sendgrid_wishes()

    def _get_sendgrid_wishes(self):
        return [f"sendgrid_tells_{kind}" for kind in FILTERS]
