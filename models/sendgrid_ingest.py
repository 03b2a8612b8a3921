from collections import Counter, defaultdict

from odoo import api, models
from odoo.tools import SQL

from ..tools.events.event import SOURCES, TIME_TOLERANCE, StoredEvent, is_same
from ..tools.times import to_datetime
from . import bulk

# The columns that hold what was told of an event under the same name as `tools.events.event.Event`.
TOLD = (
    "event",
    "recipient",
    "reason",
    "response",
    "smtp_status",
    "attempt",
    "bounce_type",
    "bounce_classification",
    "url",
    "url_offset",
    "ip",
    "user_agent",
    "asm_group_id",
    "sg_event_id",
    "odoo_id",
    "fingerprint",
)
# Two reports are compared by these (see `tools.events.event.is_same`).
COMPARED = (
    "id",
    "email_id",
    "source",
    "event",
    "timestamp",
    "sg_message_id",
    "url",
    "url_offset",
    "attempt",
    "bounce_type",
    "asm_group_id",
    "reason",
)


class SendgridIngest(models.AbstractModel):
    """The way of parsed events into the database: those that are new, each with its document, and what they change.

    Others call `_ingest`.
    """

    _name = "sendgrid.ingest"
    _description = "Ingestion of Events"

    @api.model
    def _ingest(self, received):
        """Create the new ones among parsed events, each with its document, and bring the documents up to date.

        The number of queries does not depend on the number of events.

        :param received: list of (`sendgrid.event.batch` record, `tools.events.event.Event`)
        :return: `Counter`s by batch of the new events without a document, and of those that were known; and the
            documents (`sendgrid.email`) that got events
        """
        Match = self.env["sendgrid.match"]
        # If several tell of one event at once, the webhook's word comes first.
        shared = {batch.id: self._prepare_shared(batch) for batch in dict(received)}
        order = {id_: SOURCES.index(columns["source"] or "webhook") for id_, columns in shared.items()}
        received = sorted(received, key=lambda told: order[told[0].id])
        known, replaced = self._get_known_fingerprints(received)
        new, duplicates = [], Counter()
        for batch, event in received:
            if event.fingerprint in known:
                duplicates[batch] += 1
            else:
                known.add(event.fingerprint)
                new.append((batch, event))
        matches, keys = Match._match([(shared[batch.id]["account_id"], event) for batch, event in new])
        emails = replaced
        # Earlier events are attached before they are compared with the new ones.
        if Match._has_unknown(keys):
            emails |= Match._match_by_keys(keys)
            keys = {}
        new, matches = self._drop_poorer_reports(new, matches, duplicates)
        added = defaultdict(list)
        for (_batch, event), (_match, document) in zip(new, matches, strict=True):
            if document:
                added[document.id].append(event)
        emails |= emails.browse(added)
        # The events are folded before they are created, so that each is born with its verdict: rules watch it.
        states, stored = emails._fold_events(added)
        rows = [
            shared[batch.id]
            | self._prepare_row(
                event, match, document, document and states[document.id].verdicts.get(event.fingerprint)
            )
            for (batch, event), (match, document) in zip(new, matches, strict=True)
        ]
        events = self._insert(rows)
        emails._apply_states(states, stored, keys)
        about_account = [id_ for id_, row in zip(events.ids, rows, strict=True) if row["match"] == "account"]
        events = events.browse(about_account)
        events.account_id._apply_account_events(events)
        unmatched = Counter(batch for (batch, _event), (_match, found) in zip(new, matches, strict=True) if not found)
        return unmatched, duplicates, emails

    @api.model
    def _get_known_fingerprints(self, received):
        """Return which events are stored. The webhook's report replaces one that was asked for, since it tells more.

        :return: the fingerprints, and the documents (`sendgrid.email`) whose events are replaced
        """
        Event = self.env["sendgrid.event"]
        Event.flush_model(["fingerprint", "source"])
        rows = self.env.execute_query(
            SQL(
                "SELECT fingerprint, source FROM sendgrid_event WHERE fingerprint = ANY(%s)",
                [event.fingerprint for _batch, event in received],
            )
        )
        known = {fingerprint for fingerprint, _source in rows}
        replaced = Event.browse()
        if any(source for _fingerprint, source in rows):
            told = {event.fingerprint for batch, event in received if batch.source == "webhook"}
            told &= {fingerprint for fingerprint, source in rows if source}
            replaced = Event.search([("fingerprint", "in", list(told))])
            known -= told
        emails = replaced.email_id
        replaced.unlink()
        return known, emails

    @api.model
    def _drop_poorer_reports(self, new, matches, duplicates):
        """Drop a report of an interaction that somebody else has told in more detail, be it new or stored.

        SendGrid's history and lists tell less than its webhook, so that the fingerprints of their reports differ.

        :param new: list of (`sendgrid.event.batch` record, `tools.events.event.Event`)
        :param matches: their matches, see `sendgrid.match`
        :param duplicates: `Counter` by batch, to which the dropped new ones are added
        :return: ``new`` and ``matches`` without the poorer reports
        """
        asked_for = any(batch.source != "webhook" for batch, _event in new)
        reports = defaultdict(list)
        for event in self._read_reports({found.id for _match, found in matches if found}, asked_for):
            reports[event.email_id].append((event.source, event))
        if not asked_for and not reports:
            return new, matches
        for (batch, event), (_match, document) in zip(new, matches, strict=True):
            if document:
                reports[document.id].append((batch.source, event))
        poorer = [
            event
            for told in reports.values()
            for source, event in told
            if source != "webhook" and any(self._is_better(other, source, event) for other in told)
        ]
        self.env["sendgrid.event"].browse(event.id for event in poorer if isinstance(event, StoredEvent)).unlink()
        dropped = set(map(id, poorer))
        duplicates.update(batch for batch, event in new if id(event) in dropped)
        kept = [pair for pair in zip(new, matches, strict=True) if id(pair[0][1]) not in dropped]
        return [told for told, _match in kept], [match for _told, match in kept]

    @api.model
    def _is_better(self, other, source, event):
        other_source, other_event = other
        tolerance = TIME_TOLERANCE if source == "suppressions" else 0
        return SOURCES.index(other_source) < SOURCES.index(source) and is_same(other_event, event, tolerance)

    @api.model
    def _read_reports(self, email_ids, all_sources):
        """Return the stored events of documents, unless ``all_sources`` only those that were asked for."""
        if not email_ids:
            return []
        condition = SQL("match != 'own'") if all_sources else SQL("source IS NOT NULL")
        return self.env["sendgrid.event"]._read_stored(
            SQL("email_id = ANY(%s) AND %s", list(email_ids), condition), COMPARED
        )

    @api.model
    def _prepare_shared(self, batch):
        """Return the columns of a new event that all events of a batch share."""
        return {
            "account_id": batch.account_id.id,
            "batch_id": batch.id,
            "source": batch.source if batch.source != "webhook" else None,
            "create_date": self.env.cr.now(),
        }

    @api.model
    def _prepare_row(self, event, match, document, verdict):
        """Return the other columns of a new event. Where nothing was said the column is NULL, which takes no room."""
        row = {name: None if (value := getattr(event, name)) == "" else value for name in TOLD}
        return row | {
            "email_id": document.id if document else None,
            "partner_id": document.partner_id if document else None,
            "match": match,
            "timestamp": to_datetime(event.timestamp),
            "sg_machine_open": event.sg_machine_open or None,
            "verdict": verdict.verdict if verdict else None,
            "is_machine": verdict.is_machine if verdict else None,
            "machine_reason": (verdict.reason or None) if verdict else None,
            "sg_message_id": event.message_key or None,
            "smtp_id": None if document else event.smtp_id or None,
        }

    @api.model
    def _insert(self, rows):
        """Create events in SQL: the ORM needs five times as long. Automation rules run as if it had been the ORM.

        :param rows: dicts, each with the same columns
        :return: the events (`sendgrid.event`), in the order of ``rows``
        """
        Event = self.env["sendgrid.event"]
        if not rows:
            return Event
        # An event that a second drain has just stored is then no error of the batch but a serialization failure.
        inserted = bulk.insert(Event, rows, conflict=bulk.SKIP_KNOWN)
        events = Event.browse(sorted(id_ for (id_,) in inserted))
        self.env["sendgrid.email"].invalidate_model(["event_ids", "journey"])
        events.modified(rows[0], create=True)
        self.env["base.automation"]._run_on_create(events)
        return events
