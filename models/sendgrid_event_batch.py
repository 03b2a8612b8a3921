import base64
import contextlib
import gzip
import logging
import time
import zlib
from collections import defaultdict
from datetime import timedelta

from odoo import api, fields, models
from odoo.service.model import PG_CONCURRENCY_EXCEPTIONS_TO_RETRY
from odoo.tools import SQL, format_datetime

from ..tools.events.parsing import BatchError, parse_batch
from .undoable import TRY_LATER, undoable

_logger = logging.getLogger(__name__)

# Seconds. A wake-up costs a row and a connection, so there is one at most every WAKE_INTERVAL in a process. A drain
# stays LINGER after its last batch, and so finds what came without a wake-up of its own.
WAKE_INTERVAL = 0.5
LINGER = 1.0
POLL_INTERVAL = 0.05
# An e-mail is committed after its first events can arrive: while some wait for theirs, the drain looks longer.
LINGER_FOR_EARLY = 10.0
# Of one transaction: enough to make queries count for many events, little enough to be done soon.
CHUNK_BATCHES = 500
CHUNK_BYTES = 4 * 1024 * 1024
COMPRESSION = 1  # gzip's fastest, which leaves a quarter
MAX_TRIES = 5
MAX_REASONS = 100
# Received batches are kept for so long; those that failed or were not understood in full longer, to be mended.
KEEP_DONE = timedelta(days=7)
KEEP_UNDONE = timedelta(days=30)
FORGET_EVENTS = 5000

_last_wake = {}  # monotonic seconds by database


