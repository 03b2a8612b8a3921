from datetime import timedelta

from odoo import api, fields, models
from odoo.fields import Domain
from odoo.tools import SQL

from ..tools.events.answer import REPLIES

LATELY = timedelta(days=30)
# The addresses at which something happened since a moment. The condition on the event is that of an index.
STIRRED = """
    SELECT email.recipient
      FROM sendgrid_event event JOIN sendgrid_email email ON email.id = event.email_id
     WHERE event.timestamp > %(since)s
       AND (event.event IN ('open', 'click') AND event.verdict IN %(verdicts)s OR event.answer IN %(replies)s)
       AND (event.event = 'reply' OR email.recipient NOT IN
            (SELECT email FROM sendgrid_address WHERE email_tracking = 'declined'))
    UNION ALL
    SELECT email FROM sendgrid_address WHERE last_reply_date > %(since)s
"""
ACTIVE = """
    SELECT owned.id FROM %(owned)s owned WHERE owned.email IN (%(stirred)s)
"""
# No open proves nothing where opens are not kept, and who opened as it cannot be told by whom may have read it.
SILENT = """
    SELECT owned.id FROM %(owned)s owned
     WHERE owned.email IN (
           SELECT recipient FROM sendgrid_email
            WHERE status IN ('delivered', 'opened', 'clicked', 'replied') AND measured IS DISTINCT FROM 'none')
    EXCEPT
    SELECT owned.id FROM %(owned)s owned
     WHERE owned.email IN (
           %(stirred)s
           UNION ALL
           SELECT email FROM sendgrid_address
            WHERE email_tracking = 'declined'
               OR bounce_date > COALESCE(GREATEST(valid_date, last_reply_date), '-infinity'))
"""


class MailThreadBlacklist(models.AbstractModel):
    """Records with an address are found by whether anybody there reads and answers.

    Nothing is stored for it: the events of the last 30 days and the documents tell it. So whatever is decided anew of
    an event, forgotten or not kept at somebody's wish counts at once.
    """

    _inherit = "mail.thread.blacklist"

    email_activity = fields.Selection(
        [("active", "Active lately"), ("silent", "Silent")],
        string="Activity by E-mail",
        compute="_compute_email_activity",
        compute_sudo=True,
        search="_search_email_activity",
        groups="base.group_user",
        help="Active lately: within 30 days somebody wrote from the address or answered an e-mail to it, or a person "
        "opened or clicked one. Silent: measured e-mails to the address arrived, at whatever time, and within 30 days "
        "there was none of that, and no open or click of which it cannot be told whether a person did it. Empty: no "
        "measured e-mail arrived, the address bounced, its owner declined to be measured and has not written, or it "
        "cannot be told.",
    )

    @api.depends(lambda self: [self._primary_email])
    def _compute_email_activity(self):
        self.email_activity = False
        # A record that is not saved yet has no id, but a place.
        records = list(self._get_addresses().items())
        owned = self._own([(place, email) for place, (_record, emails) in enumerate(records) for email in emails])
        for word in ("silent", "active"):
            for (place,) in self.env.execute_query(self._select_by_activity(word, owned)):
                records[place][0].email_activity = word

    @api.model
    def _search_email_activity(self, operator, value):
        if operator != "in":
            return NotImplemented
        self.flush_model(["email_normalized"])
        several = self.sudo()._get_with_several_addresses()
        # `email_normalized` tells the address of nearly all records. Those with further addresses are few.
        owned = SQL(
            """(SELECT id, email_normalized AS email FROM %s
                 WHERE email_normalized IS NOT NULL AND NOT id = ANY(%s) UNION ALL SELECT * FROM %s pairs)""",
            SQL.identifier(self._table),
            list(several),
            self._own([(id_, email) for id_, emails in several.items() for email in emails]),
        )
        words = {word for word in ("active", "silent") if (word in value) != (False in value)}
        if not words:
            return Domain(False in value)
        found = SQL(" UNION ALL ").join(SQL("(%s)", self._select_by_activity(word, owned)) for word in sorted(words))
        comparison = SQL("NOT IN") if False in value else SQL("IN")
        return Domain.custom(
            to_sql=lambda model, alias, query: SQL("%s %s (%s)", SQL.identifier(alias, "id"), comparison, found)
        )

    @api.model
    def _own(self, pairs):
        """Return the SQL of a table of records and their addresses.

        :param pairs: list of (id, address in its comparable form)
        """
        ids, emails = [id_ for id_, _email in pairs], [email for _id, email in pairs]
        return SQL("(SELECT * FROM unnest(%s::int[], %s::text[]) AS told (id, email))", ids, emails)

    @api.model
    def _select_by_activity(self, word, owned):
        """Return the SQL that selects the ids of the records of which a word is true.

        :param word: ``"active"`` or ``"silent"``
        :param owned: SQL of a table of records and their addresses, with the columns ``id`` and ``email``
        """
        self.env["sendgrid.event"].flush_model()
        self.env["sendgrid.email"].flush_model(["recipient", "status", "measured"])
        self.env["sendgrid.address"].flush_model()
        stirred = SQL(
            STIRRED,
            since=fields.Datetime.now() - LATELY,
            verdicts=("human",) if word == "active" else ("human", "unknown"),
            replies=REPLIES,
        )
        return SQL({"active": ACTIVE, "silent": SILENT}[word], owned=owned, stirred=stirred)
