import json
from datetime import timedelta

from odoo import api, fields, models
from odoo.exceptions import UserError, ValidationError

from ..tools.api.client import ApiError
from ..tools.api.history import AT_ONCE, EmailActivity, EmailLogs, may_be_part
from ..tools.times import to_seconds
from .company_language import in_company_language
from .durations import describe_time
from .said import isolate

APIS = {"logs": EmailLogs, "activity": EmailActivity}
# One transaction reads so many messages. After an interruption they are asked for again.
MESSAGES_AT_ONCE = 50
# SendGrid's time of a sending differs a little from Odoo's.
AROUND_SENDING = timedelta(hours=1)
# A user waits for so many steps: choose the API, search, read, end. The scheduled action does further ones.
STEPS_AT_ONCE = 4


class SendgridBackfill(models.Model):
    """One request to SendGrid for events that the webhook missed: those of one e-mail, or of a period.

    SendGrid's answers become batches for the same drain as the webhook's, so that an event counts once. Each step
    commits the events together with the position in the work: after any interruption the next run goes on from there.
    """

    _name = "sendgrid.backfill"
    _description = "Events Asked for at SendGrid"
    _order = "id desc"
    _inherit = ["sendgrid.job.mixin"]
    _allow_sudo_commands = False

    account_id = fields.Many2one(
        "sendgrid.account", required=True, ondelete="cascade", default=lambda self: self._default_account()
    )
    email_id = fields.Many2one(
        "sendgrid.email", string="E-mail", readonly=True, index="btree_not_null", ondelete="cascade"
    )
    date_from = fields.Datetime(
        string="Since", required=True, default=lambda self: fields.Datetime.now() - timedelta(days=1)
    )
    date_to = fields.Datetime(string="Until", required=True, default=fields.Datetime.now)
    state = fields.Selection(
        [("draft", "Not Started"), ("running", "Running"), ("done", "Done"), ("failed", "Failed")],
        required=True,
        readonly=True,
        default="draft",
    )
    api_name = fields.Selection(
        [("logs", "Email Logs"), ("activity", "Email Activity")],
        string="Asked",
        readonly=True,
        help="Odoo asks SendGrid's Email Activity where the API key or the plan has no Email Logs. Email Activity "
        "knows less of clicks, and answers only six calls a minute.",
    )
    windows = fields.Json(
        readonly=True, groups="base.group_system", help="Periods still to search, as pairs of Unix seconds (UTC)."
    )
    message_ids_left = fields.Json(
        readonly=True, groups="base.group_system", help="SendGrid's ids of the messages that are found but not read."
    )
    message_count = fields.Integer(string="Messages Read", readonly=True)
    event_count = fields.Integer(string="Events Told", readonly=True, help="Includes those that Odoo knew already.")
    batch_ids = fields.One2many("sendgrid.event.batch", "backfill_id", string="Batches", readonly=True)
    new_count = fields.Integer(string="New Events", compute="_compute_new_count", help="Those that Odoo did not know.")
    progress = fields.Integer(compute="_compute_progress", help="In percent of the period.")
    error = fields.Text(readonly=True, help="Says why the work has failed or waits.")
    waits_until = fields.Datetime(
        readonly=True, help="SendGrid takes no more calls for now: the work goes on by itself at this time."
    )
    is_incomplete = fields.Boolean(
        readonly=True,
        help="SendGrid has over 1,000 messages of one second, and tells no more than these, or its answer about a "
        "message could not be read.",
    )

    @api.model
    def _default_account(self):
        return self.env["sendgrid.account"].search([("api_key", "!=", False)], limit=1)

    @api.constrains("date_from", "date_to")
    def _check_dates(self):
        for backfill in self:
            if backfill.date_from >= backfill.date_to:
                raise ValidationError(self.env._("The time ends before it begins."))

    @api.depends("account_id", "email_id", "date_from")
    @api.depends_context("lang", "tz")
    def _compute_display_name(self):
        for backfill in self:
            account, since = backfill.account_id.name, backfill.date_from
            parts = (account and isolate(account), since and describe_time(self.env, since))
            backfill.display_name = backfill.email_id.display_name or ", ".join(filter(None, parts))

    @api.depends("batch_ids.event_count", "batch_ids.duplicate_count")
    def _compute_new_count(self):
        for backfill in self:
            batches = backfill.batch_ids.filtered(lambda batch: batch.state == "done")
            backfill.new_count = sum(batches.mapped("event_count")) - sum(batches.mapped("duplicate_count"))

    @api.depends("state", "windows", "message_ids_left")
    def _compute_progress(self):
        for backfill in self:
            whole = (backfill.date_to - backfill.date_from).total_seconds() if backfill.date_to else 0
            left = sum(end - start for start, end in backfill.windows or ())
            share = 1 - min(left / whole, 1) if whole else 0
            backfill.progress = 100 if backfill.state == "done" else int(100 * share) if backfill.api_name else 0

    # ------------------------------------------------------------
    # START
    # ------------------------------------------------------------

    def action_start(self):
        """Start the request, or go on where it failed. The scheduled action does the work."""
        self.check_access("write")
        for backfill in self.filtered(lambda b: b.state in ("draft", "failed")):
            backfill.account_id._get_client()  # raises now if the API key is missing
            backfill.write({"state": "running", "error": False, "waits_until": False})
        self.env.ref("sendgrid_tracking.ir_cron_backfill").sudo()._trigger()

    @api.model
    def _ask_about(self, email):
        """Ask SendGrid for the events of one e-mail, while the user waits. The scheduled action does what remains.

        :param email: `sendgrid.email` record
        :return: the new `sendgrid.backfill` record; its state says whether it is done
        :raise UserError: if SendGrid refused, or the account has no API key
        """
        backfill = self.create(
            {
                "account_id": email.account_id.id,
                "email_id": email.id,
                "date_from": email.date - AROUND_SENDING,
                "date_to": email.date + AROUND_SENDING,
                "state": "running",
            }
        )
        try:
            for _number in range(STEPS_AT_ONCE):
                if backfill.state == "running":
                    backfill._step(email.account_id._get_client(patience=3))
        except ApiError as error:
            if not error.may_pass:
                raise UserError(email.account_id._explain_api_error(error)) from error
            backfill.error = email.account_id._explain_api_error(error)
        if backfill.state == "running":
            self.env.ref("sendgrid_tracking.ir_cron_backfill").sudo()._trigger()
        return backfill

    # ------------------------------------------------------------
    # RUN
    # ------------------------------------------------------------

    @api.model
    @in_company_language
    def _cron_ask(self):
        """Go on with each running request."""
        backfills = self.search([("state", "=", "running")], order="id")
        for number, backfill in enumerate(backfills, 1):
            others = len(backfills) - number
            if not self._run_job(f"backfill {backfill.id}", backfill._ask, backfill._fail, backfill._put_off, others):
                return

    def _ask(self):
        """Ask SendGrid step after step.

        :return: a generator that yields 1 after each step, for a commit
        """
        while self.state == "running":
            self._step(self._get_patient_client(self.account_id))
            yield 1

    def _fail(self, words):
        self.write({"state": "failed", "error": words, "waits_until": False})

    def _put_off(self, words, after):
        if words:
            self.write({"error": words, "waits_until": fields.Datetime.now() + after})
        self.env.ref("sendgrid_tracking.ir_cron_backfill").sudo()._trigger(at=fields.Datetime.now() + after)

    def _step(self, client):
        """Do the next piece of work: choose the API, search one period for messages, read some messages, or end."""
        if not self.api_name:
            self._choose_api(client)
        elif self.message_ids_left:
            self._read_messages(client)
        elif self.windows:
            self._search_messages(client)
        else:
            self.write({"state": "done", "error": False, "waits_until": False})

    def _choose_api(self, client):
        """Choose the first of SendGrid's APIs for which the key and the plan allow a call, and note what to search."""
        start, end, now = (to_seconds(moment) for moment in (self.date_from, self.date_to, fields.Datetime.now()))
        end, now = end + 1, now + 1  # a period ends before its last second, and these two seconds belong to it
        problem = None
        for name, api_class in APIS.items():
            source = api_class(client)
            # Email Logs finds a message by the time when it was sent, whenever its events happened. So for one e-mail
            # the time around its sending is enough.
            window = (start, end) if self.email_id and name == "logs" else source.widen(start, end, now)
            try:
                source.find(window[0], window[0] + 1)
            except ApiError as error:
                if error.kind not in ("scope", "missing"):
                    raise
                problem = problem or error
                continue
            self.write({"api_name": name, "windows": [window], "message_ids_left": []})
            return
        raise UserError(
            self.env._(
                "SendGrid tells the history of messages only with the API key's permission “Email Logs”, or “Email "
                "Activity” where the plan has it. %s",
                self.account_id._explain_api_error(problem),
            )
        )

    def _search_messages(self, client):
        """Search the next period. If it has more messages than SendGrid returns at once, split it in two halves."""
        (start, end), *rest = self.windows
        found = APIS[self.api_name](client).find(start, end, self.email_id.recipient or None)
        is_full = len(found) >= AT_ONCE
        if (is_full or may_be_part(len(found))) and end - start > 1:
            middle = (start + end) // 2
            self.windows = [(start, middle), (middle, end), *rest]
        else:
            self.write(
                {
                    "windows": rest,
                    "message_ids_left": [message_id for message_id in found if message_id],
                    "is_incomplete": self.is_incomplete or is_full or "" in found,
                    "error": False,
                    "waits_until": False,
                }
            )

    def _read_messages(self, client):
        """Read the events of some of the messages that were found, and store them as a batch for the drain."""
        source = APIS[self.api_name](client)
        left = self.message_ids_left
        events, read, is_incomplete = [], 0, self.is_incomplete
        for message_id in left[:MESSAGES_AT_ONCE]:
            try:
                events += source.get_events(message_id)
            except ApiError as error:
                if error.kind in ("missing", "answer"):  # SendGrid keeps messages for some days only
                    is_incomplete |= error.kind == "answer"
                    read += 1
                    continue
                if not read:
                    raise
                break  # keep what was read; the next step meets the error again
            read += 1
        self._receive(events)
        self.write(
            {
                "message_ids_left": left[read:],
                "message_count": self.message_count + read,
                "event_count": self.event_count + len(events),
                "is_incomplete": is_incomplete,
                "error": False,
                "waits_until": False,
            }
        )

    def _receive(self, events):
        if events:
            self.env["sendgrid.event.batch"]._receive(
                self.account_id, json.dumps(events).encode(), source="history", backfill=self
            )

    # ------------------------------------------------------------
    # SHOW
    # ------------------------------------------------------------

    def action_view_events(self):
        """Open the events that Odoo did not know before."""
        self.ensure_one()
        action = self.env["ir.actions.act_window"]._for_xml_id("sendgrid_tracking.sendgrid_event_action")
        return {
            **action,
            "display_name": self.display_name,
            "domain": [("batch_id", "in", self.batch_ids.ids)],
            "path": "sendgrid-missed-events",
            "context": {"active_id": self.id},
        }
