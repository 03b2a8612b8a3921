import contextlib
import logging
import time
from collections import defaultdict
from datetime import timedelta

from odoo import SUPERUSER_ID, api, fields, models
from odoo.modules.registry import Registry
from odoo.service.model import PG_CONCURRENCY_EXCEPTIONS_TO_RETRY
from odoo.tools import SQL

from ..tools.address_form import all_spellings
from ..tools.events.parsing import BatchError
from . import scheduled_actions
from .company_language import in_company_language
from .undoable import TRY_LATER, each_alone, undoable

_logger = logging.getLogger(__name__)

# All in seconds. A wake-up costs a row and a connection, so a process wakes the drain once per WAKE_INTERVAL at most.
# A drain looks for more work for LINGER after its last batch, and so finds batches that came without a wake-up.
WAKE_INTERVAL = 0.5
LINGER = 1.0
POLL_INTERVAL = 0.05
# Events can arrive before the transaction that sent their mail is committed. While some wait for their document, the
# drain stays longer.
LINGER_FOR_EARLY = 10.0
# One transaction takes enough batches to share its queries among many events, and few enough to end soon.
CHUNK_BATCHES = 500
CHUNK_BYTES = 4 * 1024 * 1024
MAX_TRIES = 5
# Whoever wants the drain to rest waits this long for a running chunk to end, and then goes on without.
SECONDS_TO_REST = 60
# So long the addon's scheduled actions wait for a module operation. If it ends before, the drain is woken.
PUT_OFF = timedelta(minutes=5)
# The drain holds this advisory lock of PostgreSQL together with others, and who wants it to rest holds it alone.
REST_LOCK = 4_018_501_739
# Who wakes it holds this one in the same way, so that nobody makes the scheduled action due while it rests.
WAKE_LOCK = REST_LOCK + 1

_last_wake = {}  # monotonic seconds by database


