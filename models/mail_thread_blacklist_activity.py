from datetime import timedelta

from odoo import api, fields, models
from odoo.fields import Domain
from odoo.tools import SQL

from ..tools.events.answer import REPLIES

LATELY = timedelta(days=30)
# Of so many events the addresses are looked up. Where there are more, a list finds its page soon without that.
FEW = 10_000

# These are conditions on one address. `OFFSET 0` keeps PostgreSQL from reading all addresses, documents or events at
# once for the sake of a list's first page: each record is decided by itself, through the indexes on the address.

# Somebody there did something since a moment.
STIRS = """
    (EXISTS (
        SELECT FROM sendgrid_address address
         WHERE address.email = %(email)s AND address.last_reply_date > %(since)s OFFSET 0
    ) OR EXISTS (
        SELECT FROM sendgrid_email email JOIN sendgrid_event event ON event.email_id = email.id
         WHERE email.recipient = %(email)s AND event.timestamp > %(since)s
           AND (event.answer IN %(replies)s
                OR event.event IN ('open', 'click') AND event.verdict IN %(verdicts)s AND NOT EXISTS (
                   SELECT FROM sendgrid_address declined
                    WHERE declined.email = email.recipient AND declined.email_tracking = 'declined' OFFSET 0))
        OFFSET 0
    ))
"""
# The addresses where something may have happened since a moment. The condition on events is that of their index.
STIRRED = """
    SELECT email.recipient
      FROM (SELECT email_id FROM sendgrid_event
             WHERE timestamp > %(since)s AND email_id IS NOT NULL
               AND (event IN ('open', 'click') AND verdict IN ('human', 'unknown')
                    OR answer IN ('own', 'contact', 'alone', 'portal')) LIMIT %(most)s) event
      JOIN sendgrid_email email ON email.id = event.email_id
    UNION ALL
    (SELECT email FROM sendgrid_address WHERE last_reply_date > %(since)s LIMIT %(most)s)
"""
# An e-mail arrived there of which opens and clicks are kept.
ARRIVED = """
    EXISTS (
        SELECT FROM sendgrid_email arrived
         WHERE arrived.recipient = %(email)s AND arrived.measured IS DISTINCT FROM 'none'
           AND arrived.status IN ('delivered', 'opened', 'clicked', 'replied') OFFSET 0
    )
"""
# That nothing is heard from there proves nothing.
MUTE = """
    EXISTS (
        SELECT FROM sendgrid_address mute
         WHERE mute.email = %(email)s
           AND (mute.email_tracking = 'declined'
                OR mute.bounce_date > COALESCE(GREATEST(mute.valid_date, mute.last_reply_date), '-infinity')) OFFSET 0
    )
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
        addresses = {place: emails for place, (_record, emails) in enumerate(records)}
        for word in ("active", "silent"):
            for place in self._filter_by_activity(word, addresses):
                records[place][0].email_activity = word

    @api.model
    def _search_email_activity(self, operator, value):
        if operator != "in":
            return NotImplemented
        words = sorted(word for word in ("active", "silent") if (word in value) != (False in value))
        if not words:
            return Domain(False in value)
        # `email_normalized` tells the address of nearly all records. Those with further addresses are few.
        several = self.sudo()._get_with_several_addresses()
        found = [id_ for word in words for id_ in self._filter_by_activity(word, several)]
        stirred = self._get_stirred() if "active" in words else None

        def to_sql(model, alias, query):
            email = model._field_to_sql(alias, "email_normalized", query)
            conditions = [SQL("(%s AND NOT %s)", *self._get_conditions(word, email)) for word in words]
            if stirred is not None:
                place = words.index("active")
                conditions[place] = SQL("(%s = ANY(%s) AND %s)", email, stirred, conditions[place])
            return SQL("(%s)", SQL(" OR ").join(conditions))

        domain = Domain("id", "in", found) | Domain("id", "not in", list(several)) & Domain.custom(to_sql=to_sql)
        return ~domain if False in value else domain

    @api.model
    def _filter_by_activity(self, word, addresses):
        """Return the keys of those of whom a word is true.

        :param word: ``"active"`` or ``"silent"``
        :param addresses: {key, an integer: list of addresses in their comparable form}
        """
        pairs = [(key, email) for key, emails in addresses.items() for email in emails]
        if not pairs:
            return []
        # Of several addresses one has to fulfil the first condition, and none may fulfil the second.
        rows = self.env.execute_query(
            SQL(
                """SELECT owned.id FROM unnest(%s::int[], %s::text[]) AS owned (id, email)
                 GROUP BY owned.id HAVING bool_or(%s) AND NOT bool_or(%s)""",
                [key for key, _email in pairs],
                [email for _key, email in pairs],
                *self._get_conditions(word, SQL.identifier("owned", "email")),
            )
        )
        return [key for (key,) in rows]

    @api.model
    def _get_stirred(self):
        """Return the addresses at which something may have happened lately, or None if there are many.

        If hardly anybody is active, PostgreSQL asks for these few, and not for each of a million contacts.
        """
        self._flush_activity()
        rows = self.env.execute_query(SQL(STIRRED, since=fields.Datetime.now() - LATELY, most=FEW + 1))
        return list({email for (email,) in rows}) if len(rows) <= FEW else None

    @api.model
    def _get_conditions(self, word, email):
        """Return the SQL of the condition that makes a word true of an address, and of the one that excludes it.

        :param word: ``"active"`` or ``"silent"``
        :param email: the SQL of the address
        """
        self._flush_activity()
        stirs = SQL(
            STIRS,
            email=email,
            since=fields.Datetime.now() - LATELY,
            verdicts=("human",) if word == "active" else ("human", "unknown"),
            replies=REPLIES,
        )
        if word == "active":
            return stirs, SQL("FALSE")
        return SQL(ARRIVED, email=email), SQL("(%s OR %s)", SQL(MUTE, email=email), stirs)

    @api.model
    def _flush_activity(self):
        self.env["sendgrid.event"].flush_model()
        self.env["sendgrid.email"].flush_model(["recipient", "status", "measured"])
        self.env["sendgrid.address"].flush_model()
