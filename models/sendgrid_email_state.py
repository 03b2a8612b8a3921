from collections import defaultdict
from datetime import timedelta
from operator import attrgetter

from odoo import api, fields, models
from odoo.tools import SQL

from ..tools.events.event import ENGAGEMENT_EVENTS, StoredEvent
from ..tools.events.fold import fold
from ..tools.events.refusal import EXPIRED
from ..tools.times import to_datetime
from . import bulk
from .company_language import in_company_language

# SendGrid tries for 72 hours, and does not always report that it has stopped (Twilio docs: deferred messages).
TRIES_FOR = timedelta(hours=72)
EXPIRE_AT_ONCE = 1000
# The columns of stored events that the fold reads.
FOLDED = (
    "id",
    "email_id",
    "fingerprint",
    "event",
    "timestamp",
    "reason",
    "response",
    "smtp_status",
    "bounce_type",
    "refusal_cause",
    "asm_group_id",
    "sg_machine_open",
    "url",
    "url_offset",
    "user_agent",
    "ip",
    "verdict",
    "machine_reason",
    "is_final",
    "is_colleague",
    "answer",
)
# The columns that the fold fills, each with the attribute of `tools.events.fold.State`.
FIGURES = {
    "status_reason": "reason",
    "refusal_cause": "refusal_cause",
    "processed_date": "processed",
    "delivered_date": "delivered",
    "first_open_date": "first_open",
    "last_open_date": "last_open",
    "open_count": "open_count",
    "click_count": "click_count",
    "unknown_open_count": "unknown_open_count",
    "unknown_click_count": "unknown_click_count",
    "machine_open_count": "machine_open_count",
    "machine_click_count": "machine_click_count",
    "person_open_date": "person_open",
    "person_click_date": "person_click",
    "reply_date": "reply",
    "is_unsubscribed_by_machine": "is_unsubscribed_by_machine",
}
MOMENTS = {column for column in FIGURES if column.endswith("_date")}
_get_figures = attrgetter(*FIGURES.values())
# Rules run for documents in which one of these changes.
WATCHED = ("status", "person_open_date", "person_click_date", "reply_date", "is_unsubscribed_by_machine")


