from odoo import fields, models
from odoo.exceptions import UserError


class SendgridConsentAsk(models.TransientModel):
    """The dialog that asks what the contacts or leads of a list said about being measured."""

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

    def action_set(self):
        """Note the word for all addresses of the records. Records that the user may not write are left alone.

        :return: the action of a notification that says for how many it was noted
        """
        Address = self.env["sendgrid.address"].sudo()
        if self.res_model not in {Model._name for Model in Address._get_models_with_addresses()}:
            raise UserError(self.env._("These records have no e-mail addresses."))
        records = self.env[self.res_model].browse(self.res_ids).exists()
        allowed = records._filtered_access("write")
        addresses = allowed.sudo()._get_addresses()
        emails = {email for emails in addresses.values() for email in emails}
        said = False if self.word == "unknown" else self.word
        Address._set_word(emails, said, "hand", self.form, self.wording_id.sudo())
        lines = [self.env._("Addresses for which it was noted: %s.", len(emails))]
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
                "sticky": bool(without or skipped),
                "next": {"type": "ir.actions.act_window_close"},
            },
        }
