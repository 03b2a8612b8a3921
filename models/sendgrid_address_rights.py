from markupsafe import Markup

from odoo import api, fields, models
from odoo.tools import SQL

from ..tools.address_form import all_spellings

# The models that keep something about addresses besides documents and events.
MODELS_OF_ADDRESSES = ("sendgrid.address", "sendgrid.consent", "sendgrid.suppression")


class SendgridAddress(models.Model):
    """The rights of an address's owner: what was forgotten and handed out, when and by whom."""

    _inherit = "sendgrid.address"

    forgotten_date = fields.Datetime(
        string="Tracking Forgotten On", readonly=True, help="When somebody last had the tracking forgotten."
    )
    forgotten_uid = fields.Many2one("res.users", string="Forgotten By", readonly=True, ondelete="set null")
    forgotten_count = fields.Integer(
        string="E-mails Forgotten", readonly=True, help="Of how many e-mails the tracking was forgotten then."
    )
    exported_date = fields.Datetime(
        string="Tracking Exported On", readonly=True, help="When somebody last had the tracking written into a file."
    )
    exported_uid = fields.Many2one("res.users", string="Exported By", readonly=True, ondelete="set null")

    # ------------------------------------------------------------
    # WHAT IS KNOWN
    # ------------------------------------------------------------

    @api.model
    def _get_models_of_addresses(self):
        """Return the names of the models that keep something about addresses besides documents and events."""
        return [name for name in MODELS_OF_ADDRESSES if name in self.env and self.env[name]._auto]

    @api.model
    def _get_conditions_on_addresses(self, emails):
        """Return {name of a model: SQL that says which of its records are about some addresses}.

        A model says so by a column `email`, or by a reference to `sendgrid.address`.

        :param emails: addresses in any form
        """
        emails = all_spellings(emails)
        conditions = {}
        for name in self._get_models_of_addresses():
            fields_ = self.env[name]._fields
            if "email" in fields_ and fields_["email"].store:
                conditions[name] = SQL("email = ANY(%s)", emails)
                continue
            conditions[name] = SQL(
                "%s IN (SELECT id FROM sendgrid_address WHERE email = ANY(%s))",
                SQL.identifier(
                    next(field.name for field in fields_.values() if field.comodel_name == self._name and field.store)
                ),
                emails,
            )
        return conditions

    @api.model
    def _count_documents(self, emails):
        """Return {address: number of documents to it, whoever may see them}, for comparable addresses."""
        self.env["sendgrid.email"].flush_model(["recipient"])
        rows = self.env.execute_query(
            SQL(
                "SELECT recipient, count(*) FROM sendgrid_email WHERE recipient = ANY(%s) GROUP BY recipient",
                list(emails),
            )
        )
        return dict.fromkeys(emails, 0) | dict(rows)

    # ------------------------------------------------------------
    # LOG
    # ------------------------------------------------------------

    @api.model
    def _log_right(self, counts, sentence, nameless):
        """Note that a right of some addresses' owners was used: in Odoo's privacy log, and in chatters.

        Nobody reads another one's address in a chatter: each contact and lead is told about its own.

        :param counts: {comparable address: how many e-mails are concerned}
        :param sentence: with %(email)s and %(count)s
        :param nameless: with %s for the count: the privacy log names nobody
        """
        self.env["privacy.log"].sudo().create(
            [
                {
                    "anonymized_name": email,
                    "anonymized_email": email,
                    "user_id": self.env.uid,
                    "execution_details": nameless % count,
                }
                for email, count in counts.items()
                if email.count("@") == 1 and all(email.split("@"))
            ]
        )
        for model in ("res.partner", "crm.lead"):
            records = self.env[model].sudo()._get_by_addresses(counts)
            bodies = {
                record.id: Markup("<br/>").join(
                    sentence % {"email": email, "count": counts[email]} for email in emails if email in counts
                )
                for record, emails in records._get_addresses().items()
            }
            records._message_log_batch(bodies=bodies, author_id=self.env.user.partner_id.id)
