from collections import Counter, defaultdict
from datetime import timedelta
from typing import NamedTuple

from odoo import api, fields, models
from odoo.exceptions import AccessError
from odoo.fields import Domain
from odoo.tools import SQL

from ..tools.events import device, engagement
from ..tools.events.event import ABOUT, ACCOUNT_EVENT, SOURCES, TEST_RECIPIENT, Event, is_same
from ..tools.events.fold import EXPIRED, FAILURES, bounce_status
from .sendgrid_email import to_datetime, to_seconds
from .to_table import to_table

# An event can arrive before the transaction of its e-mail is committed, and SendGrid repeats it for 24 hours at most.
EARLY_FOR = timedelta(hours=24)
UNMATCHED_FOR = timedelta(days=30)
COLLECT_AT_ONCE = 5000


class Face(NamedTuple):
    """How an event looks: a name, a Font Awesome icon, a Bootstrap tone, and what it means for a salesperson."""

    name: str
    icon: str
    tone: str
    explanation: str


class Report(NamedTuple):
    """An event of an e-mail as somebody told it; the other names are those of `tools.events.event.Event`.

    ``id`` is the record's, or the position among the new ones.
    """

    id: int
    source: str
    event: str
    timestamp: int
    message_key: str
    url: str
    url_offset: str
    attempt: int | None
    bounce_type: str
    asm_group_id: int | None
    reason: str
    is_new: bool = False


