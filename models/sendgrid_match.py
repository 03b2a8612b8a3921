from collections import defaultdict
from datetime import timedelta

from odoo import api, fields, models
from odoo.tools import SQL

from ..tools.events.matching import Document, Evidence, has_no_ids, learn_keys, match_one

# An event can arrive before the transaction that sent its mail is committed. It waits so long for its document.
EARLY_FOR = timedelta(hours=24)
# A bounce that names nothing but an address must belong to a mail that was sent so recently.
PROBABLE_WITHIN = timedelta(days=5)
DOCUMENT_COLUMNS = SQL(", ").join(map(SQL.identifier, Document._fields))


class SendgridMatch(models.AbstractModel):
    """The search for the document of an event: when the event arrives, or later when the document exists.

    This model reads the evidence from the database, `tools.events.matching` decides. Other models call `_match`,
    `_match_early`, `_match_by_keys`, `_has_unknown`, `_has_early` and `_give_up_early`.
    """

    _name = "sendgrid.match"
    _description = "Matching of Events and E-mails"

    # ------------------------------------------------------------
    # AT ONCE
    # ------------------------------------------------------------

    @api.model
    def _match(self, received):
        """Find the document of each event. The number of queries does not depend on the number of events.

        :param received: list of (account id, `tools.events.event.Event`)
        :return: (list of (value of `sendgrid.event.match`, `tools.events.matching.Document` or None) in the same order,
            {document id: message key that the events teach about it})
        """
        events = [event for _account, event in received]
        evidence = Evidence(
            odoo_db=self.env["sendgrid.email"]._get_odoo_db(),
            by_odoo_id=self._get_documents("odoo_id", {event.odoo_id for event in events}),
        )
        # Each further name is looked up for those events only that no better one has found.
        unfound = [event for event in events if event.odoo_id not in evidence.by_odoo_id]
        evidence.by_key = self._get_documents("sg_message_id", {event.message_key for event in unfound})
        unfound = [event for event in unfound if event.message_key not in evidence.by_key]
        evidence.by_smtp_id = self._get_documents("message_id", {event.smtp_id for event in unfound})
        evidence.by_address = self._get_latest_before(
            {(account, event.recipient, event.timestamp) for account, event in received if has_no_ids(event)}
        )
        keys = learn_keys(events, evidence)
        return [match_one(account, event, evidence) for account, event in received], keys

    @api.model
    def _get_documents(self, column, values):
        """Return the documents that have one of some values in a column.

        :param str column: ``odoo_id``, ``sg_message_id`` or ``message_id``
        :param values: the values; empty ones are ignored
        :return: `defaultdict` {value: list of `tools.events.matching.Document`}
        """
        values = [value for value in values if value]
        documents = defaultdict(list)
        if values:
            for value, *row in self.env.execute_query(
                SQL(
                    "SELECT %s, %s FROM sendgrid_email WHERE %s = ANY(%s) ORDER BY id",
                    SQL.identifier(column),
                    DOCUMENT_COLUMNS,
                    SQL.identifier(column),
                    values,
                )
            ):
                documents[value].append(Document(*row))
        return documents

    @api.model
    def _get_latest_before(self, wanted):
        """Return the last document that was sent to an address before a moment, within `PROBABLE_WITHIN`.

        :param wanted: set of (account id, recipient, Unix seconds (UTC) of the moment)
        :return: {element of ``wanted``: `tools.events.matching.Document`}, without those for which there is none
        """
        if not wanted:
            return {}
        accounts, recipients, moments = zip(*wanted, strict=True)
        rows = self.env.execute_query(
            SQL(
                """SELECT wanted.account_id, wanted.recipient, wanted.moment, email.*
                     FROM unnest(%s, %s, %s::bigint[]) AS wanted (account_id, recipient, moment)
                     JOIN LATERAL (
                          SELECT %s
                            FROM sendgrid_email
                           WHERE account_id = wanted.account_id AND recipient = wanted.recipient
                             AND sent_date <= to_timestamp(wanted.moment) AT TIME ZONE 'UTC'
                             AND sent_date >= to_timestamp(wanted.moment) AT TIME ZONE 'UTC' - %s
                        ORDER BY sent_date DESC, id DESC LIMIT 1) email ON TRUE""",
                list(accounts),
                list(recipients),
                list(moments),
                DOCUMENT_COLUMNS,
                PROBABLE_WITHIN,
            )
        )
        return {(account, recipient, moment): Document(*row) for account, recipient, moment, *row in rows}

    # ------------------------------------------------------------
    # LATER
    # ------------------------------------------------------------

    @api.model
    def _match_early(self):
        """Attach events that arrived before the transaction of their mail was committed.

        :return: the documents (`sendgrid.email`) that got events
        """
        self.env["sendgrid.event"].flush_model()
        keys_by_email = self._attach("odoo_id", SQL("event.match = 'early'"))
        Email = self.env["sendgrid.email"]
        emails = Email.browse(keys_by_email)
        emails |= self._match_by_keys(
            {
                email.id: keys_by_email[email.id]
                for email in emails
                if keys_by_email[email.id] and not email.sg_message_id
            }
        )
        # If the copy has documents by now, and an event still waits, its recipient is a colleague: he has no document.
        self.env.cr.execute(
            SQL(
                """UPDATE sendgrid_event event SET match = 'untracked'
                    WHERE match = 'early'
                      AND EXISTS (SELECT 1 FROM sendgrid_email email WHERE email.odoo_id = event.odoo_id)"""
            )
        )
        self.env["sendgrid.event"].invalidate_model(["match"])
        return emails

    @api.model
    def _has_unknown(self, keys):
        """Tell whether stored events without a document have one of these message keys.

        :param keys: {document id: message key}
        """
        if not keys:
            return False
        self.env["sendgrid.event"].flush_model()
        condition = self._get_unknown_condition(keys)
        return bool(self.env.execute_query(SQL("SELECT FROM sendgrid_event event WHERE %s LIMIT 1", condition)))

    @api.model
    def _get_unknown_condition(self, keys):
        return SQL(
            "event.email_id IS NULL AND event.match = 'unknown' AND event.sg_message_id = ANY(%s)",
            list(set(keys.values())),
        )

    @api.model
    def _match_by_keys(self, keys):
        """Write message keys to documents, and attach earlier events that can be matched by nothing but these keys.

        :param keys: {document id: message key}
        :return: the documents (`sendgrid.email`) that got events
        """
        Email = self.env["sendgrid.email"]
        if not keys:
            return Email
        Email._write_columns({id_: {"sg_message_id": key} for id_, key in keys.items()})
        self.env["sendgrid.event"].flush_model()
        return Email.browse(self._attach("sg_message_id", self._get_unknown_condition(keys)))

    @api.model
    def _attach(self, column, condition):
        """Attach waiting events to documents with the same name, by the rules of `tools.events.matching.pick_document`.

        Example for the column ``odoo_id``::

            event  odoo_id  recipient        document  odoo_id  recipient  is_alone        event  goes to document
            1      a        x                7         a        x          false      =>   1      7
            2      a        y                8         b        x          true            2      none
            3      b        z                                                              3      8

        Event 3 has another address than document 8, but the copy has only this one recipient: somebody forwards his
        mail.

        :param str column: the name, ``odoo_id`` or ``sg_message_id``
        :param condition: SQL that says which events wait; it calls the table of events ``event``
        :return: {document id: message key of one of its new events}
        """
        self.env["sendgrid.email"].flush_model()
        rows = self.env.execute_query(
            SQL(
                """UPDATE sendgrid_event
                      SET email_id = found.email_id, match = %s
                     FROM (SELECT DISTINCT ON (event.id) event.id, email.id AS email_id
                             FROM sendgrid_event event
                             JOIN sendgrid_email email
                               ON email.%s = event.%s AND (email.recipient = event.recipient OR email.is_alone)
                            WHERE %s
                         ORDER BY event.id, (email.recipient = event.recipient) DESC, email.id) found
                    WHERE sendgrid_event.id = found.id
                RETURNING found.email_id, sendgrid_event.sg_message_id""",
                column,
                SQL.identifier(column),
                SQL.identifier(column),
                condition,
            )
        )
        self.env["sendgrid.event"].invalidate_model(["email_id", "match"])
        self.env["sendgrid.email"].invalidate_model(["event_ids"])
        if rows:
            self.env["sendgrid.reduction"]._reduce_attached({id_ for id_, _key in rows})
        return dict(rows)

    @api.model
    def _give_up_early(self):
        """End the wait of events that have waited longer than `EARLY_FOR`: their documents must have been deleted."""
        given_up = [("match", "=", "early"), ("create_date", "<", fields.Datetime.now() - EARLY_FOR)]
        self.env["sendgrid.event"].search(given_up).write({"match": "gone"})

    @api.model
    def _has_early(self, seconds):
        """Tell whether an event that arrived less than ``seconds`` ago still waits for its document."""
        return bool(
            self.env["sendgrid.event"].search_count(
                [
                    ("match", "=", "early"),
                    ("create_date", ">", fields.Datetime.now() - timedelta(seconds=seconds)),
                ],
                limit=1,
            )
        )
