from collections import defaultdict
from datetime import timedelta

from odoo import api, fields, models
from odoo.tools import SQL

from ..tools.events.matching import Document, Evidence, has_no_ids, learn_keys, match_one

# SendGrid repeats an event for 24 hours at most; an event can arrive before the transaction of its e-mail is committed.
EARLY_FOR = timedelta(hours=24)
# A bounce that comes back with nothing but an address belongs to a recent e-mail.
PROBABLE_WITHIN = timedelta(days=5)
DOCUMENT_COLUMNS = SQL(", ").join(map(SQL.identifier, Document._fields))


class SendgridMatch(models.AbstractModel):
    """The way from an event to its document: at once, later when the document is there, or by hand.

    Others call `_match`, `_match_early`, `_match_by_keys`, `_has_unknown`, `_has_early` and `_give_up_early`.
    """

    _name = "sendgrid.match"
    _description = "Matching of Events and E-mails"

    # ------------------------------------------------------------
    # AT ONCE
    # ------------------------------------------------------------

    @api.model
    def _match(self, received):
        """Find the document of each event: some queries, however many events.

        :param received: list of (account id, `tools.events.event.Event`)
        :return: list of (value of `sendgrid.event.match`, `tools.events.matching.Document` or None), in the same
            order; and the message keys that the events teach, by document id
        """
        events = [event for _account, event in received]
        evidence = Evidence(
            odoo_db=self.env["sendgrid.email"]._get_odoo_db(),
            by_odoo_id=self._get_documents("odoo_id", {event.odoo_id for event in events}),
            by_key=self._get_documents("sg_message_id", {event.message_key for event in events}),
        )
        evidence.by_smtp_id = self._get_documents(
            "message_id",
            {
                event.smtp_id
                for event in events
                if event.odoo_id not in evidence.by_odoo_id and event.message_key not in evidence.by_key
            },
        )
        evidence.by_address = self._get_latest_before(
            {(account, event.recipient, event.timestamp) for account, event in received if has_no_ids(event)}
        )
        keys = learn_keys(events, evidence)
        return [match_one(account, event, evidence) for account, event in received], keys

    @api.model
    def _get_documents(self, column, values):
        """Return the documents by one of their names.

        :param column: ``odoo_id``, ``sg_message_id`` or ``message_id``
        :return: lists of `tools.events.matching.Document` by value
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
        """Return the latest recent document to an address before a moment.

        :param wanted: set of (account id, recipient, Unix seconds)
        :return: `tools.events.matching.Document` by what was wanted
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
        """Attach the events that arrived before their e-mail was committed.

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
        # The copy is there by now: what still waits for it is a colleague's, who has no document.
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
        """Tell whether events wait that carry nothing else than one of these message keys."""
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
        """Note message keys on documents, and attach the earlier events that carry nothing else.

        :param keys: message key by document id
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
        """Give waiting events to the documents that share a name with them, as `pick_document` does, in SQL.

        There are the events ``(1, odoo_id a, to x)``, ``(2, odoo_id a, to y)``, ``(3, odoo_id b, to z)`` and the
        documents ``(7, odoo_id a, to x)`` and ``(8, odoo_id b, to x, is_alone)``. Event 1 goes to document 7, event 3
        to document 8 whatever its address, and event 2 to none.

        :param column: the name that they share, ``odoo_id`` or ``sg_message_id``
        :param condition: SQL, which events wait; their table is called ``event`` in it
        :return: {document id: message key of one of its new events}
        """
        self.env["sendgrid.email"].flush_model()
        rows = self.env.execute_query(
            SQL(
                """UPDATE sendgrid_event
                      SET email_id = found.email_id, partner_id = found.partner_id, match = %s
                     FROM (SELECT DISTINCT ON (event.id) event.id, email.id AS email_id, email.partner_id
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
        self.env["sendgrid.event"].invalidate_model(["email_id", "partner_id", "match"])
        self.env["sendgrid.email"].invalidate_model(["event_ids"])
        return dict(rows)

    @api.model
    def _give_up_early(self):
        """Note that the e-mail of an event that has waited for a day is gone."""
        given_up = [("match", "=", "early"), ("create_date", "<", fields.Datetime.now() - EARLY_FOR)]
        self.env["sendgrid.event"].search(given_up).write({"match": "gone"})

    @api.model
    def _has_early(self, seconds):
        """Tell whether an event that came less than ``seconds`` ago still waits for its e-mail."""
        return bool(
            self.env["sendgrid.event"].search_count(
                [
                    ("match", "=", "early"),
                    ("create_date", ">", fields.Datetime.now() - timedelta(seconds=seconds)),
                ],
                limit=1,
            )
        )