class SendgridEventBatch(models.Model):
    """One POST of SendGrid's webhook, as received, and what became of it; or what was asked for, in the same shape."""

    _name = "sendgrid.event.batch"
    _description = "SendGrid Event Batch"
    _order = "id desc"
    _allow_sudo_commands = False

    account_id = fields.Many2one("sendgrid.account", required=True, readonly=True, index=True, ondelete="restrict")
    source = fields.Selection(
        [
            ("webhook", "Webhook"),
            ("history", "SendGrid's message history"),
            ("suppressions", "SendGrid's list of bounces"),
        ],
        required=True,
        readonly=True,
        default="webhook",
        help="Who told of the events: what the webhook missed is asked for, and may be told in less detail.",
    )
    backfill_id = fields.Many2one(
        "sendgrid.backfill", readonly=True, index="btree_not_null", ondelete="set null", help="What asked for it."
    )
    body_gzip = fields.Binary(
        string="Compressed Body",
        groups="base.group_system",
        attachment=False,
        readonly=True,
        help="The body as it is stored, compressed with gzip.",
    )
    body = fields.Binary(
        compute="_compute_body", groups="base.group_system", help="The raw bytes as SendGrid sent them."
    )
    body_name = fields.Char(
        compute="_compute_body_name", groups="base.group_system", help="The name of the body as a file."
    )
    size = fields.Integer(readonly=True, help="Bytes of the body.")
    state = fields.Selection(
        [("pending", "To Process"), ("done", "Processed"), ("failed", "Failed")],
        required=True,
        readonly=True,
        default="pending",
    )
    error = fields.Text(readonly=True, help="Why the batch failed as a whole.")
    event_count = fields.Integer(readonly=True, help="Events in the batch, duplicates included.")
    duplicate_count = fields.Integer(
        readonly=True, help="Events that were known already: SendGrid may deliver an event more than once."
    )
    unmatched_count = fields.Integer(readonly=True, help="New events for which no e-mail was found.")
    rejected_count = fields.Integer(readonly=True, help="Elements that could not be understood.")
    rejected_reasons = fields.Text(readonly=True, help="The elements that could not be understood, and why.")
    processed_date = fields.Datetime(readonly=True)
    failed_rules = fields.Text(
        readonly=True, help="Automation rules that failed on events of this batch. The events themselves are kept."
    )
    event_ids = fields.One2many("sendgrid.event", "batch_id", readonly=True)

    _pending_idx = models.Index("(id) WHERE state = 'pending'")
    _failed_idx = models.Index("(id) WHERE state = 'failed'")

    @api.depends("create_date")
    @api.depends_context("lang", "tz")
    def _compute_display_name(self):
        for batch in self:
            batch.display_name = self.env._(
                "Batch %(id)s of %(date)s", id=batch.id, date=format_datetime(self.env, batch.create_date)
            )

    @api.depends("body_gzip")
    def _compute_body(self):
        for batch in self:
            batch.body = False
            with contextlib.suppress(BatchError):
                batch.body = batch.body_gzip and base64.b64encode(batch._get_raw_body())

    def _compute_body_name(self):
        for batch in self:
            batch.body_name = f"batch-{batch.id}.json"

    # ------------------------------------------------------------
    # RECEIVE
    # ------------------------------------------------------------

    @api.model
    def _receive(self, account, body, source="webhook", backfill=None):
        """Store the raw ``body`` of a POST, or what was asked for, and see to it that it is drained soon.

        One INSERT in plain SQL: this runs for each POST of SendGrid, hundreds a second. Compressed here, a body costs
        half of what PostgreSQL would need to compress it, on its way and on the disk.
        """
        self.env.cr.execute(
            SQL(
                """INSERT INTO sendgrid_event_batch
                               (account_id, body_gzip, size, source, backfill_id, state, create_uid, create_date)
                   VALUES (%s, %s, %s, %s, %s, 'pending', %s, now() AT TIME ZONE 'UTC')""",
                account.id,
                # A string: as bytes it would travel as twice as many hexadecimal digits.
                base64.b64encode(gzip.compress(body, COMPRESSION)).decode(),
                len(body),
                source,
                backfill.id if backfill else None,
                self.env.uid,
            )
        )
        self._wake_drain()

    @api.model
    def _wake_drain(self):
        """Have the drain run now, unless this process woke it a moment ago."""
        dbname = self.env.cr.dbname
        now = time.monotonic()
        if now - _last_wake.get(dbname, 0) < WAKE_INTERVAL:
            return
        # Before the others of a burst look, each of whom would open a connection to wake it too.
        _last_wake[dbname] = now
        # A transaction that is rolled back has woken nobody.
        self.env.cr.postrollback.add(lambda: _last_wake.pop(dbname, None))
        self.env.ref("sendgrid_tracking.ir_cron_drain").sudo()._trigger()

    def action_process_again(self):
        """Put the batches back into the queue: what is known already counts as duplicate, the rest gets its chance."""
        self.check_access("read")
        again = self.sudo().filtered("body_gzip")
        again.write({"state": "pending", "error": False, "failed_rules": False})
        again._wake_drain()

    # ------------------------------------------------------------
    # DRAIN
    # ------------------------------------------------------------

    @api.model
    def _cron_drain(self):
        """Process what was received, until there is nothing left for a while.

        Never raises: core forgets the wake-ups of a failing cron, and in the end switches it off.
        """
        self = self.sudo().with_context(sendgrid_drain=True)  # see base.automation
        limit, tries, last_work = CHUNK_BATCHES, 0, time.monotonic()
        gives_up = True
        while True:
            try:
                if gives_up:
                    self.env["sendgrid.event"]._give_up_early()
                    gives_up = False
                if done := self._drain(limit, holds_contacts=limit < CHUNK_BATCHES):
                    last_work = time.monotonic()
                    limit = min(limit * 2, CHUNK_BATCHES)
                    if not self.env["ir.cron"]._commit_progress(done, remaining=self._count_pending()):
                        return
                else:
                    waits = LINGER_FOR_EARLY if self.env["sendgrid.event"]._has_early(LINGER_FOR_EARLY) else LINGER
                    self.env["ir.cron"]._commit_progress(0, remaining=0)
                    if time.monotonic() - last_work > waits:
                        return
                    time.sleep(POLL_INTERVAL)
                tries = 0
            except PG_CONCURRENCY_EXCEPTIONS_TO_RETRY:
                # Somebody else wrote the same e-mail or contact: again, on what is committed now, and less of it, with
                # the contacts held. What takes long collides again and again with whoever writes often.
                self.env.cr.rollback()
                limit, tries = 1, tries + 1
                if tries == MAX_TRIES:
                    _logger.warning("SendGrid events: others keep writing the same e-mails, going on later")
                    return
                time.sleep(POLL_INTERVAL * tries)
            except Exception:
                _logger.exception("SendGrid events: the drain stopped, it goes on at its next run")
                self.env.cr.rollback()
                return

    @api.model
    def _count_pending(self):
        """Return 1 if batches are waiting, else 0: how many they are nobody needs to know after each chunk."""
        return self.search_count([("state", "=", "pending")], limit=1)

    @api.model
    def _drain(self, limit=None, holds_contacts=False):
        """Process the oldest waiting batches, and the events that came before their e-mail, in this transaction.

        :param limit: how many batches at most
        :param holds_contacts: whether to lock first, before what takes long, the contacts that the batches are about
        :return: how many batches and e-mails were worked on; 0 when there is nothing to do
        """
        self = self.with_context(sendgrid_drain=True)
        batches = self._get_next_pending()[:limit]
        if holds_contacts:
            batches._hold_contacts()
        emails = self._match_early()
        early_count = len(emails)
        if batches:
            emails |= batches._process_or_isolate()
        emails._notify_changed()
        return len(batches) + early_count

    def _hold_contacts(self):
        """Lock the contacts that the batches are about: whoever writes them meanwhile waits for us."""
        addresses = set()
        for batch in self:
            with contextlib.suppress(BatchError):  # it will fail as such, and concerns no contact
                events, _rejected = batch._parse()
                addresses |= {event.recipient for event in events if event.recipient}
        self.env.cr.execute(
            SQL(
                """SELECT FROM res_partner
                    WHERE id IN (SELECT id FROM res_partner WHERE email_normalized = ANY(%(addresses)s)
                                 UNION
                                 SELECT partner_id FROM sendgrid_email WHERE recipient = ANY(%(addresses)s))
                 ORDER BY id
                      FOR NO KEY UPDATE""",
                addresses=list(addresses),
            )
        )

    @api.model
    def _match_early(self):
        try:
            with undoable(self.env.cr):
                emails = self.env["sendgrid.event"]._match_early()
                emails._refresh_state()
                return emails
        except TRY_LATER:
            raise
        except Exception:
            # Whatever is wrong with these, the batches behind them go on.
            _logger.exception("SendGrid events: waiting events could not be attached")
            return self.env["sendgrid.email"]

    @api.model
    def _get_next_pending(self):
        rows = self.env.execute_query(
            SQL(
                """SELECT id, COALESCE(size, 0) FROM sendgrid_event_batch
                   WHERE state = 'pending' ORDER BY id LIMIT %s""",
                CHUNK_BATCHES,
            )
        )
        ids, size = [], 0
        for id_, length in rows:
            size += length
            if ids and size > CHUNK_BYTES:
                break
            ids.append(id_)
        return self.browse(ids)

    def _process_or_isolate(self):
        """Process the batches at once; if that fails, one by one, so that only the cause of it fails.

        :return: the e-mails (`sendgrid.email`) that changed
        """
        try:
            with undoable(self.env.cr):
                return self._process()
        except TRY_LATER:
            raise
        except Exception as error:
            if len(self) > 1:
                emails = self.env["sendgrid.email"]
                for batch in self:
                    emails |= batch._process_or_isolate()
                return emails
            _logger.exception("SendGrid events: batch %s failed", self.id)
            self.write({"state": "failed", "error": str(error) or repr(error), "processed_date": fields.Datetime.now()})
            return self.env["sendgrid.email"]

    def _get_raw_body(self):
        """Return the bytes as SendGrid sent them; raise `BatchError` if what is stored cannot be read."""
        try:
            return gzip.decompress(base64.b64decode(self.body_gzip or b""))
        except (OSError, EOFError, ValueError, zlib.error) as error:
            raise BatchError(self.env._("The body cannot be read as it was stored: %s", error)) from error

    def _parse(self):
        return parse_batch(self._get_raw_body())

    def _process(self):
        # Processed again, a batch is on its day already.
        uncounted = self.filtered(lambda batch: not batch.event_count)
        events, outcomes, latest = [], {}, {}
        for batch in self:
            try:
                parsed, rejected = batch._parse()
            except BatchError as error:
                outcomes[batch] = {"state": "failed", "error": str(error)}
                continue
            events += [(batch, event) for event in parsed]
            latest[batch] = max((event.timestamp for event in parsed), default=None)
            outcomes[batch] = {
                "state": "done",
                "error": False,
                "event_count": len(parsed) + len(rejected),
                "rejected_count": len(rejected),
                "rejected_reasons": self._describe_rejected(rejected),
            }
        unmatched, duplicates, emails = self.env["sendgrid.event"]._ingest(events)
        by_outcome = defaultdict(self.browse)
        for batch, outcome in outcomes.items():
            if outcome["state"] == "done":
                outcome.update(duplicate_count=duplicates[batch], unmatched_count=unmatched[batch])
            by_outcome[tuple(outcome.items())] |= batch
        now = fields.Datetime.now()
        for outcome, batches in by_outcome.items():
            batches.write({**dict(outcome), "processed_date": now})
        # What was asked for does not show that the webhook works.
        received = uncounted.filtered(lambda batch: batch.state == "done" and batch.source == "webhook")
        self.env["sendgrid.account.day"]._add({batch: latest[batch] for batch in received})
        return emails

    @api.model
    def _describe_rejected(self, rejected):
        """Return why events were rejected, one in a line: of 4 MB of rubbish the first say it all."""
        lines = [
            self.env._("Event %(number)s: %(reason)s", number=one.index + 1, reason=one.reason)
            for one in rejected[:MAX_REASONS]
        ]
        if len(rejected) > MAX_REASONS:
            lines.append(self.env._("and %s more", len(rejected) - MAX_REASONS))
        return "\n".join(lines)

    # ------------------------------------------------------------
    # FORGET
    # ------------------------------------------------------------

    @api.model
    def _forget_done(self):
        """Delete what has been done for 7 days, and what nobody mended within 30; see `sendgrid.retention`.

        :return: a generator of how many were deleted, for a commit after each
        """
        now = fields.Datetime.now()
        last_id = 0
        while True:
            # In the order in which they came, up to the first that is too young: no index is needed for that.
            rows = self.env.execute_query(
                SQL(
                    """SELECT id, COALESCE(event_count, 0), create_date < %s,
                              (state = 'done' AND COALESCE(rejected_count, 0) = 0)
                              OR (state != 'pending' AND create_date < %s)
                         FROM sendgrid_event_batch WHERE id > %s ORDER BY id LIMIT %s""",
                    now - KEEP_DONE,
                    now - KEEP_UNDONE,
                    last_id,
                    CHUNK_BATCHES,
                )
            )
            ids, events = [], 0
            for id_, event_count, is_old, is_due in rows:
                if not is_old or events > FORGET_EVENTS:
                    break
                last_id = id_
                if is_due:
                    ids.append(id_)
                    # Each of them is written: it lets go of its batch.
                    events += event_count
            else:
                is_old = bool(rows)
            if ids:
                self.browse(ids).unlink()
                yield len(ids)
            if not is_old:
                return

    @api.model
    def _note_failed_rule(self, rule, records, error):
        """Note that an automation rule failed on ``records``, on the batches that brought it about."""
        _logger.warning("SendGrid: automation rule %s failed on %s", rule.id, records, exc_info=error)
        line = self.env._(
            "Rule “%(rule)s” on %(record)s: %(error)s",
            rule=rule.sudo().name,
            record=", ".join(f"{record._name} {record.id}" for record in records),
            error=error,
        )
        for batch in self.sudo()._get_batches(records):
            batch.failed_rules = f"{batch.failed_rules}\n{line}" if batch.failed_rules else line

    @api.model
    def _get_batches(self, records):
        events = self.env["sendgrid.event"].sudo()
        if records._name == events._name:
            return records.sudo().batch_id
        field = "email_id" if records._name == "sendgrid.email" else "partner_id"
        return events.search([(field, "in", records.ids)], order="id desc", limit=1).batch_id