class SendgridDrain(models.AbstractModel):
    """The drain: it processes the received batches, in the order in which they came.

    A batch becomes events by `sendgrid.event.batch._parse`, and `sendgrid.ingest` stores them. Only one drain runs at a
    time in a database, because only the scheduled action runs it.

    Code that stores a batch calls `_wake`, the scheduled action calls `_cron_drain`.
    """

    _name = "sendgrid.drain"
    _description = "Processing of Event Batches"

    @api.model
    def _wake(self):
        """Have the drain run after the commit, unless this process woke it less than `WAKE_INTERVAL` ago."""
        dbname = self.env.cr.dbname
        now = time.monotonic()
        if now - _last_wake.get(dbname, 0) < WAKE_INTERVAL:
            return
        # Note the time before anything else: in a burst of POSTs other threads look at it right now.
        _last_wake[dbname] = now
        # A rollback takes back the wake-up, so forget it too.
        self.env.cr.postrollback.add(lambda: _last_wake.pop(dbname, None))
        if not self._may_go_on(WAKE_LOCK):
            return  # whoever wants it to rest wakes it afterwards
        self.env.ref("sendgrid_tracking.ir_cron_drain").sudo()._trigger()

    @api.model
    @in_company_language
    def _cron_drain(self):
        """Process the received batches, chunk by chunk, until none has come for a while. Commit after each chunk.

        It never raises: core forgets the wake-ups of a scheduled action that fails, and in the end switches it off.
        """
        self = self.sudo().with_context(sendgrid_drain=True)  # see base.automation
        Match = self.env["sendgrid.match"]
        limit, tries, last_work = CHUNK_BATCHES, 0, time.monotonic()
        gives_up = True
        while True:
            try:
                if not self._may_go_on():
                    return
                if gives_up:
                    Match._give_up_early()
                    gives_up = False
                if done := self._drain(limit, holds_contacts=limit < CHUNK_BATCHES):
                    last_work = time.monotonic()
                    limit = min(limit * 2, CHUNK_BATCHES)
                    if not self.env["ir.cron"]._commit_progress(done, remaining=int(self._has_pending())):
                        self._put_off()
                        return
                else:
                    waits = LINGER_FOR_EARLY if Match._has_early(LINGER_FOR_EARLY) else LINGER
                    self.env["ir.cron"]._commit_progress(0, remaining=0)
                    if time.monotonic() - last_work > waits:
                        return
                    time.sleep(POLL_INTERVAL)
                tries = 0
            except PG_CONCURRENCY_EXCEPTIONS_TO_RETRY:
                # Another transaction has written the same document or contact. Try again on the committed state. Take
                # one batch only and lock its contacts first: a long transaction would meet frequent writers again.
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
    def _put_off(self):
        """Go on in another run of the scheduled action, because the time of this one is over.

        Core would call it ten times before it ends a run, with a chunk in each: that can take longer than a process may
        work, and the process would be killed.
        """
        if self._has_pending():
            self.env.ref("sendgrid_tracking.ir_cron_drain")._trigger()
            self.env["ir.cron"]._commit_progress(0, remaining=0)

    @api.model
    def _may_go_on(self, lock=REST_LOCK):
        """Tell whether the drain may work, or be woken, in this transaction: nobody wants it to rest.

        :param lock: `REST_LOCK` to work, `WAKE_LOCK` to wake it
        """
        [[is_free]] = self.env.execute_query(SQL("SELECT pg_try_advisory_xact_lock_shared(%s)", lock))
        return is_free

    @api.model
    @contextlib.contextmanager
    def _resting(self):
        """Have the drain end its run, and not work again before the end of the `with` statement.

        It runs nearly always where many events come, and core installs nothing while a scheduled action runs. The
        addon's other scheduled actions are put off too.

        What was written so far is committed: a transaction cannot lock a scheduled action that has run since it began.
        """
        dbname = self.env.cr.dbname
        try:
            with self.pool.cursor() as cr:
                with contextlib.suppress(*PG_CONCURRENCY_EXCEPTIONS_TO_RETRY):
                    cr.execute(SQL("SET LOCAL lock_timeout = %s", SECONDS_TO_REST * 1000))
                    cr.execute(SQL("SELECT pg_advisory_xact_lock(%s)", WAKE_LOCK))
                    cr.execute(SQL("SELECT pg_advisory_xact_lock(%s)", REST_LOCK))
                    self._put_actions_off()
                self.env.cr.commit()  # pylint: disable=invalid-commit
                yield
        finally:
            self._wake_rested(dbname)

    @api.model
    def _wake_rested(self, dbname):
        """Have the drain run again, because core has used up the wake-ups of the runs that did nothing.

        It does not raise: an error of the module operation itself is told, and the next POST wakes the drain too.
        """
        try:
            with Registry(dbname).cursor() as cr:
                # The addon may be uninstalled by now.
                cron = api.Environment(cr, SUPERUSER_ID, {}).ref("sendgrid_tracking.ir_cron_drain", False)
                if cron:
                    cron._trigger()
        except Exception:
            _logger.exception("SendGrid events: the drain could not be woken, it runs when the next events come in")

    @api.model
    def _put_actions_off(self):
        """Wait until none of the addon's scheduled actions runs, and let none begin for `PUT_OFF`.

        A process that begins one locks its row, and then waits for the registry. A module operation holds that until
        its end, so that an uninstallation could not delete the action.
        """
        with self.pool.cursor() as cr:
            ids = scheduled_actions.hold(cr) or []
            later = fields.Datetime.now() + PUT_OFF
            cr.execute(SQL("UPDATE ir_cron SET nextcall = %s WHERE id = ANY(%s) AND nextcall < %s", later, ids, later))
            cr.execute(
                SQL(
                    "UPDATE ir_cron_trigger SET call_at = %s WHERE cron_id = ANY(%s) AND call_at < %s",
                    later,
                    ids,
                    later,
                )
            )

    @api.model
    def _has_pending(self):
        """Tell whether batches are waiting. It does not count them: that would take long where many wait."""
        return bool(self.env["sendgrid.event.batch"].search_count([("state", "=", "pending")], limit=1))

    @api.model
    def _drain(self, limit=None, holds_contacts=False):
        """Process the oldest waiting batches, and attach early events whose document exists by now. It does not commit.

        :param limit: how many batches at most; None for as many as a chunk allows
        :param holds_contacts: first lock the contacts of the batches' events
        :return: how many batches, and documents with early events, were processed; 0 if there is nothing to do
        """
        self = self.with_context(sendgrid_drain=True)
        # By itself, because it locks documents, and the batches begin with the addresses.
        if reduced_count := self._reduce_what_slipped_in():
            return reduced_count
        self._requeue_early()
        batches = self._get_next_pending()[:limit]
        if holds_contacts:
            self._hold_contacts(batches)
        emails = self._match_early()
        early_count = len(emails)
        if batches:
            emails = emails.union(*each_alone(self.env.cr, self._process, batches, self._note_failed))
        emails._notify_changed()
        return len(batches) + early_count

    @api.model
    def _get_next_pending(self):
        """Return the oldest pending batches, with `CHUNK_BATCHES` records and `CHUNK_BYTES` of bodies at most.

        A single larger batch is returned alone.
        """
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
        return self.env["sendgrid.event.batch"].browse(ids)

    @api.model
    def _hold_contacts(self, batches):
        """Lock the contacts that the batches' events concern, so that other transactions wait before they write them.

        The addresses are locked before the contacts, and contacts in the order of their ids, as others do. So there is
        no deadlock.
        """
        addresses = set()
        for batch in batches:
            with contextlib.suppress(BatchError):  # `_process` will mark it as failed
                events, _rejected = batch._parse()
                addresses |= {event.recipient for event in events if event.recipient}
        self.env["sendgrid.address"]._select_for_update(sorted(addresses))
        self.env.cr.execute(
            SQL(
                """SELECT FROM res_partner
                    WHERE id IN (SELECT id FROM res_partner WHERE email_normalized = ANY(%(spellings)s)
                                 UNION
                                 SELECT partner_id FROM sendgrid_email WHERE recipient = ANY(%(addresses)s))
                 ORDER BY id
                      FOR NO KEY UPDATE""",
                addresses=list(addresses),
                spellings=all_spellings(addresses),
            )
        )

    @api.model
    def _reduce_what_slipped_in(self):
        """Look once more, in the drain's own lane, for what a chunk stored while somebody declined.

        :return: how many documents and requests were worked on, 0 if there is nothing to do
        """
        reductions = self.env["sendgrid.reduction"]._get_in_lane()
        try:
            with undoable(self.env.cr):
                return reductions._reduce_in_lane()
        except TRY_LATER:
            raise
        except Exception as error:
            _logger.exception("SendGrid events: what slipped in could not be reduced")
            reductions._start_over(error)
            return 0

    @api.model
    def _requeue_early(self):
        try:
            with undoable(self.env.cr):
                self.env["sendgrid.answer"]._requeue_early()
        except TRY_LATER:
            raise
        except Exception:
            # Whatever is wrong with these answers, the batches shall be processed all the same.
            _logger.exception("SendGrid events: waiting answers could not be processed once more")

    @api.model
    def _match_early(self):
        try:
            with undoable(self.env.cr):
                emails = self.env["sendgrid.match"]._match_early()
                emails._refresh_state()
                return emails
        except TRY_LATER:
            raise
        except Exception:
            # Whatever is wrong with these events, the batches shall be processed all the same.
            _logger.exception("SendGrid events: waiting events could not be attached")
            return self.env["sendgrid.email"]

    @api.model
    def _process(self, batches):
        """Store the events of batches, and write state and counts to each batch.

        :return: the documents (`sendgrid.email`) that changed
        """
        # A batch that is processed again has been added to its day before.
        uncounted = batches.filtered(lambda batch: not batch.event_count)
        rejected_before = {batch: batch.rejected_count for batch in batches - uncounted if batch.source == "webhook"}
        events, outcomes, latest = [], {}, {}
        for batch in batches:
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
                "rejected_reasons": batch._describe_rejected(rejected),
            }
        unmatched, duplicates, emails, decisions = self.env["sendgrid.ingest"]._ingest(events)
        by_outcome = defaultdict(batches.browse)
        for batch, outcome in outcomes.items():
            if outcome["state"] == "done":
                outcome.update(duplicate_count=duplicates[batch], unmatched_count=unmatched[batch])
            by_outcome[tuple(outcome.items())] |= batch
        now = fields.Datetime.now()
        for outcome, same in by_outcome.items():
            same.write({**dict(outcome), "processed_date": now})
        Reduction = self.env["sendgrid.reduction"]
        Reduction._rewrite_done(events, decisions)
        if odd := batches.filtered(lambda batch: batch.state == "failed" or batch.rejected_count):
            Reduction._reduce_bodies_of(odd)
        # The days show whether the webhook works. Batches that Odoo itself has asked for prove nothing about it.
        received = uncounted.filtered(lambda batch: batch.state == "done" and batch.source == "webhook")
        Day = self.env["sendgrid.account.day"]
        Day._add({batch: latest[batch] for batch in received})
        Day._correct_rejected({batch: batch.rejected_count - before for batch, before in rejected_before.items()})
        return emails

    @api.model
    def _note_failed(self, batch, error):
        _logger.exception("SendGrid events: batch %s failed", batch.id)
        batch.write({"state": "failed", "error": str(error) or repr(error), "processed_date": fields.Datetime.now()})
        try:
            with undoable(self.env.cr):
                self.env["sendgrid.reduction"]._reduce_bodies_of(batch)
        except TRY_LATER:
            raise
        except Exception:
            # What made the batch fail may make this fail. It is tried again when the batch is processed again.
            _logger.exception("SendGrid events: the body of batch %s could not be reduced", batch.id)
        return self.env["sendgrid.email"]
