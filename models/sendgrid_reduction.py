from datetime import timedelta

from odoo import api, fields, models
from odoo.tools import SQL

from ..tools.address_form import comparable
from ..tools.events.engagement_rules import WISHES
from ..tools.events.event import DELIVERY_EVENTS, INTERACTIONS
from .company_language import in_company_language

# A request is split into parts of this size, so that no row becomes large.
ADDRESSES_OF_ONE, EMAILS_OF_ONE = 200, 5000
# The rows that one transaction takes.
AT_ONCE = 300
CHUNK_EMAILS = 500
CHUNK_EVENTS = 20_000
# How long is shown what was reduced. The addresses are forgotten at the end.
KEEP_DONE = timedelta(days=30)
# The events that tell only how the mail travelled. All others may tell something about a person's device.
TRAVEL_EVENTS = DELIVERY_EVENTS
# SQL for events whose address does not want to be measured, and for those of a document that is not measured as well.
IS_SILENT_BY_ADDRESS = SQL(
    """EXISTS (SELECT FROM sendgrid_address
                WHERE sendgrid_address.email = sendgrid_event.recipient
                  AND (email_tracking = 'declined' OR sendgrid_event.timestamp <= unmeasured_until))"""
)
# Its verdict becomes final as well, which is that of the time when the opens and clicks were still known.
IS_BARABLE = SQL(
    """is_final IS NOT TRUE AND event NOT IN %s
       AND (event IN %s OR ip IS NOT NULL OR user_agent IS NOT NULL OR url IS NOT NULL)""",
    (*TRAVEL_EVENTS, *INTERACTIONS),
    WISHES,
)
IS_SILENT = SQL(
    """(%s OR EXISTS (SELECT FROM sendgrid_email
                   LEFT JOIN sendgrid_address ON sendgrid_address.email = sendgrid_email.recipient
                       WHERE sendgrid_email.id = sendgrid_event.email_id
                         AND (measured = 'none' OR email_tracking = 'declined'
                              OR sendgrid_event.timestamp <= unmeasured_until)))""",
    IS_SILENT_BY_ADDRESS,
)


