from odoo import api, fields, models
from odoo.fields import Domain
from odoo.tools import SQL, email_normalize

from ..tools.address_form import all_spellings, comparable


class MailBlacklist(models.Model):
    """The blacklist tells `sendgrid.address` what people decide, and knows which entries SendGrid suppresses too."""

    _inherit = "mail.blacklist"

    is_suppressed = fields.Boolean(
        string="Suppressed at SendGrid",
        compute="_compute_is_suppressed",
        search="_search_is_suppressed",
        help="SendGrid does not deliver to the address either, as the last comparison with its lists found.",
    )

    @api.depends("email")
    def _compute_is_suppressed(self):
        domain = [("id", "in", self.ids), ("is_suppressed", "=", True)]
        suppressed = self.with_context(active_test=False).search(domain)
        for entry in self:
            entry.is_suppressed = entry.id in suppressed._ids

    @api.model
    def _search_is_suppressed(self, operator, value):
        if operator != "in":
            return NotImplemented

        def to_sql(_model, alias, _query):
            return SQL(
                """EXISTS (SELECT 1 FROM sendgrid_suppression
                            WHERE email = %s AND state != 'cleared' AND list != 'blocks')""",
                SQL.identifier(alias, "email"),
            )

        self.env["sendgrid.suppression"].flush_model()
        return Domain.custom(to_sql=to_sql) | Domain("id", "in", self._get_suppressed_odd())

    @api.model
    def _get_suppressed_odd(self):
        """Return the ids of the suppressed entries that are not ASCII. They are few, and SQL cannot compare them."""
        self.flush_model(["email"])
        rows = self.env.execute_query(
            SQL("SELECT id, email FROM mail_blacklist WHERE octet_length(email) <> char_length(email)")
        )
        ids = {id_: comparable(email) for id_, email in rows}
        suppressed = self.env["sendgrid.suppression"].sudo()
        listed = suppressed.search(
            [("email", "in", list(ids.values())), ("state", "!=", "cleared"), ("list", "!=", "blocks")]
        )
        emails = set(listed.mapped("email"))
        return [id_ for id_, email in ids.items() if email in emails]

    # ------------------------------------------------------------
    # DECISIONS
    # ------------------------------------------------------------

    # The context key `sendgrid_settles` says that an entry follows SendGrid's words, so that nobody has decided.

    @api.model_create_multi
    def create(self, vals_list):
        entries = super().create(vals_list)
        if not self.env.context.get("sendgrid_settles"):
            # Core's `_remove` creates an inactive entry for an address that was not on the blacklist. Core's `create`
            # also returns entries that exist, active or not: nobody has taken these off.
            taken_off = {email_normalize(vals.get("email")) for vals in vals_list if vals.get("active") is False}
            wanted = entries.filtered(lambda entry: not entry.active and entry.email in taken_off)
            wanted._note_decision(is_wanted=True)
            (entries - wanted)._note_decision(is_wanted=False)
        return entries

    def _add(self, email, message=None):
        entry = super()._add(email, message=message)
        # Core writes nothing if the address is on the blacklist already. But from now on it is there because of
        # somebody's own word, and not only because of SendGrid's.
        if not self.env.context.get("sendgrid_settles"):
            entry._note_decision(is_wanted=False)
        return entry

    def write(self, vals):
        changed = self.browse()
        if "active" in vals and not self.env.context.get("sendgrid_settles"):
            changed = self.filtered(lambda entry: entry.active != bool(vals["active"]))
        result = super().write(vals)
        changed._note_decision(is_wanted=not vals.get("active"))
        return result

    def unlink(self):
        if not self.env.context.get("sendgrid_settles"):
            # Core lets one delete what is gone already.
            self.exists().filtered("active")._note_decision(is_wanted=True)
        return super().unlink()

    def _note_decision(self, is_wanted):
        """Note that the current user has put the addresses on the blacklist, or has taken them off it."""
        Address = self.env["sendgrid.address"].sudo()
        if not self:
            return
        emails = list({comparable(email) for email in self.mapped("email")})
        if is_wanted:
            Address._note_wanted(emails)
            # The same address in another spelling is not wanted back alone.
            others = set(all_spellings(emails)).difference(self.mapped("email"))
            twins = self.sudo().search([("email", "in", list(others))]) if others else self.browse()
            twins.with_context(sendgrid_settles=True).write({"active": False})
        else:
            known = Address.search([("email", "in", emails), ("is_blacklisted_by_words", "=", True)])
            known.is_blacklisted_by_words = False
            # Core does not find the same address in another spelling.
            listed = self.filtered("active").mapped("email")
            for email in set(all_spellings(listed)).difference(listed):
                self.sudo().with_context(sendgrid_settles=True)._add(email)
