import math

from odoo import api, models
from odoo.tools import SQL

from ..tools.events.event import INTERACTIONS
from ..tools.events.rewriting import BARE, LEAVE_OUT
from .sendgrid_reduction import IS_BARABLE, IS_SILENT, TRAVEL_EVENTS

# From these nothing follows for an address, and nobody's wish concerns them.
QUIET_EVENTS = ("processed", "deferred", "delivered")


class SendgridReduction(models.Model):
    """What is reduced on arrival: ingestion and matching ask here before they store or fold an event."""

    _inherit = "sendgrid.reduction"

    @api.model
    def _get_silent_of(self, events, is_locking=False):
        """Return who of the people that events name does not want to be measured, with one query.

        :param events: list of `tools.events.event.Event`
        :param bool is_locking: lock the rows of these addresses, so that one who declines right now, and the drain,
            wait for each other. Those are included that consequences lock later: all are locked in one order.
        :return: {address: the moment (Unix seconds, UTC) up to which nothing is kept}; None where nothing is said
        """
        asked = {event.recipient for event in events if event.event not in QUIET_EVENTS and event.recipient}
        return self._get_silent(asked, is_locking)

    @api.model
    def _get_silent(self, addresses, is_locking=False):
        """Return up to when nothing is kept of addresses; the parameters and the result are as for `_get_silent_of`."""
        silent = dict.fromkeys(addresses)
        if not silent:
            return silent
        self.env["sendgrid.address"].flush_model(["email_tracking", "unmeasured_until"])
        rows = self.env.execute_query(
            SQL(
                """SELECT email, email_tracking, EXTRACT(EPOCH FROM unmeasured_until)::bigint FROM sendgrid_address
                    WHERE email = ANY(%s) %s""",
                list(silent),
                SQL("ORDER BY email FOR UPDATE")
                if is_locking
                else SQL("AND (email_tracking = 'declined' OR unmeasured_until IS NOT NULL)"),
            )
        )
        for address, word, until in rows:
            silent[address] = math.inf if word == "declined" else until
        return silent

    @api.model
    def _decide_by_address(self, events, silent):
        """Decide what becomes of events of people who do not want to be measured.

        :param events: list of `tools.events.event.Event`
        :param silent: as `_get_silent_of` returns it
        :return: {fingerprint: `LEAVE_OUT` for opens and clicks, `BARE` for other events that tell about a device}
        """
        if not any(silent.values()):
            return {}
        return {
            event.fingerprint: _decide(event)
            for event in events
            if event.event not in TRAVEL_EVENTS and event.timestamp <= (silent.get(event.recipient) or -1)
        }

    @api.model
    def _decide_by_document(self, received, matches, silent):
        """Decide what becomes of events of documents that are not measured, whoever's address the events name.

        :param received: list of (`sendgrid.event.batch` record, `tools.events.event.Event`)
        :param matches: list of their matches in the same order, as `sendgrid.match._match` returns them
        :param silent: as `_get_silent_of` returns it for the events
        :return: as `_decide_by_address`
        """
        found = [
            (event, document)
            for (_batch, event), (_match, document) in zip(received, matches, strict=True)
            if document and event.event not in TRAVEL_EVENTS
        ]
        # The address of an event is nearly always that of its document.
        if others := {document.recipient for _event, document in found} - silent.keys():
            silent = silent | self._get_silent(others)
        return {
            event.fingerprint: _decide(event)
            for event, document in found
            if document.measured == "none" or event.timestamp <= (silent[document.recipient] or -1)
        }

    @api.model
    def _note_arrived(self, received, matches, decisions):
        """Note of documents that opens and clicks prove their arrival, although these are not kept.

        The parameters are those of `_decide_by_document`, and what was decided.

        :return: the documents (`sendgrid.email`) that Odoo had given up: their state has to be computed anew
        """
        if LEAVE_OUT not in decisions.values():
            return self.env["sendgrid.email"]
        delivered = {
            document.id
            for (_batch, event), (_match, document) in zip(received, matches, strict=True)
            if document and event.event == "delivered"
        }
        arrived = {
            document.id
            for (_batch, event), (_match, document) in zip(received, matches, strict=True)
            if document and decisions.get(event.fingerprint) == LEAVE_OUT and not event.is_colleague
        }
        return self._write_arrived(arrived - delivered).filtered(lambda email: email.status == "blocked")

    @api.model
    def _write_arrived(self, email_ids):
        Email = self.env["sendgrid.email"]
        if not email_ids:
            return Email
        Email.flush_model(["delivered_date", "has_arrived"])
        rows = self.env.execute_query(
            SQL(
                """UPDATE sendgrid_email SET has_arrived = TRUE
                    WHERE id IN (SELECT id FROM sendgrid_email
                                  WHERE id = ANY(%s) AND delivered_date IS NULL AND has_arrived IS NOT TRUE
                               ORDER BY id FOR NO KEY UPDATE)
                RETURNING id""",
                sorted(email_ids),
            )
        )
        Email.invalidate_model(["has_arrived"])
        return Email.browse(id_ for (id_,) in rows)

    @api.model
    def _reduce_attached(self, email_ids):
        """Delete what may not be kept of stored events that have just found their documents, and rewrite its batches.

        :param email_ids: ids of the documents
        """
        self.env.flush_all()
        condition = SQL("email_id = ANY(%s) AND %s", list(email_ids), IS_SILENT)
        deleted = self._delete_interactions(condition)
        self._note_deleted(deleted)
        telling = self.env.execute_query(
            SQL("SELECT email_id FROM sendgrid_event WHERE %s AND %s", IS_BARABLE, condition)
        )
        # The verdicts need the details.
        self.env["sendgrid.email"].browse({email_id for (email_id,) in telling})._refresh_state()
        bared = self._bare_events(condition)
        decisions = {fingerprint: LEAVE_OUT for _email, _batch, fingerprint, _ours in deleted}
        decisions |= {fingerprint: BARE for _batch, fingerprint in bared}
        batch_ids = {batch for _email, batch, _fingerprint, _ours in deleted} | {batch for batch, _name in bared}
        batches = self.env["sendgrid.event.batch"].browse(sorted(filter(None, batch_ids)))
        self._rewrite(batches.filtered(lambda batch: batch.state != "pending"), decisions)


def _decide(event):
    return LEAVE_OUT if event.event in INTERACTIONS else BARE