class SendgridReduction(models.Model):
    """What has to be taken back because somebody declined to be measured, or because his tracking was forgotten.

    Two things stop what still comes in: a document that is not `measured`, and an address whose owner declined
    (`email_tracking`) or up to whose moment nothing is kept (`unmeasured_until`). `sendgrid.ingest` asks `_decide_by_…`
    before it stores or folds anything. What came before is reduced here: a record of this model is a request, or a part
    of a large one, and remembers how far it is. Its states, in this order:

    - documents: opens and clicks are deleted, the details of other events removed, and the documents folded anew. The
      first of them in the transaction that declines, the others by the scheduled action.
    - lane: the drain looks once more. It is what makes this complete. While somebody declines, a chunk of the drain may
      be under way that does not see it yet. As only one drain runs, all that such a chunk has stored is committed
      when the drain looks, and the next chunk sees that the person declined. The lock on the address's row, which
      declining holds and the drain asks for, is not needed for that: it makes the conflict show at once, so that in
      nearly all cases no rule runs and no page changes for somebody who has just declined. A row that does not exist
      yet cannot be locked.
    - events: what has no document, or names the address on somebody else's, and core's statistics of mass mailings.
    - bodies: what batches still hold. All that was stored by then is done, and what waits is reduced when it is
      processed.

    Other models call `_begin`. What ingestion, matching and the drain call is in `sendgrid_reduction_arrival.py`, and
    the rewriting of bodies in `sendgrid_reduction_bodies.py`.
    """

    _name = "sendgrid.reduction"
    _description = "Reduction of What Was Measured"
    _order = "id desc"
    _rec_name = "reason"
    _inherit = ["sendgrid.job.mixin"]
    _allow_sudo_commands = False

    reason = fields.Selection(
        [
            ("wish", "The recipient does not want it"),
            ("others", "A recipient of the same e-mail does not want it"),
            ("forgotten", "The tracking was forgotten"),
            ("deleted", "The data were deleted"),
        ],
        required=True,
        readonly=True,
        help="Why it is not measured any more.",
    )
    addresses = fields.Json(readonly=True, help="The addresses, as long as there is something to do for them.")
    email_numbers = fields.Json(
        string="Documents",
        readonly=True,
        help="The ids of the documents, as long as there is something to do for them.",
    )
    state = fields.Selection(
        [
            ("documents", "Reducing Documents"),
            ("lane", "Waiting for What Is Being Processed"),
            ("events", "Reducing Other Events"),
            ("bodies", "Rewriting Batches"),
            ("done", "Done"),
        ],
        required=True,
        readonly=True,
        default="documents",
        help="What is done next.",
    )
    last_id = fields.Integer(
        string="Done up to",
        readonly=True,
        aggregator=None,
        help="The id of the last record that this state is done with.",
    )
    email_count = fields.Integer(string="Documents Reduced", readonly=True, help="How many documents were looked at.")
    error = fields.Text(readonly=True, help="Why it did not go on. It is tried again each hour.")

    _undone_idx = models.Index("(id) WHERE state != 'done'")

    @api.model
    def _begin(self, reason, addresses=(), email_ids=()):
        """Reduce what was measured of some people or documents, and see to it that nothing comes back.

        A few hundred documents are reduced at once, the rest and the bodies of batches after the commit.

        :param str reason: ``wish``, ``forgotten``, or ``others`` for the documents of a copy of which one recipient
            declined: nobody learns who
        :param addresses: comparable addresses, of which nothing is kept that happened up to now. Whoever declined
            has to have his word on the address (`email_tracking`) besides: it stops what happens later.
        :param email_ids: ids of documents
        :return: the records of the work
        """
        self = self.sudo()
        addresses = sorted({comparable(address) for address in addresses if address})
        email_ids = sorted(set(email_ids))
        now = fields.Datetime.now()
        known = self.env["sendgrid.address"]._hold(addresses)
        known.filtered(lambda one: not one.unmeasured_until or one.unmeasured_until < now).unmeasured_until = now
        reductions = self.create(
            [{"reason": reason, "addresses": part} for part in _split(addresses, ADDRESSES_OF_ONE)]
            + [{"reason": reason, "email_numbers": part} for part in _split(email_ids, EMAILS_OF_ONE)]
        )
        rest = AT_ONCE
        for reduction in reductions:
            if rest > 0:
                rest -= reduction._reduce_next(rest)
        self._wake()
        return reductions

    @api.model
    def _begin_deleted(self, addresses):
        """Take the opens and clicks of some addresses out of the bodies of batches, after their events were deleted.

        :param addresses: comparable addresses
        """
        self = self.sudo()
        waiting = self.search([("reason", "=", "deleted"), ("state", "=", "bodies"), ("last_id", "in", (False, 0))])
        known = {address for reduction in waiting for address in reduction.addresses or ()}
        # Who deletes line by line does not make a request for each.
        addresses = sorted(set(filter(None, addresses)) - known)
        self.create(
            [
                {"reason": "deleted", "addresses": part, "state": "bodies"}
                for part in _split(addresses, ADDRESSES_OF_ONE)
            ]
        )
        self.env.ref("sendgrid_tracking.ir_cron_reduce").sudo()._trigger()

    @api.model
    def _wake(self):
        for name in ("ir_cron_reduce", "ir_cron_drain"):
            self.env.ref(f"sendgrid_tracking.{name}").sudo()._trigger()

    # ------------------------------------------------------------
    # WHAT IS STORED
    # ------------------------------------------------------------

    @api.model
    def _delete_interactions(self, condition):
        """Delete opens and clicks in SQL: no rule runs, and nothing follows.

        :param condition: SQL that says which; it names the columns of `sendgrid_event`
        :return: list of (id of the document, id of the batch, fingerprint, whether it is a colleague's)
        """
        rows = self.env.execute_query(
            SQL(
                """DELETE FROM sendgrid_event WHERE event IN %s AND %s
                RETURNING email_id, batch_id, fingerprint, is_colleague""",
                INTERACTIONS,
                condition,
            )
        )
        if rows:
            self.env.invalidate_all()
        return rows

    @api.model
    def _bare_events(self, condition):
        """Take the details out of other events that may tell about a device. Their verdicts are final from then on.

        :param condition: as for `_delete_interactions`
        :return: list of (id of the batch, fingerprint)
        """
        return self.env["sendgrid.event"]._remove_details(SQL("%s AND %s", IS_BARABLE, condition))

    @api.model
    def _note_deleted(self, deleted):
        """Note of documents whose opens or clicks were deleted that these had proved their arrival.

        :param deleted: as `_delete_interactions` returns it
        """
        self._write_arrived(
            {email_id for email_id, _batch, _name, is_colleague in deleted if email_id and not is_colleague}
        )

    def _reduce_next(self, limit):
        """Reduce the next documents, or go on to the next state if there are none.

        :param int limit: how many at most
        :return: how many
        """
        self.env.flush_all()
        rows = self.env.execute_query(
            SQL(
                "SELECT id FROM sendgrid_email WHERE %s AND id > %s ORDER BY id LIMIT %s",
                self._get_condition(),
                self.last_id or 0,
                limit,
            )
        )
        ids = [id_ for (id_,) in rows]
        self._reduce_emails(ids)
        if ids:
            self.write({"last_id": ids[-1], "email_count": (self.email_count or 0) + len(ids)})
        if len(ids) < limit:
            self.write({"state": "lane", "last_id": 0, "error": False})
            self.env["sendgrid.drain"]._wake()
        self.env.flush_all()
        return len(ids)

    def _get_condition(self):
        """Return the SQL that says which documents it is about; it names the columns of `sendgrid_email`."""
        if self.addresses:
            return SQL("recipient = ANY(%s)", self.addresses)
        return SQL("id = ANY(%s)", self.email_numbers or [])

    def _reduce_emails(self, ids):
        """Reduce documents: nothing is left that tells of opens and clicks, and it does not come back.

        :param ids: ids of the documents, in their order
        """
        if not ids:
            return
        emails = self.env["sendgrid.email"].browse(ids)
        # All transactions write in the order of the ids. So one waits for the other, and they never end in a deadlock.
        # A conflict is none of the log's business: whoever called tries again.
        self.env.cr.execute(
            SQL("SELECT id FROM sendgrid_email WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE", ids),
            log_exceptions=False,
        )
        self.env.cr.execute(
            SQL(
                """UPDATE sendgrid_email SET measured = 'none', unmeasured_reason = %s
                    WHERE id = ANY(%s) AND measured IS DISTINCT FROM 'none' RETURNING id""",
                self.reason,
                ids,
            )
        )
        changed = {id_ for (id_,) in self.env.cr.fetchall()}
        emails.invalidate_recordset(["measured", "unmeasured_reason"])
        # The verdicts of other events stay as they were with the opens and clicks.
        self._bare_events(SQL("email_id = ANY(%s)", ids))
        deleted = self._delete_interactions(SQL("email_id = ANY(%s)", ids))
        self._note_deleted(deleted)
        reduced = emails.browse(sorted({email_id for email_id, *_others in deleted}))
        reduced._fold_quietly()
        self.env["sendgrid.mailing"]._forget_interactions_of(emails)
        (emails.browse(sorted(changed)) | reduced)._notify_changed()

    # ------------------------------------------------------------
    # IN THE DRAIN'S LANE
    # ------------------------------------------------------------

    @api.model
    def _get_in_lane(self):
        return self.search([("state", "=", "lane")], order="id", limit=10)

    def _reduce_in_lane(self):
        """Reduce what came to the documents since they were reduced, up to `CHUNK_EMAILS` of each request.

        :return: how many documents and requests were worked on
        """
        count = 0
        # All at once, because all transactions lock in the order of the addresses.
        addresses = {address for reduction in self for address in reduction.addresses or ()}
        if addresses:
            self.env["sendgrid.address"]._select_for_update(sorted(addresses))
        for reduction in self:
            rows = self.env.execute_query(
                SQL(
                    """SELECT id FROM sendgrid_email
                        WHERE %s AND (measured IS DISTINCT FROM 'none'
                                      OR EXISTS (SELECT FROM sendgrid_event
                                                  WHERE email_id = sendgrid_email.id AND event IN %s))
                     ORDER BY id LIMIT %s""",
                    reduction._get_condition(),
                    INTERACTIONS,
                    CHUNK_EMAILS,
                )
            )
            reduction._reduce_emails([id_ for (id_,) in rows])
            if len(rows) < CHUNK_EMAILS:
                reduction.write({"state": "events", "last_id": 0, "error": False})
            count += 1 + len(rows)
        if self:
            self.env.ref("sendgrid_tracking.ir_cron_reduce").sudo()._trigger()
        return count

    def _start_over(self, error):
        """Have the scheduled action try again when it runs next, which shows to the drain what it leaves."""
        self.write({"state": "documents", "last_id": 0, "error": str(error) or repr(error)})

    # ------------------------------------------------------------
    # THE SCHEDULED ACTION
    # ------------------------------------------------------------

    @api.model
    @in_company_language
    def _cron_reduce(self):
        """Reduce what was too much for the transaction that declined, piece by piece."""
        self = self.sudo().with_context(sendgrid_drain=True)
        self._run_job("reducing what is not measured", self._reduce_all, self._note_error)

    @api.model
    def _note_error(self, words):
        self.search([("state", "in", ("documents", "events", "bodies"))]).error = words

    @api.model
    def _reduce_all(self):
        """Do all that is left; a generator, see `sendgrid.job.mixin`.

        The states take turns, so that none waits for ever while new requests come.
        """
        has_worked = True
        while has_worked:
            has_worked = False
            if reduction := self.search([("state", "=", "documents")], order="id", limit=1):
                has_worked = True
                yield reduction._reduce_next(CHUNK_EMAILS)
            if reductions := self.search([("state", "=", "events")], order="id"):
                has_worked = True
                yield reductions._get_foremost()._reduce_events()
            if reductions := self.search([("state", "=", "bodies")], order="id"):
                has_worked = True
                yield reductions._get_foremost()._reduce_bodies()

    def _get_foremost(self):
        """Return those of the requests that are farthest: the others wait, and go on together when these are done.

        If the last one were served first, a long request would never end while new ones come.
        """
        farthest = max(reduction.last_id or 0 for reduction in self)
        return self.filtered(lambda reduction: (reduction.last_id or 0) == farthest)

    def _reduce_events(self):
        """Reduce the next events that have no document, or that name an address on somebody else's document.

        It reads the events once for all requests that are as far, in the order of their ids.

        :return: how many events were looked at
        """
        self.env.flush_all()
        since = self[0].last_id or 0
        [(last, count)] = self.env.execute_query(
            SQL(
                "SELECT max(id), count(*) FROM (SELECT id FROM sendgrid_event WHERE id > %s ORDER BY id LIMIT %s) part",
                since,
                CHUNK_EVENTS,
            )
        )
        if count:
            condition = SQL("id > %s AND id <= %s AND %s", since, last, IS_SILENT_BY_ADDRESS)
            # The verdicts of other events stay as they were with the opens and clicks.
            self._bare_events(condition)
            deleted = self._delete_interactions(condition)
            self._note_deleted(deleted)
            emails = self.env["sendgrid.email"].browse(sorted({email for email, *_others in deleted if email}))
            emails._fold_quietly()
            emails._notify_changed()
            self.last_id = last
        if count < CHUNK_EVENTS:
            addresses = {address for reduction in self for address in reduction.addresses or ()}
            self.env["sendgrid.mailing"]._forget_interactions_with(sorted(addresses))
            self.write({"state": "bodies", "last_id": 0, "error": False})
        self.env.flush_all()
        return count

    @api.autovacuum
    def _gc_done(self):
        """Delete what is done after `KEEP_DONE`."""
        old = [("state", "=", "done"), ("write_date", "<", fields.Datetime.now() - KEEP_DONE)]
        self.sudo().search(old).unlink()


def _split(items, size):
    return [items[start : start + size] for start in range(0, len(items), size)]
