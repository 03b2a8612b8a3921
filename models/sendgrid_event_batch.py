import base64
import contextlib
import gzip
import logging
import zlib

from markupsafe import Markup

from odoo import api, fields, models
from odoo.tools import SQL

from ..tools.events.answer import read_answers
from ..tools.events.parsing import BatchError, parse_batch
from .company_language import in_company_language
from .durations import describe_time
from .lists import join_links

_logger = logging.getLogger(__name__)

COMPRESSION = 1  # gzip's fastest level; it makes a body four times smaller


class SendgridEventBatch(models.Model):
    """One POST of SendGrid's webhook as it was received, and the result of its processing.

    Answers of SendGrid to questions of Odoo's, and answers of recipients, are stored in the same shape, see ``source``.
    """

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
            ("gateway", "Answers to Odoo"),
        ],
        required=True,
        readonly=True,
        default="webhook",
        help="Where the events come from. Odoo asks SendGrid for events that the webhook missed, and may get fewer "
        "details of them. Answers come by Odoo's own mail gateway and the portal.",
    )
    backfill_id = fields.Many2one(
        "sendgrid.backfill",
        readonly=True,
        index="btree_not_null",
        ondelete="set null",
        help="The search for missed events that found these.",
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
        [("pending", "To Process"), ("done", "Done"), ("failed", "Failed"), ("set_aside", "Left Aside")],
        required=True,
        readonly=True,
        default="pending",
    )
    error = fields.Text(readonly=True, help="Why the batch failed as a whole.")
    set_aside_uid = fields.Many2one(
        "res.users",
        string="Set Aside by",
        readonly=True,
        help="Who decided that this batch needs nobody's attention any more.",
    )
    set_aside_date = fields.Datetime(string="Set Aside on", readonly=True)
    event_count = fields.Integer(readonly=True, help="Events in the batch, duplicates included.")
    duplicate_count = fields.Integer(
        readonly=True, help="Events that were known already: SendGrid may deliver an event more than once."
    )
    unmatched_count = fields.Integer(
        readonly=True, help="New events for which no e-mail was found, except SendGrid's own tests."
    )
    rejected_count = fields.Integer(readonly=True, help="Elements that could not be understood.")
    rejected_reasons = fields.Text(readonly=True, help="The elements that could not be understood, and why.")
    reduced_count = fields.Integer(
        string="Not Kept",
        readonly=True,
        help="Opens and clicks of people who are not measured. They are kept neither as events nor in the body.",
    )
    is_rewritten = fields.Boolean(
        readonly=True, help="What may not be kept was taken out of the body, so that it is not as SendGrid sent it."
    )
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
                "Batch %(id)s of %(date)s", id=batch.id, date=describe_time(self.env, batch.create_date)
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
        """Store a body as a batch and wake the drain.

        It does one INSERT in plain SQL, because it runs for each POST of SendGrid, which may be hundreds a second. It
        compresses the body, because PostgreSQL would need twice as long to transfer and compress it.

        :param account: `sendgrid.account` record
        :param bytes body: the raw body of the POST, or an answer of SendGrid in the same shape
        :param str source: value of the field ``source``
        :param backfill: the `sendgrid.backfill` record that asked for the events, or None
        """
        self.env.cr.execute(
            SQL(
                """INSERT INTO sendgrid_event_batch
                               (account_id, body_gzip, size, source, backfill_id, state, create_uid, create_date)
                   VALUES (%s, %s, %s, %s, %s, 'pending', %s, now() AT TIME ZONE 'UTC')""",
                account.id,
                # Pass a string. The driver would send bytes as hexadecimal digits, which are twice as many.
                base64.b64encode(gzip.compress(body, COMPRESSION)).decode(),
                len(body),
                source,
                backfill.id if backfill else None,
                self.env.uid,
            )
        )
        self.env["sendgrid.drain"]._wake()

    def action_process_again(self):
        """Put the batches back into the queue. Events that are known already count as duplicates."""
        self.check_access("read")
        again = self.sudo().filtered("body_gzip")
        nobody = {"set_aside_uid": False, "set_aside_date": False}
        again.write({"state": "pending", "error": False, "failed_rules": False, **nobody})
        self.env["sendgrid.drain"]._wake()

    def action_set_aside(self):
        """Set failed batches aside, because nothing can or has to be done about them: no longer a problem.

        Others among the records stay as they are. The account's chatter tells who did it: it lasts longer than a batch.
        """
        self.check_access("read")
        aside = self.sudo().filtered(lambda batch: batch.state == "failed")
        aside.write(
            {"state": "set_aside", "set_aside_uid": self.env.uid, "set_aside_date": fields.Datetime.now()},
        )
        aside._tell_account(is_aside=True)

    def action_take_back(self):
        """Take batches back that were set aside: they count as failed again."""
        self.check_access("read")
        back = self.sudo().filtered(lambda batch: batch.state == "set_aside")
        back.write({"state": "failed", "set_aside_uid": False, "set_aside_date": False})
        back._tell_account(is_aside=False)

    @in_company_language
    def _tell_account(self, is_aside):
        """Note in the chatters of the accounts what the user did with these batches, and look at their health anew.

        :param bool is_aside: he set them aside; or he took them back
        """
        words = self.env._("Set aside:") if is_aside else self.env._("No longer set aside:")
        for account, batches in self.grouped("account_id").items():
            links = join_links(self.env, [batch._get_html_link() for batch in batches])
            account._message_log(body=Markup("%s %s") % (words, links))
            account._check_health_of_batches()

    # ------------------------------------------------------------
    # READ
    # ------------------------------------------------------------

    def _get_raw_body(self):
        """Return the bytes as SendGrid sent them.

        :raise BatchError: if the stored body cannot be decompressed
        """
        try:
            return gzip.decompress(base64.b64decode(self.body_gzip or b""))
        except (OSError, EOFError, ValueError, zlib.error) as error:
            raise BatchError("unreadable", detail=str(error)) from error

    def _parse(self):
        """Return the body as `tools.events.parsing.parse_batch` does.

        :raise BatchError: if the body as a whole cannot be understood
        """
        if self.source == "gateway":
            return read_answers(self._get_raw_body())
        return parse_batch(self._get_raw_body(), self.is_rewritten)

    # ------------------------------------------------------------
    # RULES THAT FAILED
    # ------------------------------------------------------------

    @api.model
    @in_company_language
    def _note_failed_rule(self, rule, records, error):
        """Note that an automation rule failed. The note goes to those of these batches whose events made it run.

        :param rule: `base.automation` record
        :param records: the records on which it failed
        :param error: the exception
        """
        _logger.warning("SendGrid: automation rule %s failed on %s", rule.id, records, exc_info=error)
        line = self.env._(
            "Rule “%(rule)s” on %(record)s: %(error)s",
            rule=rule.with_env(self.env).sudo().name,
            record=", ".join(f"{record._name} {record.id}" for record in records),
            error=error,
        )
        for batch in self.sudo()._get_batches(records):
            batch.failed_rules = f"{batch.failed_rules}\n{line}" if batch.failed_rules else line

    @api.model
    def _get_batches(self, records):
        """Return the batches of events, or the batch of the newest event about other records."""
        events = self.env["sendgrid.event"].sudo()
        if records._name == events._name:
            return records.sudo().batch_id
        field = "email_id" if records._name == "sendgrid.email" else "partner_id"
        return events.search([(field, "in", records.ids)], order="id desc", limit=1).batch_id