class SendgridEmail(models.Model):
    """The state of a document, computed from its events and written to its columns, and the end of the 72 hours."""

    _inherit = "sendgrid.email"

    def _refresh_state(self):
        """Compute status, dates and counts of the documents again from their stored events. Consequences follow.

        The number of queries does not depend on the number of events.
        """
        self._apply_states(*self._fold_events({}))

    def _fold_events(self, new_events):
        """Compute the states of the documents from their stored events and from events that are stored next.

        :param new_events: {document id: list of `tools.events.event.Event`}
        :return: ({document id: `tools.events.fold.State`}, list of the stored events as
            `tools.events.event.StoredEvent`)
        """
        stored = (
            self.env["sendgrid.event"]._read_stored(SQL("email_id = ANY(%s)", list(self.ids)), FOLDED) if self else []
        )
        events = defaultdict(list, {id_: list(added) for id_, added in new_events.items()})
        for event in stored:
            events[event.email_id].append(event)
        arrived = self._get_arrived({id_ for id_, told in events.items() for e in told if e.bounce_type == EXPIRED})
        return {id_: fold(events[id_], id_ in arrived) for id_ in self.ids}, stored

    @api.model
    def _get_arrived(self, expired_ids):
        """Return the ids of those documents for which giving up was wrong: what is not kept proved that they arrived.

        :param expired_ids: ids of documents that were given up, which are few
        """
        if not expired_ids:
            return set()
        emails = self.search([("id", "in", list(expired_ids)), ("has_arrived", "=", True)])
        return set(emails.ids)

    def _apply_states(self, states, stored_events, keys=None):
        """Write changed states to the documents and changed verdicts to their stored events, then run consequences.

        :param states: {document id: `tools.events.fold.State`}
        :param stored_events: list of the `tools.events.event.StoredEvent` from which the states were computed
        :param keys: {document id: message key to write}; it may name other documents as well
        """
        keys = keys or {}
        others = keys.keys() - set(self.ids)
        self._write_columns({id_: {"sg_message_id": keys[id_]} for id_ in others})
        if not self:
            return
        verdicts = defaultdict(list)
        for event in stored_events:
            verdict = states[event.email_id].verdicts.get(event.fingerprint)
            if verdict and (verdict.verdict, verdict.reason) != (event.verdict, event.machine_reason):
                verdicts[verdict].append(event.id)
        for verdict, ids in verdicts.items():
            events = self.env["sendgrid.event"].browse(ids)
            events.write(events._prepare_verdict_vals(verdict))
        rows, watched, changes, left, interacted, answered = {}, {}, {}, {}, {}, set()
        columns = ("sg_message_id", "status", "facts", *FIGURES, "sent_date", "date")
        watched_at = [columns.index(name) for name in WATCHED]
        reply_at = columns.index("reply_date")
        # A further answer changes no column, and is news all the same.
        answered_again = {
            id_ for id_ in states for e in states[id_].events if e.answer and not isinstance(e, StoredEvent)
        }
        now = fields.Datetime.now()
        Interaction = self.env["sendgrid.interaction"]
        for id_, (*before, sent_date, date) in self._read_columns(columns):
            state = states[id_]
            if not sent_date:
                if not state.events:
                    continue  # it did not leave, so that there is nothing to compute
                left[id_] = {"sent_date": date, "sent_count": 1}
            # A message key has to be written even if the events change nothing else.
            told = state.told
            after = (keys.get(id_) or before[0], state.status, told, *self._prepare_figures(state))
            if [value or None for value in before] != [value or None for value in after]:
                rows[id_] = dict(zip((*columns[:-2], "write_date"), (*after, now), strict=True))
            if id_ in answered_again or (before[reply_at] or None) != (after[reply_at] or None):
                answered.add(id_)
            if id_ in rows or id_ in answered_again:
                interacted[id_] = Interaction._get_kinds(dict(zip(columns, before, strict=False))), state
            if id_ in rows and any((before[at] or None) != (after[at] or None) for at in watched_at):
                watched[id_] = {name: before[at] for name, at in zip(WATCHED, watched_at, strict=True)}
            if told != (before[2] or {}) or id_ in answered:
                changes[id_] = before[2] or {}
        # Odoo took these for not sent, and they did leave: SendGrid reports about them.
        self._write_columns(left)
        # Rules and consequences read these documents only. Without this `fetch`, core would read all their columns as
        # soon as one is asked for.
        self.browse({*watched, *changes}).fetch(["account_id", "recipient", *WATCHED])
        # Write all in one UPDATE, because each UPDATE writes the row and its index entries anew.
        with self._hiding_machine_unsubscriptions(rows, watched, states, stored_events):
            self.env["base.automation"]._run_on_write(
                self.browse(watched), list(WATCHED), lambda: self._write_columns(rows)
            )
        Interaction._update_from(interacted)
        self.env["sendgrid.consequence"]._apply_consequences(
            # Take the documents from one recordset, so that a field that is read of one is prefetched for all.
            {email: (changes[email.id], states[email.id]) for email in self.browse(changes)},
            self._get_clicked_of_mailings(states),
            answered,
        )

    def _fold_quietly(self):
        """Compute the documents again from their stored events, where events were deleted that are not kept any more.

        Neither automation rules nor consequences run: nothing new has happened.

        :return: {document id: `tools.events.fold.State`}
        """
        states, _stored = self._fold_events({})
        columns = ("status", "facts", *FIGURES)
        rows, gone, now = {}, {}, fields.Datetime.now()
        Interaction = self.env["sendgrid.interaction"]
        for id_, (*before, sent_date) in self._read_columns((*columns, "sent_date")):
            state = states[id_]
            after = (state.status, state.told, *self._prepare_figures(state))
            if sent_date and [value or None for value in before] != [value or None for value in after]:
                rows[id_] = dict(zip((*columns, "write_date"), (*after, now), strict=True))
                had = Interaction._get_kinds(dict(zip(columns, before, strict=True)))
                gone[id_] = had - Interaction._get_moments(state).keys()
        self._write_columns(rows)
        Interaction._delete_kinds(gone)
        return states

    def _get_clicked_of_mailings(self, states):
        """Return those of the documents that belong to a mass mailing and have clicks, each with its state.

        :param states: {document id: `tools.events.fold.State`}
        """
        if "mailing.trace" not in self.env:
            return []
        clicked = self.browse(id_ for id_ in self.ids if any(e.event == "click" for e in states[id_].events))
        clicked.fetch(["mailing_res_id"])
        return [(email, states[email.id]) for email in clicked if email.mailing_res_id]

    @api.model
    def _prepare_figures(self, state):
        """Return the values of the columns of `FIGURES` in that order.

        :param state: `tools.events.fold.State`
        """
        return [
            (to_datetime(value) or None if column in MOMENTS else value) if value not in (None, "") else None
            for column, value in zip(FIGURES, _get_figures(state), strict=True)
        ]

    def _read_columns(self, names):
        """Read columns of the documents in SQL, because thousands are compared and few of them change.

        :param names: names of the columns
        :return: list of (id, list of values) in the order of the documents, without those that do not exist
        """
        self.flush_recordset(names)
        rows = self.env.execute_query(
            SQL(
                "SELECT id, %s FROM sendgrid_email WHERE id = ANY(%s)",
                SQL(", ").join(map(SQL.identifier, names)),
                list(self.ids),
            )
        )
        found = {id_: values for id_, *values in rows}
        return [(id_, found[id_]) for id_ in self.ids if id_ in found]

    @api.model
    def _write_columns(self, values_by_id):
        """Write values to many documents in one query, other ones for each; see `bulk.update`."""
        bulk.update(self, values_by_id)

    # ------------------------------------------------------------
    # EXPIRY
    # ------------------------------------------------------------

    @api.model
    @in_company_language
    def _cron_expire(self):
        """Add an event "not delivered" to e-mails that are still deferred after 72 hours, as SendGrid may send none.

        If a real event comes later, it corrects the state.
        """
        self._run_job("giving up deferred e-mails", self._expire_all)

    @api.model
    def _expire_all(self):
        """Expire e-mails piece by piece, as `sendgrid.job.mixin` asks for; yield the number of each piece."""
        is_full = True
        while is_full:
            emails = self.sudo().with_context(sendgrid_drain=True)._expire()  # see base.automation
            is_full = len(emails) == EXPIRE_AT_ONCE
            yield len(emails)

    @api.model
    def _expire(self):
        """Expire up to `EXPIRE_AT_ONCE` e-mails.

        :return: the documents that expired
        """
        self.env["sendgrid.event"].flush_model()
        rows = self.env.execute_query(
            SQL(
                """SELECT email.id, min(event.timestamp)
                     FROM sendgrid_email email
                     JOIN sendgrid_event event ON event.email_id = email.id AND event.event = 'deferred'
                    WHERE email.status = 'deferred' AND email.has_arrived IS NOT TRUE
                      -- An e-mail that a machine opened has arrived, and one that has expired shall not expire twice.
                      AND NOT EXISTS (
                          SELECT 1 FROM sendgrid_event later
                           WHERE later.email_id = email.id
                             AND later.is_colleague IS NOT TRUE
                             AND (later.bounce_type = %s OR later.event IN %s))
                 GROUP BY email.id HAVING min(event.timestamp) < %s
                 ORDER BY email.id LIMIT %s""",
                EXPIRED,
                ENGAGEMENT_EVENTS,
                fields.Datetime.now() - TRIES_FOR,
                EXPIRE_AT_ONCE,
            )
        )
        emails = self.browse(id_ for id_, _first in rows)
        self.env["sendgrid.event"].create(
            [
                {
                    "email_id": email.id,
                    "account_id": email.account_id.id,
                    "match": "own",
                    "event": "bounce",
                    "bounce_type": EXPIRED,
                    "refusal_cause": "temporary",
                    "reason": self.env._("Not delivered within 72 hours."),
                    "timestamp": first + TRIES_FOR,
                    "recipient": email.recipient,
                    "fingerprint": f"{EXPIRED}-{email.id}",
                }
                for email, (_id, first) in zip(emails, rows, strict=True)
            ]
        )
        emails._refresh_state()
        emails._notify_changed()
        self.env.flush_all()
        return emails
