from odoo import api, fields, models
from odoo.exceptions import UserError

from . import bulk
from .sendgrid_address_consent import SOURCES


class SendgridConsent(models.Model):
    """A word that was said about being measured: the proof. It is written once, and nobody changes or deletes it.

    It goes with the row of its address: then nothing is known of the address any more.
    """

    _name = "sendgrid.consent"
    _description = "Word on E-mail Tracking"
    _order = "date desc, id desc"
    _rec_name = "address_id"
    _allow_sudo_commands = False

    address_id = fields.Many2one("sendgrid.address", required=True, readonly=True, index=True, ondelete="cascade")
    word = fields.Selection(
        [("agreed", "Agreed"), ("declined", "Declined"), ("unknown", "Not asked")],
        required=True,
        readonly=True,
        help="Not asked: somebody took back what had been noted by mistake.",
    )
    date = fields.Datetime(string="Said On", required=True, readonly=True)
    source = fields.Selection(SOURCES, string="Said How", required=True, readonly=True)
    uid = fields.Many2one(
        "res.users",
        string="Noted By",
        readonly=True,
        ondelete="set null",
        help="Who noted it by hand or by an import. Empty: the owner of the address said it.",
    )
    form = fields.Char(
        string="Said Where", readonly=True, help="The name of the form or page, or the occasion on which it was said."
    )
    wording_id = fields.Many2one(
        "sendgrid.wording",
        readonly=True,
        index="btree_not_null",
        ondelete="restrict",
        help="The text that was shown.",
    )

    @api.model
    def _keep(self, addresses, word, said):
        """Keep the word that was just written to some addresses.

        :param said: dict of when, how, by whom, where and in which wording it was said
        """
        kept = {"word": word or "unknown", **said, "create_uid": self.env.uid, "create_date": self.env.cr.now()}
        bulk.insert(self, [{"address_id": address.id, **kept} for address in addresses])
        addresses.invalidate_recordset(["consent_ids"])
        self.env["sendgrid.wording"].invalidate_model(["is_used"])

    def write(self, vals):
        if self:
            raise UserError(self.env._("What was said stays as it is. Note a new word instead."))
        return super().write(vals)

    @api.ondelete(at_uninstall=False)
    def _unlink_never(self):
        raise UserError(self.env._("What was said stays as proof. It goes only with all that is known of the address."))
