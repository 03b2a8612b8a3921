from odoo import api, fields, models
from odoo.tools import SQL

UNMEASURED_COUNT = "unmeasured_count:sum"


class SendgridEmail(models.Model):
    """Documents whose opens and clicks are not kept: the words for it, and how many they are.

    Their counts are 0 and their dates are empty, which says nothing about the recipient. So whatever concludes anything
    from that has to leave them out: ``measured`` is "none".
    """

    _inherit = "sendgrid.email"

    unmeasured_note = fields.Char(
        string="Why It Is Not Measured",
        compute="_compute_unmeasured_note",
        help="Says that opens and clicks are not kept, and why.",
    )
    unmeasured_count = fields.Integer(
        string="E-mails Not Measured",
        compute="_compute_unmeasured_count",
        aggregator="sum",
        help="How many e-mails are not measured: whether these were opened or clicked is not known.",
    )

    @api.depends("measured", "unmeasured_reason")
    @api.depends_context("lang")
    def _compute_unmeasured_note(self):
        notes = self._get_unmeasured_notes()
        for email in self:
            email.unmeasured_note = email._is_unmeasured() and notes[email.unmeasured_reason]

    @api.depends("measured")
    def _compute_unmeasured_count(self):
        for email in self:
            email.unmeasured_count = int(email._is_unmeasured())

    def _is_unmeasured(self):
        """Tell whether the opens and clicks of the e-mail are not kept, so that none proves nothing."""
        return self.measured == "none"

    @api.model
    def _get_unmeasured_notes(self):
        """Return {reason: the sentence which says that an e-mail is not measured for it}."""
        return {
            "wish": self.env._("Not measured at the recipient's wish."),
            "company": self.env._("Not measured by the company's setting: the recipient was not asked."),
            "mail": self.env._("Not measured at the sender's choice."),
            "account": self.env._("Not measured: the account does not track."),
            "access": self.env._("Not measured because the e-mail gives access to Odoo."),
            "others": self.env._("Not measured because another recipient of the same e-mail is not measured."),
            "forgotten": self.env._("Not measured: the tracking was forgotten."),
            False: self.env._("Not measured."),
        }

    def _read_group_select(self, aggregate_spec, query):
        # Reports sum it up, although it is no column.
        if aggregate_spec == UNMEASURED_COUNT:
            measured = self._field_to_sql(self._table, "measured", query)
            return SQL("COUNT(*) FILTER (WHERE %s = 'none')", measured)
        return super()._read_group_select(aggregate_spec, query)
