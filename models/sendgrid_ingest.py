from collections import Counter, defaultdict
from itertools import compress
from operator import attrgetter

from odoo import api, models
from odoo.tools import SQL

from ..tools.address_form import all_spellings, comparable
from ..tools.events.answer import REPLIES
from ..tools.events.engagement import JUDGED, NOBODYS
from ..tools.events.engagement_rules import WISHES
from ..tools.events.event import (
    ADDRESS_EVENTS,
    ASKED,
    SOURCES,
    TIME_TOLERANCE,
    StoredEvent,
    is_repeated,
    is_same,
    says_more,
)
from ..tools.events.rewriting import BARE, LEAVE_OUT, cut_url
from ..tools.times import to_datetime
from . import bulk

# The columns that take the value of the attribute of `tools.events.event.Event` with the same name.
TOLD = (
    "event",
    "recipient",
    "reason",
    "response",
    "smtp_status",
    "attempt",
    "bounce_type",
    "bounce_classification",
    "refusal_cause",
    "url",
    "url_offset",
    "ip",
    "user_agent",
    "asm_group_id",
    "unread",
    "sg_event_id",
    "odoo_id",
    "fingerprint",
    "answer",
    "answer_message_id",
)
_get_told = attrgetter(*TOLD)
# The matches of events about e-mails that other programs have sent.
FOREIGN = ("unknown", "foreign")
# The columns that tell whether a report is of an event that is stored; see `tools.events.event.is_repeated`.
IDENTIFYING = (
    "id",
    "fingerprint",
    "event",
    "timestamp",
    "source",
    "ip",
    "user_agent",
    "sg_machine_open",
    "is_final",
    "is_colleague",
)
# The columns by which two reports are compared; see `tools.events.event.is_same`.
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
    "ip",
    "user_agent",
    "is_final",
    "is_colleague",
)


def is_decided(event):
    """Tell whether it was decided of an event if a colleague did it. Once its details are forgotten, nobody can.

    :param event: `tools.events.event.Event` or `StoredEvent`
    """
    return event.is_colleague is not None or event.is_final