class SendgridEvent(models.Model):
    """One interaction with one e-mail, as SendGrid reported it. One row, however often it is reported."""

    _name = "sendgrid.event"
    _description = "SendGrid Event"
    _order = "timestamp desc, id desc"
    _rec_name = "event"
    _inherit = ["sendgrid.visibility.mixin"]
    _allow_sudo_commands = False

    email_id = fields.Many2one(
        "sendgrid.email",
        string="E-mail",
        readonly=True,
        index="btree_not_null",
        ondelete="set null",
        help="Empty: no e-mail of this database was found for the event.",
    )
    account_id = fields.Many2one(
        "sendgrid.account", readonly=True, required=True, ondelete="restrict", groups="base.group_system"
    )
    match = fields.Selection(
        [
            ("odoo_id", "Exact (our identifier)"),
            ("sg_message_id", "Exact (SendGrid's message)"),
            ("smtp_id", "Exact (Message-ID)"),
            ("address", "Probable (address and time)"),
            ("attached", "Attached by hand"),
            ("own", "Added by Odoo"),
            ("early", "Waiting for its e-mail"),
            ("gone", "Its e-mail is gone"),
            ("untracked", "Recipient is not tracked"),
            ("foreign", "Another database"),
            ("unknown", "Not sent by Odoo"),
            ("test", "SendGrid's own test"),
            ("account", "About the account"),
        ],
        required=True,
        readonly=True,
        help="By what the e-mail of the event was found, or why there is none.",
    )
    event = fields.Char(required=True, readonly=True, help="SendGrid's name of the event.")
    timestamp = fields.Datetime(
        string="Time", required=True, readonly=True, help="When it happened, to the second, as SendGrid says."
    )
    recipient = fields.Char(readonly=True)
    partner_id = fields.Many2one(
        "res.partner", string="Contact", readonly=True, index="btree_not_null", ondelete="set null"
    )
    reason = fields.Text(readonly=True, help="Why the message was refused or not attempted.")
    response = fields.Text(readonly=True, help="What the recipient's server answered.")
    smtp_status = fields.Char(string="SMTP Status", readonly=True, help="The enhanced status code, such as 5.1.1.")
    attempt = fields.Integer(readonly=True, help="How many times delivery had been tried before.")
    bounce_type = fields.Char(
        readonly=True,
        help="bounce: the address does not exist or refuses for good. blocked: this message was refused, the address "
        "may be fine. expired: not delivered within 72 hours.",
    )
    bounce_classification = fields.Char(readonly=True, help="What kind of refusal SendGrid takes it for.")
    url = fields.Char(string="Link", readonly=True)
    url_offset = fields.Char(string="Link Position", readonly=True, help="Which link of the message, such as html:2.")
    ip = fields.Char(
        string="IP Address",
        readonly=True,
        help="Of an open or click: where the recipient's device, or the service that fetched for him, called from. Of "
        "a delivery: the sending server.",
    )
    user_agent = fields.Char(readonly=True)
    device = fields.Char(compute="_compute_device", help="The program that opened or clicked, as far as it tells.")
    asm_group_id = fields.Integer(string="Unsubscribe Group", readonly=True)
    sg_machine_open = fields.Boolean(
        string="Machine Open (SendGrid)", readonly=True, help="SendGrid saw Apple Mail fetch the images in advance."
    )
    verdict = fields.Selection(
        [("human", "Person"), ("machine", "Machine"), ("unknown", "Cannot be told")],
        readonly=True,
        help="Who opened or clicked, as far as the event and its neighbours tell. More events can change it.",
    )
    is_machine = fields.Boolean(
        string="By a Machine", readonly=True, help="Not a person's doing: it does not count as opened or clicked."
    )
    machine_reason = fields.Char(readonly=True)
    is_final = fields.Boolean(
        string="Details Removed",
        readonly=True,
        help="Address, agent and the links' queries were removed after the company's period: the verdict is final.",
    )
    machine_explanation = fields.Char(compute="_compute_machine_explanation")
    sg_event_id = fields.Char(string="SendGrid Event ID", readonly=True)
    sg_message_id = fields.Char(
        string="SendGrid Message ID", readonly=True, help="The part before the first dot: the same for all recipients."
    )
    smtp_id = fields.Char(
        string="Message-ID", readonly=True, help="Kept only while no e-mail was found: its e-mail has it otherwise."
    )
    odoo_id = fields.Char(string="Message Copy", readonly=True, help="The opaque name that the copy was given here.")
    fingerprint = fields.Char(
        required=True,
        readonly=True,
        help="Names the interaction by what is said about it: what is reported twice is one event.",
    )
    source = fields.Selection(
        [("history", "SendGrid's message history"), ("suppressions", "SendGrid's list of bounces")],
        string="Learned From",
        readonly=True,
        help="Where the event was asked for, after the webhook had missed it. Empty: the webhook told it.",
    )
    batch_id = fields.Many2one(
        "sendgrid.event.batch",
        readonly=True,
        index="btree_not_null",
        ondelete="set null",
        groups="base.group_system",
    )

    # SHOW
    name = fields.Char(compute="_compute_face", help="What happened, in words.")
    icon = fields.Char(compute="_compute_face")
    tone = fields.Char(compute="_compute_face")
    explanation = fields.Text(compute="_compute_face", help="What it means, and what it does and does not prove.")
    delay = fields.Char(string="After Sending", compute="_compute_delay", help="How long after the e-mail was sent.")

    _fingerprint_uniq = models.UniqueIndex("(fingerprint)", "This event is known already.")
    _unmatched_idx = models.Index("(sg_message_id) WHERE email_id IS NULL")
    _early_idx = models.Index("(odoo_id) WHERE match = 'early'")
    _asked_for_idx = models.Index("(email_id) WHERE source IS NOT NULL")

    @api.depends("user_agent")
    def _compute_device(self):
        for event in self:
            event.device = device.describe(event.user_agent or "")

    @api.depends("machine_reason")
    def _compute_machine_explanation(self):
        for event in self:
            event.machine_explanation = engagement.REASONS.get(event.machine_reason, "")

    # ------------------------------------------------------------
    # ACCESS
    # ------------------------------------------------------------

    @api.model
    def _get_visible_domain(self):
        """Whoever may see the e-mail sees its events; those of no e-mail are for the administrators of the account's
        company."""
        domain = self._get_exists_domain("email_id", self.env["sendgrid.email"])
        if self.env.user.has_group("base.group_system"):
            own = Domain("account_id", "in", self.env["sendgrid.account"]._get_ids_of_companies())
            domain |= Domain("email_id", "=", False) & own
        return domain

    # ------------------------------------------------------------
    # INGEST
    # ------------------------------------------------------------

    @api.model
    def _ingest(self, received):
        """Create what is new among parsed events, each with its e-mail, and bring the e-mails up to date.

        The number of queries does not depend on the number of events.

        :param received: list of (`sendgrid.event.batch` record, `tools.events.event.Event`)
        :return: `Counter`s by batch of the new events without an e-mail, and of those that were known; and the e-mails
            that got events
        """
        # Of what several tell at once, the webhook's word comes first.
        abouts = {batch.id: self._prepare_about(batch) for batch in dict(received)}
        order = {id_: SOURCES.index(about["source"] or "webhook") for id_, about in abouts.items()}
        received = sorted(received, key=lambda told: order[told[0].id])
        known, replaced = self._get_known_fingerprints(received)
        new, duplicates = [], Counter()
        for batch, event in received:
            if event.fingerprint in known:
                duplicates[batch] += 1
            else:
                known.add(event.fingerprint)
                new.append((batch, event))
        matches, keys = self._match([(abouts[batch.id]["account_id"], event) for batch, event in new])
        # Before what they are told now is compared with what they were told.
        emails = replaced
        if self._has_unknown(keys):
            emails |= self._match_by_keys(keys)
            keys = {}
        new, matches = self._keep_best_told(new, matches, duplicates)
        added = defaultdict(list)
        for (_batch, event), (_match, copy) in zip(new, matches, strict=True):
            if copy:
                added[copy.id].append(event)
        emails |= emails.browse(added)
        # Folded before they are created, so that an event is born with its verdict: automation rules watch it.
        states, stored = emails._fold_events(added)
        rows = [
            abouts[batch.id]
            | self._prepare_row(event, match, copy, copy and states[copy.id].verdicts.get(event.fingerprint))
            for (batch, event), (match, copy) in zip(new, matches, strict=True)
        ]
        events = self._insert(rows)
        emails._apply_states(states, stored, keys)
        about_account = [id_ for id_, row in zip(events.ids, rows, strict=True) if row["match"] == "account"]
        events = events.browse(about_account)
        events.account_id._follow_account_events(events)
        unmatched = Counter(batch for (batch, _event), (_match, copy) in zip(new, matches, strict=True) if not copy)
        return unmatched, duplicates, emails

    @api.model
    def _insert(self, rows):
        """Create events in SQL: the ORM needs five times as long. Automation rules run as if it had been the ORM.

        :param rows: dicts, each with the same columns
        :return: the events, in the order of ``rows``
        """
        if not rows:
            return self.browse()
        columns = SQL(", ").join(map(SQL.identifier, rows[0]))
        inserted = self.env.execute_query(
            SQL(
                # An event that a second drain has just stored is no error of the batch but a serialization failure so.
                """INSERT INTO sendgrid_event (%s, create_date)
                   SELECT new.*, %s FROM %s new ON CONFLICT (fingerprint) DO NOTHING
                RETURNING id""",
                columns,
                self.env.cr.now(),
                to_table(self, rows),
            )
        )
        events = self.browse(sorted(id_ for (id_,) in inserted))
        self.env["sendgrid.email"].invalidate_model(["event_ids", "journey"])
        events.modified(rows[0], create=True)
        self.env["base.automation"]._run_on_create(events)
        return events

    @api.model
    def _get_known_fingerprints(self, received):
        """Return which events are stored. What the webhook tells replaces what was asked for: it tells more.

        :return: the fingerprints, and the e-mails (`sendgrid.email`) whose events are replaced
        """
        self.flush_model(["fingerprint", "source"])
        rows = self.env.execute_query(
            SQL(
                "SELECT fingerprint, source FROM sendgrid_event WHERE fingerprint = ANY(%s)",
                [event.fingerprint for _batch, event in received],
            )
        )
        known = {fingerprint for fingerprint, _source in rows}
        replaced = self.browse()
        if any(source for _fingerprint, source in rows):
            told = {event.fingerprint for batch, event in received if batch.source == "webhook"}
            told &= {fingerprint for fingerprint, source in rows if source}
            replaced = self.search([("fingerprint", "in", list(told))])
            known -= told
        emails = replaced.email_id
        replaced.unlink()
        return known, emails

    @api.model
    def _keep_best_told(self, new, matches, duplicates):
        """Of an interaction that was told twice, in different detail, keep the report of who knows best.

        SendGrid's history and lists tell less than its webhook, so that the fingerprints differ.

        :param new: list of (`sendgrid.event.batch` record, `tools.events.event.Event`)
        :param matches: their matches, see `_match`
        :param duplicates: `Counter` by batch, which what is left out adds to
        :return: ``new`` and ``matches`` without what is known better
        """
        asked_for = any(batch.source != "webhook" for batch, _event in new)
        reports = self._get_reports({copy.id for _match, copy in matches if copy}, asked_for)
        if not asked_for and not reports:
            return new, matches
        for position, ((batch, event), (_match, copy)) in enumerate(zip(new, matches, strict=True)):
            if copy:
                details = (getattr(event, name) for name in Report._fields[2:-1])
                reports[copy.id].append(Report(position, batch.source, *details, is_new=True))
        worse = [
            report
            for told in reports.values()
            for report in told
            if report.source != "webhook" and any(self._is_better(other, report) for other in told)
        ]
        self.browse(report.id for report in worse if not report.is_new).unlink()
        left_out = {report.id for report in worse if report.is_new}
        duplicates.update(new[position][0] for position in left_out)
        kept = [position for position in range(len(new)) if position not in left_out]
        return [new[position] for position in kept], [matches[position] for position in kept]

    @api.model
    def _is_better(self, other, report):
        about = ABOUT if report.source == "suppressions" else 0
        return SOURCES.index(other.source) < SOURCES.index(report.source) and is_same(other, report, about)

    @api.model
    def _get_reports(self, email_ids, all_sources):
        """Return the stored events of e-mails, unless ``all_sources`` only what was asked for; lists by e-mail id."""
        reports = defaultdict(list)
        if email_ids:
            self.flush_model()
            for email_id, *report in self.env.execute_query(
                SQL(
                    """SELECT email_id, id, COALESCE(source, 'webhook'), event, EXTRACT(EPOCH FROM timestamp)::bigint,
                              sg_message_id, url, url_offset, attempt, bounce_type, asm_group_id, reason
                         FROM sendgrid_event WHERE email_id = ANY(%s) AND %s""",
                    list(email_ids),
                    SQL("match != 'own'") if all_sources else SQL("source IS NOT NULL"),
                )
            ):
                reports[email_id].append(Report(*report))
        return reports

    @api.model
    def _prepare_about(self, batch):
        """Return the columns of an event that all events of a batch share."""
        return {
            "account_id": batch.account_id.id,
            "batch_id": batch.id,
            "source": batch.source if batch.source != "webhook" else None,
        }

    @api.model
    def _prepare_row(self, event, match, copy, verdict):
        """Return the other columns of an event. What is not said is NULL, which takes no room."""
        return {
            "email_id": copy.id if copy else None,
            "partner_id": copy.partner_id if copy else None,
            "match": match,
            "event": event.event,
            "timestamp": to_datetime(event.timestamp),
            "recipient": event.recipient or None,
            "reason": event.reason or None,
            "response": event.response or None,
            "smtp_status": event.smtp_status or None,
            "attempt": event.attempt,
            "bounce_type": event.bounce_type or None,
            "bounce_classification": event.bounce_classification or None,
            "url": event.url or None,
            "url_offset": event.url_offset or None,
            "ip": event.ip or None,
            "user_agent": event.user_agent or None,
            "asm_group_id": event.asm_group_id,
            "sg_machine_open": event.sg_machine_open or None,
            "verdict": verdict.verdict if verdict else None,
            "is_machine": verdict.is_machine if verdict else None,
            "machine_reason": (verdict.reason or None) if verdict else None,
            "sg_event_id": event.sg_event_id or None,
            "sg_message_id": event.message_key or None,
            "smtp_id": None if copy else event.smtp_id or None,
            "odoo_id": event.odoo_id or None,
            "fingerprint": event.fingerprint,
        }

    @api.model
    def _prepare_verdict_vals(self, verdict):
        return {"verdict": verdict.verdict, "is_machine": verdict.is_machine, "machine_reason": verdict.reason}

    # ------------------------------------------------------------
    # MATCH
    # ------------------------------------------------------------

    @api.model
    def _match(self, received):
        """Find the e-mail of each event, by the strongest evidence there is.

        :param received: list of (account id, `tools.events.event.Event`)
        :return: list of (value of `match`, `Copy` of the e-mail or None), in the same order; and SendGrid's ids that
            this teaches, by e-mail id
        """
        Email = self.env["sendgrid.email"]
        events = [event for _account, event in received]
        by_odoo_id = Email._get_copies("odoo_id", {event.odoo_id for event in events})
        by_key = Email._get_copies("sg_message_id", {event.message_key for event in events})
        by_smtp_id = Email._get_copies(
            "message_id", {e.smtp_id for e in events if e.odoo_id not in by_odoo_id and e.message_key not in by_key}
        )
        known_by_key = dict(by_key)
        keys = self._learn_keys(events, by_odoo_id, by_key, by_smtp_id)
        by_address = Email._get_latest_before(
            {(account, e.recipient, e.timestamp) for account, e in received if self._has_no_ids(e)}
        )
        odoo_db = Email._get_odoo_db()

        def match_one(account, event):
            if event.event == ACCOUNT_EVENT:
                return "account", None
            for match, copies in (
                ("odoo_id", by_odoo_id.get(event.odoo_id)),
                ("sg_message_id", known_by_key.get(event.message_key)),
                ("smtp_id", by_smtp_id.get(event.smtp_id)),
                ("sg_message_id", by_key.get(event.message_key)),
            ):
                if copies:
                    copy = self._pick_copy(copies, event, is_exact=match == "smtp_id")
                    return (match, copy) if copy else ("untracked", None)
            if copy := by_address.get((account, event.recipient, event.timestamp)):
                return "address", copy
            if not event.odoo_db:
                return ("test" if event.recipient == TEST_RECIPIENT else "unknown"), None
            if event.odoo_db != odoo_db:
                return "foreign", None
            return ("early" if event.odoo_id else "untracked"), None

        return [match_one(account, event) for account, event in received], keys

    @api.model
    def _has_no_ids(self, event):
        """Tell a bounce that came back as a mail of its own: SendGrid reports its address and reason, nothing else."""
        return event.event == "bounce" and not (event.sg_message_id or event.smtp_id or event.odoo_id or event.odoo_db)

    @api.model
    def _pick_copy(self, copies, event, is_exact):
        """Return the document of the event's recipient among those of a message, or None if he has none.

        A copy that went to one address needs no comparing: SendGrid may spell the address otherwise. A Message-ID is
        shared by all copies of a mail, so that by it only the address tells them apart (``is_exact``).
        """
        same = [copy for copy in copies if copy.recipient == event.recipient]
        if not same and not is_exact and len(copies) == 1 and copies[0].is_alone:
            return copies[0]
        return same[0] if same else None

    @api.model
    def _learn_keys(self, events, by_odoo_id, by_key, by_smtp_id):
        """Note SendGrid's message ids of e-mails found otherwise in ``by_key``.

        :return: those that are not known yet, by e-mail id
        """
        keys = {}
        for event in events:
            key = event.message_key
            copies = by_odoo_id.get(event.odoo_id)
            if not copies and event.smtp_id in by_smtp_id:
                copy = self._pick_copy(by_smtp_id[event.smtp_id], event, is_exact=True)
                copies = [c for c in by_smtp_id[event.smtp_id] if copy and c.odoo_id == copy.odoo_id]
            if key and copies and key not in by_key:
                by_key[key] = copies
                keys |= {copy.id: key for copy in copies if not copy.sg_message_id}
        return keys

    # ------------------------------------------------------------
    # MATCH LATER
    # ------------------------------------------------------------

    @api.model
    def _match_early(self):
        """Attach the events that arrived before their e-mail was committed.

        :return: the e-mails that got events
        """
        self.flush_model()
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
        # Of a copy that is there by now, a colleague's events are nobody's.
        self.env.cr.execute(
            SQL(
                """UPDATE sendgrid_event event SET match = 'untracked'
                    WHERE match = 'early'
                      AND EXISTS (SELECT 1 FROM sendgrid_email email WHERE email.odoo_id = event.odoo_id)"""
            )
        )
        self.invalidate_model(["match"])
        return emails

    @api.model
    def _give_up_early(self):
        """Say of events that waited for a day that their e-mail is gone."""
        self.search([("match", "=", "early"), ("create_date", "<", fields.Datetime.now() - EARLY_FOR)]).write(
            {"match": "gone"}
        )

    @api.model
    def _has_unknown(self, keys):
        """Tell whether events wait that carry nothing but one of SendGrid's message ids."""
        if not keys:
            return False
        self.flush_model()
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
        """Note SendGrid's message ids, and attach the earlier events that carry nothing else.

        :param keys: SendGrid's id by e-mail id
        :return: the e-mails that got events
        """
        Email = self.env["sendgrid.email"]
        if not keys:
            return Email
        Email._write_columns({id_: {"sg_message_id": key} for id_, key in keys.items()})
        self.flush_model()
        return Email.browse(self._attach("sg_message_id", self._get_unknown_condition(keys)))

    @api.model
    def _attach(self, column, condition):
        """Give the events of ``condition`` to the e-mails that share ``column`` with them, by the rule of `_pick_copy`.

        :return: {e-mail id: SendGrid's message id of one of its new events}
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
        self.invalidate_model(["email_id", "partner_id", "match"])
        self.env["sendgrid.email"].invalidate_model(["event_ids"])
        return dict(rows)

    def action_match_again(self):
        """Look once more for the e-mails of unmatched events."""
        self._check_is_administrator()
        events = self.sudo().with_context(sendgrid_drain=True).filtered(lambda event: not event.email_id)
        matches, keys = events._match([(event.account_id.id, event._to_parsed()) for event in events])
        emails = events.email_id
        for event, (match, copy) in zip(events, matches, strict=True):
            if copy:
                event.write({"email_id": copy.id, "partner_id": copy.partner_id, "match": match, "smtp_id": False})
                emails |= event.email_id
        emails |= self._match_by_keys(keys)
        emails._refresh_state()
        emails._notify_changed()
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {
                "type": "success" if events.email_id else "info",
                "message": self.env._(
                    "%(found)s of %(count)s events found their e-mail.",
                    found=len(events.filtered("email_id")),
                    count=len(events),
                ),
                "next": {"type": "ir.actions.act_window_close"},
            },
        }

    def _attach_by_hand(self, email):
        """Give unmatched events to an e-mail, on an administrator's word.

        :param email: `sendgrid.email` record
        """
        self._check_is_administrator()
        events = self.sudo().with_context(sendgrid_drain=True).filtered(lambda event: not event.email_id)
        events.write({"email_id": email.id, "partner_id": email.sudo().partner_id.id, "match": "attached"})
        events.email_id._refresh_state()
        events.email_id._notify_changed()

    def _check_is_administrator(self):
        if not self.env.user.has_group("base.group_system"):
            raise AccessError(self.env._("Only administrators can say which e-mail an event belongs to."))

    def _to_parsed(self):
        """Return the stored event as far as matching needs it."""
        own_db = self.env["sendgrid.email"]._get_odoo_db()
        return Event(
            event=self.event,
            timestamp=to_seconds(self.timestamp),
            recipient=self.recipient or "",
            sg_message_id=self.sg_message_id or "",
            smtp_id=self.smtp_id or "",
            odoo_db={"foreign": "another", "unknown": "", "test": ""}.get(self.match, own_db),
            odoo_id=self.odoo_id or "",
        )

    @api.autovacuum
    def _gc_unmatched(self):
        """Forget events that found no e-mail within 30 days. What was said about accounts stays."""
        events = self.sudo().search(
            [
                ("email_id", "=", False),
                ("match", "!=", "account"),
                ("create_date", "<", fields.Datetime.now() - UNMATCHED_FOR),
            ],
            limit=COLLECT_AT_ONCE,
        )
        events.unlink()
        return len(events), len(events) == COLLECT_AT_ONCE

    @api.model
    def _has_early(self, seconds):
        """Tell whether an event that came less than ``seconds`` ago still waits for its e-mail."""
        return bool(
            self.search_count(
                [
                    ("match", "=", "early"),
                    ("create_date", ">", fields.Datetime.now() - timedelta(seconds=seconds)),
                ],
                limit=1,
            )
        )

    # ------------------------------------------------------------
    # SHOW
    # ------------------------------------------------------------

    @api.depends("event", "is_machine", "bounce_type", "smtp_status", "reason", "email_id.status")
    @api.depends_context("lang")
    def _compute_face(self):
        faces = self._get_faces()
        for event in self:
            face = faces.get(event._get_face_key()) or Face(
                event.event,
                "fa-question-circle-o",
                "muted",
                self.env._("SendGrid reported something of a kind that is not known here."),
            )
            event.name, event.icon, event.tone, event.explanation = face
            if event.event == "dropped":
                event.explanation = f"{face.explanation} {event._explain_drop()}"

    @api.depends("name")
    def _compute_display_name(self):
        for event in self:
            event.display_name = event.name

    @api.depends("timestamp", "email_id.sent_date")
    @api.depends_context("lang")
    def _compute_delay(self):
        for event in self:
            sent = event.email_id.sent_date
            # SendGrid's clock is not ours, and tells no fractions: what seems to come before the sending came at once.
            event.delay = self._describe_duration(max(event.timestamp - sent, timedelta())) if sent else False

    @api.model
    def _describe_duration(self, duration):
        seconds = int(duration.total_seconds())
        minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
        if days > 1:
            return self.env._("%s days", days)
        if days:
            return self.env._("1 day")
        if hours and minutes % 60:
            return self.env._("%(hours)s h %(minutes)s min", hours=hours, minutes=minutes % 60)
        if hours:
            return self.env._("%s h", hours)
        if minutes:
            return self.env._("%s min", minutes)
        return self.env._("%s s", seconds)

    def _get_face_key(self):
        if self.event == "bounce":
            if self.bounce_type == EXPIRED:
                return EXPIRED
            return bounce_status(self) if self.bounce_type or self.smtp_status else "bounced"
        if self.event in ("open", "click"):
            if self.email_id.status in FAILURES:
                return f"{self.event}_refused"
            if self.is_machine:
                return f"{self.event}_machine"
        return self.event

    def _explain_drop(self):
        """Say why SendGrid did not try. Its reasons are a fixed list (Twilio docs: Event Webhook reference)."""
        reason = (self.reason or "").lower()
        reasons = {
            "bounced address": self.env._(
                "The address bounced before. If the recipient says that it works again, it has to be removed from the "
                "list of bounces at SendGrid."
            ),
            "unsubscribed address": self.env._("The recipient has unsubscribed from your e-mails."),
            "spam reporting address": self.env._("The recipient reported an earlier e-mail of yours as spam."),
            "invalid smtpapi": self.env._("The technical settings of the e-mail were broken: tell your administrator."),
            "invalid": self.env._("The address is not valid: correct it in the contact."),
            "spam content": self.env._("SendGrid takes the content for spam."),
            "recipient list over": self.env._("The account's quota at SendGrid is used up."),
            "duplicate": self.env._("The same e-mail was given to SendGrid more than once."),
        }
        # The first that fits: the longer of two like beginnings stands first.
        return next((text for prefix, text in reasons.items() if reason.startswith(prefix)), "")

    @api.model
    def _get_faces(self):
        refused = self.env._(
            "If it shows as opened or clicked before that, a security scanner did so on the way: it did not arrive."
        )
        return {
            "processed": Face(
                self.env._("Processed"),
                "fa-cogs",
                "info",
                self.env._("SendGrid has taken the e-mail and is about to deliver it."),
            ),
            "deferred": Face(
                self.env._("Deferred"),
                "fa-clock-o",
                "warning",
                self.env._(
                    "The recipient's server did not take the e-mail for the moment: it may be busy, the mailbox may be "
                    "full, or it puts unknown senders off at first. SendGrid goes on trying for up to 72 hours; there "
                    "is nothing to do."
                ),
            ),
            "delivered": Face(
                self.env._("Delivered"),
                "fa-check",
                "success",
                self.env._(
                    "The recipient's server has accepted the e-mail. Whether it is in the inbox or in the spam folder, "
                    "nobody can tell from here."
                ),
            ),
            "open": Face(
                self.env._("Opened"),
                "fa-envelope-open-o",
                "success",
                self.env._(
                    "The images of the e-mail were loaded. Most likely it was on somebody's screen; that it was read "
                    "is not proved. And since many mail programs block images, an e-mail that shows no opening may "
                    "have been read all the same."
                ),
            ),
            "open_machine": Face(
                self.env._("Opened by a machine"),
                "fa-server",
                "muted",
                self.env._(
                    "A program loaded the images, not a person: this does not count as opened. Whether anybody "
                    "has read the e-mail remains unknown."
                ),
            ),
            "open_refused": Face(
                self.env._("Opened by a scanner"),
                "fa-server",
                "muted",
                self.env._(
                    "The e-mail was not delivered, so nobody can have read it: a security scanner on the way opened it "
                    "before it was refused."
                ),
            ),
            "click": Face(
                self.env._("Clicked"),
                "fa-mouse-pointer",
                "success",
                self.env._(
                    "A link of the e-mail was followed. That is the surest sign that somebody has looked at it, "
                    "although some security scanners follow links as well."
                ),
            ),
            "click_machine": Face(
                self.env._("Clicked by a machine"),
                "fa-server",
                "muted",
                self.env._("A program followed the link to check it, not a person: this does not count as clicked."),
            ),
            "click_refused": Face(
                self.env._("Clicked by a scanner"),
                "fa-server",
                "muted",
                self.env._(
                    "The e-mail was not delivered, so nobody can have clicked: a security scanner on the way checked "
                    "the link before the e-mail was refused."
                ),
            ),
            "bounced": Face(
                self.env._("Bounced"),
                "fa-times",
                "danger",
                self.env._(
                    "The recipient's server refused the e-mail for good: most often the address does not exist. Check "
                    "it, or ask the recipient by other means. SendGrid will not try this address again."
                )
                + f" {refused}",
            ),
            "blocked": Face(
                self.env._("Blocked"),
                "fa-ban",
                "danger",
                self.env._(
                    "The recipient's server refused this e-mail, but the address may be right: often its content or "
                    "the sender's reputation is the cause. Another e-mail may get through."
                )
                + f" {refused}",
            ),
            EXPIRED: Face(
                self.env._("Not delivered within 72 hours"),
                "fa-hourglass-end",
                "danger",
                self.env._(
                    "The recipient's server kept putting the e-mail off, and SendGrid gave up after 72 hours. The "
                    "address may be right: try again later."
                )
                + f" {refused}",
            ),
            "dropped": Face(
                self.env._("Dropped"),
                "fa-trash-o",
                "danger",
                self.env._("SendGrid did not even try to deliver the e-mail."),
            ),
            "spamreport": Face(
                self.env._("Reported as spam"),
                "fa-thumbs-down",
                "danger",
                self.env._(
                    "The e-mail arrived, and the recipient marked it as spam. SendGrid will not deliver to this "
                    "address any more."
                ),
            ),
            "unsubscribe": Face(
                self.env._("Unsubscribed"),
                "fa-bell-slash-o",
                "warning",
                self.env._(
                    "The recipient does not want e-mails from you. SendGrid will not deliver to this address any more."
                ),
            ),
            "group_unsubscribe": Face(
                self.env._("Unsubscribed from a group"),
                "fa-bell-slash-o",
                "warning",
                self.env._(
                    "The recipient does not want this kind of e-mail, such as a newsletter, any more. SendGrid still "
                    "delivers others."
                ),
            ),
            "group_resubscribe": Face(
                self.env._("Subscribed to a group again"),
                "fa-bell-o",
                "success",
                self.env._("The recipient wants this kind of e-mail again."),
            ),
            ACCOUNT_EVENT: Face(
                self.env._("Account status changed"),
                "fa-exclamation-triangle",
                "warning",
                self.env._("SendGrid changed the status of your account, for instance because of too many complaints."),
            ),
        }
