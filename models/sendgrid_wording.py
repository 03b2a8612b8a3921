from odoo import api, fields, models
from odoo.exceptions import UserError


class SendgridWording(models.Model):
    """A text with which people are asked whether they may be measured.

    A text that changes is a new version. What somebody has agreed to or declined stays as it was shown.
    """

    _name = "sendgrid.wording"
    _description = "Wording on E-mail Tracking"
    _order = "name, version desc"

    name = fields.Char(required=True, help="Names the form or page, and the language if there are several.")
    version = fields.Integer(readonly=True, copy=False, help="Texts with the same name are numbered.")
    text = fields.Text(required=True, help="What is shown, word for word.")
    active = fields.Boolean(default=True, help="Archive a version that is shown no more.")
    is_used = fields.Boolean(
        string="Was Shown", compute="_compute_is_used", help="Somebody has agreed to it or declined it."
    )

    _version_uniq = models.UniqueIndex("(name, version)", "There is this version already.")

    @api.depends("name", "version")
    @api.depends_context("lang")
    def _compute_display_name(self):
        for wording in self:
            wording.display_name = self.env._(
                "%(name)s (version %(version)s)", name=wording.name, version=wording.version
            )

    def _compute_is_used(self):
        found = self.env["sendgrid.consent"].sudo()._read_group([("wording_id", "in", self.ids)], ["wording_id"])
        used = {wording.id for (wording,) in found}
        for wording in self:
            wording.is_used = wording.id in used

    @api.model_create_multi
    def create(self, vals_list):
        names = {vals.get("name") for vals in vals_list}
        known = self.sudo().with_context(active_test=False)
        last = dict(known._read_group([("name", "in", list(names))], ["name"], ["version:max"]))
        numbered = []
        for vals in vals_list:
            last[vals.get("name")] = last.get(vals.get("name"), 0) + 1
            numbered.append({**vals, "version": last[vals.get("name")]})
        return super().create(numbered)

    def write(self, vals):
        if vals.keys() & {"name", "text", "version"} and any(self.mapped("is_used")):
            raise UserError(
                self.env._("Somebody has answered to this wording, so it stays as it is. Make a new version instead.")
            )
        return super().write(vals)

    @api.ondelete(at_uninstall=False)
    def _unlink_unless_used(self):
        if any(self.mapped("is_used")):
            raise UserError(
                self.env._("Somebody has answered to this wording, so it stays as proof. You can archive it.")
            )

    def action_new_version(self):
        """Make the next version with the same text, and open it."""
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "res_model": self._name,
            "res_id": self.copy().id,
            "views": [[False, "form"]],
        }
