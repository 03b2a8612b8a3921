from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.fields import Domain

from ..models.sendgrid_address_consent import SAID_BY_USERS


class SendgridConsentAsk(models.TransientModel):
    """The dialog that asks what the contacts, leads, mailing contacts or addresses of a list said about being measured.

    Whoever declined is left alone: nobody looks at each row of a long list. To correct it, select this one person.
    """

    _name = "sendgrid.consent.ask"
    _description = "Set E-mail Tracking"

    res_model = fields.Char(required=True, readonly=True)
    res_ids = fields.Json(required=True, readonly=True)
    word = fields.Selection(
        [("agreed", "They agreed"), ("declined", "They declined"), ("unknown", "It was noted by mistake")],
        string="What did they say?",
        required=True,
    )
    form = fields.Char(string="Where was it said?", help="For example the name of the fair, or of the signed form.")
    wording_id = fields.Many2one("sendgrid.wording", help="The text that was shown, if it is here.")
    kept_count = fields.Integer(
        string="Left Alone",
        compute="_compute_kept_count",
        help="So many addresses of the list declined, and stay as they are.",
    )

    @api.depends("res_ids", "res_model", "word")
    def _compute_kept_count(self):
        for dialog in self:
            dialog.kept_count = len(dialog._get_kept(dialog._get_allowed()._get_emails())) if dialog.res_model else 0

    @api.model
    def _get_action(self, records):
        """Return the action that opens the dialog for some records."""
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Set E-mail Tracking"),
            "res_model": self._name,
            "views": [[False, "form"]],
            "target": "new",
            "context": {"default_res_model": records._name, "default_res_ids": records.ids},
        }

    def _get_allowed(self):
        """Return the records for which the user may set a word: those that he may write, or any address."""
        if self.res_model == "sendgrid.address":
            self.env["sendgrid.address"]._check_may_set()
            return self.env["sendgrid.address"].browse(self.res_ids).exists()
        if self.res_model not in {Model._name for Model in self.env["sendgrid.address"]._get_models_with_addresses()}:
            raise UserError(self.env._("These records have no e-mail addresses."))
        return self.env[self.res_model].browse(self.res_ids).exists()._filtered_access("write")

    def _get_kept(self, emails):
        """Return the set of those of some addresses that keep the word that they declined: none for one record."""
        domain = Domain("email", "in", list(emails)) & Domain("email_tracking", "=", "declined")
        if self.word == "unknown":
            # What the owner has said himself was not noted by mistake.
            domain &= Domain("email_tracking_source", "not in", SAID_BY_USERS)
        elif self.word != "agreed":
            return set()
        if len(self.res_ids) == 1:
            return set()
        return set(self.env["sendgrid.address"].sudo().search(domain).mapped("email"))

    def action_set(self):
        """Note the word for all addresses of the records. Records that the user may not write are left alone.

        :return: the action of a notification that says for how many it was noted
        """
        Address = self.env["sendgrid.address"].sudo()
        allowed = self._get_allowed()
        records = self.env[self.res_model].browse(self.res_ids).exists()
        addresses = allowed.sudo()._get_addresses()
        emails = allowed._get_emails()
        said = False if self.word == "unknown" else self.word
        if not said:
            emails = set(
                Address.search([("email", "in", list(emails)), ("email_tracking", "!=", False)]).mapped("email")
            )
        # Somebody may be declining at the moment.
        Address._hold(emails)
        kept = self._get_kept(emails)
        emails -= kept
        Address._set_word(emails, said, "hand", self.form, self.wording_id.sudo())
        lines = [self.env._("Addresses for which it was noted: %s.", len(emails))]
        if kept:
            lines.append(self.env._("Addresses that declined, and that were left alone: %s.", len(kept)))
        if without := sum(not emails for emails in addresses.values()):
            lines.append(self.env._("Records without an address: %s.", without))
        if skipped := len(records - allowed):
            lines.append(self.env._("Records that you may not change, and that were left alone: %s.", skipped))
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {
                "type": "success" if emails else "info",
                "message": " ".join(lines),
                "sticky": bool(kept or without or skipped),
                "next": {"type": "ir.actions.act_window_close"},
            },
        }