class SendgridIngest(models.AbstractModel):
    """The storing of parsed events: it drops those that are known, matches the others, and updates their documents.

    The drain calls `_ingest`; the other methods are its parts.
    """

    _name = "sendgrid.ingest"
    _description = "Ingestion of Events"

    @api.model
    def _ingest(self, received):
        """Store the new ones among parsed events, and update the state of their documents. Consequences follow.

        The number of queries does not depend on the number of events.

        :param received: list of (`sendgrid.event.batch` record, `tools.events.event.Event`)
        :return: (`Counter` of new events without a document by batch, SendGrid's own tests left out, `Counter` of
            duplicates by batch, the documents (`sendgrid.email`) that got events, and what may not stay in the bodies:
            {fingerprint: what becomes of the event there, see `tools.events.rewriting`})
        """
        Match, Reduction = self.env["sendgrid.match"], self.env["sendgrid.reduction"]
        received = self.env["sendgrid.answer"]._find_documents(received)
        batches = {batch.id: batch for batch in dict(received)}
        shared = {id_: self._prepare_shared(batch) for id_, batch in batches.items()}
        keeping = self.env["sendgrid.retention"]._get_keeping({batch.account_id for batch in batches.values()})
        # This comes first, because it locks the addresses, which everybody locks before documents.
        silent = Reduction._get_silent_of([event for _batch, event in received], is_locking=True)
        baring = {id_ for id_, batch in batches.items() if batch.account_id not in keeping}
        decisions = {event.fingerprint: BARE for batch, event in received if batch.id in baring} if baring else {}
        decisions |= Reduction._decide_by_address([event for _batch, event in received], silent)
        received, foreign = self._set_aside_foreign(received)
        foreign = [told for told in foreign if decisions.get(told[1].fingerprint) != LEAVE_OUT]
        # If several batches report the same event, the webhook's report comes first and stays.
        order = {id_: SOURCES.index(columns["source"] or "webhook") for id_, columns in shared.items()}
        received = sorted(received, key=lambda told: order[told[0].id])
        known, replaced, decided, final = self._get_known_fingerprints(received)
        # What is stored without its details is not kept with them in another body either.
        decisions = dict.fromkeys(final, BARE) | decisions
        new, duplicates = [], Counter()
        for batch, event in received:
            if event.fingerprint in known:
                duplicates[batch] += 1
            else:
                known.add(event.fingerprint)
                new.append((batch, event))
        self._decide_colleagues(new, decided)
        matches, keys = Match._match([(shared[batch.id]["account_id"], event) for batch, event in new])
        decisions |= Reduction._decide_by_document(new, matches, silent)
        emails = replaced | Reduction._note_arrived(new, matches, decisions)
        kept = [decisions.get(event.fingerprint) != LEAVE_OUT for _batch, event in new]
        new, matches = list(compress(new, kept)), list(compress(matches, kept))
        # New events may teach a message key, by which earlier events find their document. Attach these first, so that
        # the new events are compared with them.
        attached = emails.browse()
        if Match._has_unknown(keys):
            attached = Match._match_by_keys(keys)
            emails |= attached
            keys = {}
        new, matches, decided_anew = self._drop_poorer_reports(new, matches, duplicates, attached)
        emails |= decided_anew
        emails |= self.env["sendgrid.event"]._settle_held(
            [(shared[batch.id]["account_id"], event) for batch, event in new]
        )
        added = defaultdict(list)
        for (_batch, event), (_match, document) in zip(new, matches, strict=True):
            if document:
                added[document.id].append(event)
        emails |= emails.browse(added)
        # Compute the states before the events are inserted: each event is inserted with its verdict, which automation
        # rules on the creation of events may read.
        states, stored = emails._fold_events(added)
        alone = self._judge_without_document(new, matches, decisions)
        rows = [
            shared[batch.id]
            | self._prepare_row(
                event, match, document, (states[document.id].verdicts if document else alone).get(event.fingerprint)
            )
            for (batch, event), (match, document) in zip(new, matches, strict=True)
        ]
        # Not before the verdicts, which need the details.
        for (_batch, event), row in zip(new, rows, strict=True):
            if event.fingerprint in decisions:
                self._bare(row)
        events = self._insert(rows)
        emails._apply_states(states, stored, keys)
        about_account = [id_ for id_, row in zip(events.ids, rows, strict=True) if row["match"] == "account"]
        events = events.browse(about_account)
        events.account_id._apply_account_events(events)
        unmatched = Counter(
            batch
            for (batch, _event), (match, found) in zip(new, matches, strict=True)
            if not found and match != "test"  # SendGrid's own test belongs to no e-mail, and nothing is wrong with it
        )
        unmatched.update(batch for batch, _event in foreign)
        foreign += [told for told, (match, _found) in zip(new, matches, strict=True) if match in FOREIGN]
        self.env["sendgrid.account.foreign"]._add(
            # Batches that are processed again have been counted, and those that Odoo asked for repeat what was told.
            Counter((batch, event.event) for batch, event in foreign if not self._is_counted(batch))
        )
        return unmatched, duplicates, emails, decisions

    @api.model
    def _judge_without_document(self, new, matches, decisions):
        """Return the verdicts on new events that lose their details before they have a document.

        The first two parameters are those of `_drop_poorer_reports`.

        :param decisions: {fingerprint: what becomes of the event}, see `tools.events.rewriting`
        :return: {fingerprint: `tools.events.engagement.Verdict`}
        """
        waiting = [event for (_batch, event), (_match, document) in zip(new, matches, strict=True) if not document]
        if decisions.keys().isdisjoint(event.fingerprint for event in waiting):
            return {}
        verdicts = self.env["sendgrid.event"]._judge_alone(waiting)
        return {name: verdict for name, verdict in verdicts.items() if name in decisions}

    @api.model
    def _bare(self, row):
        """Take the details out of the row of a new event, as `sendgrid.retention` does later: its verdict is final."""
        url = row["url"] and cut_url(row["url"])
        row["is_final"] = bool(row["event"] in JUDGED or row["ip"] or row["user_agent"] or url != row["url"]) or None
        row.update(ip=None, user_agent=None, url=url)

    @api.model
    def _decide_colleagues(self, new, decided):
        """Decide once and for all which of the new events are colleagues'.

        :param new: list of (`sendgrid.event.batch` record, `tools.events.event.Event`)
        :param decided: {fingerprint: what was decided before}
        """
        self.env["sendgrid.event"]._note_colleagues(
            [(batch, event) for batch, event in new if event.fingerprint not in decided]
        )
        if decided:
            for _batch, event in new:
                event.is_colleague = decided.get(event.fingerprint, event.is_colleague)

    @api.model
    def _is_counted(self, batch):
        return batch.event_count or batch.source != "webhook"

    @api.model
    def _set_aside_foreign(self, received):
        """Set aside the events of SendGrid's newsletters, which are not stored unless their account says so.

        There can be hundreds of thousands on one day, about people that Odoo may not know. Those stay that tell how
        things stand with an address of ours: somebody can attach them by hand.

        :param received: as for `_ingest`
        :return: (``received`` without them, list of those that were set aside)
        """
        keeping = {batch: batch.account_id.keep_foreign_events for batch in dict(received)}
        suspects = [told for told in received if told[1].is_marketing and not keeping[told[0]]]
        if not suspects:
            return received, []
        own = self._get_own_addresses({event.recipient for _b, event in suspects if event.event in ADDRESS_EVENTS})
        suspects = [
            (batch, event)
            for batch, event in suspects
            if not (event.event in ADDRESS_EVENTS and event.recipient in own)
        ]
        matches, _keys = self.env["sendgrid.match"]._match([(batch.account_id.id, event) for batch, event in suspects])
        foreign = [told for told, (match, _found) in zip(suspects, matches, strict=True) if match == "unknown"]
        set_aside = {id(event) for _batch, event in foreign}
        return [told for told in received if id(told[1]) not in set_aside], foreign

    @api.model
    def _get_own_addresses(self, addresses):
        """Return those of some addresses that a contact, a lead or a document has, or that something is known of.

        :param addresses: set of comparable addresses
        """
        addresses = {address for address in addresses if address}
        if not addresses:
            return set()
        rows = self.env.execute_query(
            SQL(
                """SELECT email_normalized FROM res_partner WHERE email_normalized = ANY(%(spellings)s)
                   UNION
                   SELECT email_normalized FROM crm_lead WHERE email_normalized = ANY(%(spellings)s)
                   UNION
                   SELECT email FROM sendgrid_address WHERE email = ANY(%(addresses)s)
                   UNION
                   SELECT recipient FROM sendgrid_email WHERE recipient = ANY(%(addresses)s)""",
                addresses=list(addresses),
                spellings=all_spellings(addresses),
            )
        )
        found = {comparable(address) for (address,) in rows}
        for Model in (self.env["res.partner"], self.env["crm.lead"]):
            if missing := addresses - found:
                for emails in Model._get_with_several_addresses(missing).values():
                    found |= missing.intersection(emails)
        # Mailing contacts come last, because core has no index on their addresses. Their app may not be installed.
        if "mailing.contact" in self.env and (missing := addresses - found):
            rows = self.env.execute_query(
                SQL(
                    "SELECT email_normalized FROM mailing_contact WHERE email_normalized = ANY(%s)",
                    all_spellings(missing),
                )
            )
            found |= {comparable(address) for (address,) in rows}
        return found

    @api.model
    def _get_known_fingerprints(self, received):
        """Return the fingerprints of the events that are stored already.

        If Odoo has asked for an event (its ``source`` is set), and the webhook reports it now, the stored event is
        deleted and does not count as known, because the webhook tells more. A stored event may have the fingerprint
        that an earlier version gave it; what is returned are the present ones.

        :param received: as for `_ingest`
        :return: (set of fingerprints, documents (`sendgrid.email`) whose events were deleted, {fingerprint: whether
            it is a colleague's} of the deleted events for which this was decided, and the fingerprints of those that
            are stored without their details)
        """
        Event = self.env["sendgrid.event"]
        # Only an upgraded database has events with names of before. To make these names takes time for each event.
        until = int(self.env["ir.config_parameter"].sudo().get_param("sendgrid_tracking.former_names_until") or 0)
        names = {event.fingerprint for _batch, event in received}
        if until:
            names |= {event.former_fingerprint for _batch, event in received if event.timestamp < until} - {""}
        stored = Event._read_stored(SQL("fingerprint = ANY(%s)", list(names)), IDENTIFYING)
        twins = {twin.fingerprint: twin for twin in stored}
        known, asked_for, told, replaced, decided, final = set(), set(), set(), set(), {}, set()
        # Nearly always nothing is stored yet.
        named = [
            (name, batch.source, event)
            for batch, event in (received if twins else ())
            for name in (event.fingerprint, event.former_fingerprint if event.timestamp < until else "")
            if name in twins
        ]
        for name, source, event in named:
            twin = twins[name]
            if name != event.fingerprint and not is_repeated(event, source, twin):
                continue
            if twin.is_final:
                final.add(event.fingerprint)
            if twin.source == "webhook":
                known.add(event.fingerprint)
            elif source == "webhook":
                told.add(event.fingerprint)
                replaced.add(twin.id)
                if is_decided(twin):
                    decided[event.fingerprint] = bool(twin.is_colleague)
            else:
                asked_for.add(event.fingerprint)
        replaced = Event.browse(sorted(replaced))
        emails = replaced.email_id
        replaced.unlink()
        return known | (asked_for - told), emails, decided, final

    @api.model
    def _drop_poorer_reports(self, new, matches, duplicates, attached):
        """Drop the reports of which another source knows more. Stored ones are deleted, new ones count as duplicates.

        SendGrid's history and its lists tell fewer details than its webhook. So their reports of one interaction have
        different fingerprints, and have to be compared detail by detail.

        :param new: list of (`sendgrid.event.batch` record, `tools.events.event.Event`)
        :param matches: list of their matches in the same order, as `sendgrid.match._match` returns them
        :param duplicates: `Counter` by batch, to which dropped new reports are added
        :param attached: documents (`sendgrid.email`) that have just got stored reports, which were not compared then
        :return: ``new`` and ``matches`` without the dropped reports, and the documents of stored events
            that are decided otherwise now
        """
        asked_for = any(batch.source in ASKED for batch in dict(new))
        reports = defaultdict(list)
        email_ids = {found.id for _match, found in matches if found} | set(attached.ids)
        for event in self._read_reports(email_ids, asked_for or attached):
            reports[event.email_id].append((event.source, event))
        if not asked_for and not reports:
            return new, matches, attached.browse()
        for (batch, event), (_match, document) in zip(new, matches, strict=True):
            if document and not event.answer:
                reports[document.id].append((batch.source, event))
        poorer, poorer_of = [], defaultdict(list)
        for told in reports.values():
            for source, event in told:
                better = [other for other in told if source != "webhook" and self._is_better(other, source, event)]
                if better:
                    poorer.append(event)
                    for _source, other in better:
                        poorer_of[id(other)].append(event)
        dropped = set(map(id, poorer))
        better = [event for told in reports.values() for _source, event in told if id(event) in poorer_of]
        decided_anew = self._share_decisions([event for event in better if id(event) not in dropped], poorer_of)
        self.env["sendgrid.event"].browse(event.id for event in poorer if isinstance(event, StoredEvent)).unlink()
        duplicates.update(batch for batch, event in new if id(event) in dropped)
        kept = [pair for pair in zip(new, matches, strict=True) if id(pair[0][1]) not in dropped]
        return [told for told, _match in kept], [match for _told, match in kept], decided_anew

    @api.model
    def _share_decisions(self, kept, poorer_of):
        """Let an event keep what was decided first of its reports: whether a colleague did it, whoever tells of it.

        A report that tells too little decides nothing, so that the order of the reports does not matter.

        :param kept: list of the events that stay, `tools.events.event.Event` or `StoredEvent`
        :param poorer_of: {id() of an event: list of the reports of it that are dropped}
        :return: the documents (`sendgrid.email`) of stored events that are decided otherwise now
        """
        stored = {True: [], False: []}
        for event in kept:
            reports = [one for one in (event, *poorer_of[id(event)]) if is_decided(one)]
            # What is stored was decided before. Of reports that come together, any will do.
            reports.sort(
                key=lambda one: (0, one.id) if isinstance(one, StoredEvent) else (1, 0 if one.is_colleague else 1)
            )
            if not reports or reports[0] is event:
                continue
            decision = bool(reports[0].is_colleague)
            if isinstance(event, StoredEvent) and event.is_colleague != decision:
                stored[decision].append(event)
            event.is_colleague = decision
        for decision, events in stored.items():
            if events:
                self.env["sendgrid.event"].browse(event.id for event in events).write({"is_colleague": decision})
        return self.env["sendgrid.email"].browse({event.email_id for event in stored[True] + stored[False]})

    @api.model
    def _is_better(self, other, source, event):
        other_source, other_event = other
        if other_source == source:
            # SendGrid's two histories do not tell the same details.
            return says_more(other_event, event)
        tolerance = TIME_TOLERANCE if source == "suppressions" else 0
        return SOURCES.index(other_source) < SOURCES.index(source) and is_same(other_event, event, tolerance)

    @api.model
    def _read_reports(self, email_ids, all_sources):
        """Return stored events of documents.

        :param email_ids: ids of the documents
        :param bool all_sources: return the webhook's as well, and not only those that Odoo has asked for
        :return: list of `tools.events.event.StoredEvent` with the columns `COMPARED`
        """
        if not email_ids:
            return []
        condition = SQL("match != 'own'") if all_sources else SQL("source IN %s", ASKED)
        return self.env["sendgrid.event"]._read_stored(
            SQL("email_id = ANY(%s) AND %s", list(email_ids), condition), COMPARED
        )

    @api.model
    def _prepare_shared(self, batch):
        """Return the columns that all new events of a batch share, as a dict."""
        return {
            "account_id": batch.account_id.id,
            "batch_id": batch.id,
            "source": batch.source if batch.source != "webhook" else None,
            "create_date": self.env.cr.now(),
        }

    @api.model
    def _prepare_row(self, event, match, document, verdict):
        """Return the other columns of a new event, as a dict. Empty texts become NULL, which takes no room."""
        row = {name: None if value == "" else value for name, value in zip(TOLD, _get_told(event), strict=True)}
        return row | {
            "email_id": document.id if document else None,
            "match": match,
            "timestamp": to_datetime(event.timestamp),
            "sg_machine_open": event.sg_machine_open or None,
            "verdict": verdict.verdict if verdict else None,
            "is_machine": verdict.is_machine if verdict else None,
            "machine_reason": (verdict.reason or None) if verdict else None,
            "is_colleague": event.is_colleague,
            "is_final": None,
            "sg_message_id": event.message_key or None,
            "smtp_id": None if document else event.smtp_id or None,
        }

    @api.model
    def _insert(self, rows):
        """Insert events in SQL, as the ORM would take five times as long. Automation rules run as after `create`.

        They pass over unsubscriptions by machines, which are nobody's wish, over whatever colleagues did, and over
        answers that count for nobody.

        :param rows: list of dicts, all with the same columns
        :return: the events (`sendgrid.event`), in the order of ``rows``
        """
        Event = self.env["sendgrid.event"]
        if not rows:
            return Event
        # If a second drain has just stored an event, "ON CONFLICT DO NOTHING" makes PostgreSQL report a serialization
        # failure, and the transaction is tried again. Without it the batch would fail for a duplicate.
        inserted = bulk.insert(Event, rows, conflict=bulk.SKIP_KNOWN)
        events = Event.browse(sorted(id_ for (id_,) in inserted))
        self.env["sendgrid.email"].invalidate_model(["event_ids", "journey"])
        events.modified(rows[0], create=True)
        counted = [
            not (
                row["is_colleague"]
                or (row["verdict"] in NOBODYS and row["event"] in WISHES)
                or (row["answer"] and row["answer"] not in REPLIES)
            )
            for row in rows
        ]
        self.env["base.automation"]._run_on_create(events.browse(compress(events.ids, counted)))
        return events
