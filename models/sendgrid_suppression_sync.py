from datetime import timedelta

from odoo import api, fields, models
from odoo.tools import SQL

from ..tools.api.suppressions import LISTS, read_list
from ..tools.times import to_seconds

# An entry may appear on its list some time after its date.
OVERLAP = timedelta(days=1)
# Each night reads the new entries. Only a comparison of whole lists sees which entries are gone.
WHOLE_EVERY = timedelta(days=7)
GIVE_UP_AFTER = timedelta(days=1)
ACTED = ("flagged", "event", "blacklisted")
ONLY_IN_ODOO = [("is_suppressed", "=", False)]


class SendgridSuppressionSync(models.Model):
    """One comparison of SendGrid's lists of suppressed addresses with Odoo: its position, and what differed.

    Each page commits its entries together with the position: after any interruption the next run goes on from there.
    """

    _name = "sendgrid.suppression.sync"
    _description = "SendGrid Suppressions Comparison"
    _order = "id desc"
    _inherit = ["sendgrid.job.mixin"]
    _allow_sudo_commands = False

    account_id = fields.Many2one("sendgrid.account", required=True, readonly=True, ondelete="cascade")
    state = fields.Selection(
        [("running", "Running"), ("done", "Done"), ("failed", "Failed")],
        required=True,
        readonly=True,
        default="running",
    )
    is_whole = fields.Boolean(
        string="Whole Lists",
        readonly=True,
        help="The comparison reads all entries, and so sees which are gone at SendGrid. Otherwise it reads only those "
        "that are new since the last time.",
    )
    since = fields.Datetime(readonly=True, help="Entries that SendGrid listed earlier are not read.")
    until = fields.Datetime(
        readonly=True, required=True, help="Entries that SendGrid listed later are left to the next comparison."
    )
    started = fields.Datetime(readonly=True, default=fields.Datetime.now)
    ended = fields.Datetime(readonly=True)
    current_list = fields.Selection(
        lambda self: self.env["sendgrid.suppression"]._fields["list"]._description_selection(self.env), readonly=True
    )
    current_offset = fields.Integer(readonly=True, help="The number of entries of this list that are read.")
    current_last = fields.Char(
        readonly=True, help="The entry that was read last. If it has moved meanwhile, some entries are read again."
    )
    progress = fields.Integer(compute="_compute_progress", help="In percent, by lists.")
    seen_count = fields.Integer(string="Entries Read", readonly=True)
    new_count = fields.Integer(string="New", readonly=True, help="Entries that Odoo had not seen before.")
    acted_count = fields.Integer(
        string="New in Odoo",
        readonly=True,
        help="New entries for which Odoo flagged a contact, blacklisted the address, or added a bounce to an e-mail.",
    )
    known_count = fields.Integer(
        string="Known Already", readonly=True, help="New entries that Odoo knew from events before."
    )
    kept_count = fields.Integer(
        string="Left as Decided",
        readonly=True,
        help="SendGrid suppresses these addresses, but somebody in Odoo has decided otherwise since.",
    )
    failed_count = fields.Integer(string="Failed", readonly=True)
    cleared_count = fields.Integer(
        string="Gone at SendGrid", readonly=True, help="Entries that are gone from SendGrid's list."
    )
    rejected_count = fields.Integer(string="Not Understood", readonly=True)
    odoo_only_count = fields.Integer(
        string="Only in Odoo",
        readonly=True,
        help="Addresses that Odoo has blacklisted, but that are on none of SendGrid's lists: SendGrid would deliver to "
        "them.",
    )
    error = fields.Text(readonly=True, help="Says why the work has failed or waits.")

    _running_uniq = models.UniqueIndex(
        "(account_id) WHERE state = 'running'", "SendGrid's lists are being read already."
    )

    @api.depends("account_id", "started")
    def _compute_display_name(self):
        for sync in self:
            sync.display_name = f"{sync.account_id.name}, {fields.Date.to_string(sync.started)}"

    @api.depends("state", "current_list")
    def _compute_progress(self):
        for sync in self:
            done = LISTS.index(sync.current_list) if sync.current_list else 0
            sync.progress = 100 if sync.state == "done" else 100 * done // len(LISTS)

    # ------------------------------------------------------------
    # START
    # ------------------------------------------------------------

    @api.model
    def _start(self, accounts, is_whole=None):
        """Start a comparison for each account, unless one is running.

        :param accounts: `sendgrid.account` records
        :param bool is_whole: read the whole lists; None does so if the last time is longer than `WHOLE_EVERY` ago
        :return: the running comparisons of the accounts
        """
        syncs = self.search([("account_id", "in", accounts.ids), ("state", "=", "running")])
        now = fields.Datetime.now()
        for account in accounts - syncs.account_id:
            done = self.search([("account_id", "=", account.id), ("state", "=", "done")], limit=1)
            last_whole = self.search(
                [("account_id", "=", account.id), ("state", "=", "done"), ("is_whole", "=", True)], limit=1
            )
            whole = is_whole
            if whole is None:
                whole = not last_whole or last_whole.started < now - WHOLE_EVERY
            syncs += self.create(
                {
                    "account_id": account.id,
                    "is_whole": whole or not done,
                    "since": False if whole or not done else done.until - OVERLAP,
                    "until": now,
                    "current_list": LISTS[0],
                }
            )
        if syncs:
            self.env.ref("sendgrid_tracking.ir_cron_sync").sudo()._trigger()
        return syncs

    @api.model
    def _cron_start(self):
        """Start the nightly comparisons, and end those that have run longer than `GIVE_UP_AFTER`."""
        self._run_job("beginning to compare suppressions", self._start_nightly, is_long=False)

    @api.model
    def _start_nightly(self):
        accounts = self.env["sendgrid.account"].search([("api_key", "!=", False)])
        stuck = self.search([("state", "=", "running"), ("started", "<", fields.Datetime.now() - GIVE_UP_AFTER)])
        for sync in stuck:
            sync._fail(self.env._("It was not done within a day. %s", sync.error or ""))
        self._start(accounts)
        yield len(accounts)

    # ------------------------------------------------------------
    # RUN
    # ------------------------------------------------------------

    @api.model
    def _cron_compare(self):
        """Go on with each running comparison."""
        syncs = self.search([("state", "=", "running")], order="id")
        for number, sync in enumerate(syncs, 1):
            others = len(syncs) - number
            if not self._run_job(f"comparison {sync.id}", sync._compare, sync._fail, sync._put_off, others):
                return

    def _compare(self):
        """Read and store page after page, up to the end of the last list.

        :return: generator of how many entries were stored, for a commit after each page
        """
        while self.state == "running":
            # Call SendGrid before reading from the database. The other way round the transaction's snapshot would grow
            # old during the call, and conflict with other transactions.
            for page in self._read_pages():
                self._take_in(page)
                yield len(page.entries)
                if not page.next:
                    break

    def _read_pages(self):
        return read_list(
            self.account_id._get_client(),
            self.current_list,
            since=to_seconds(self.since),
            until=to_seconds(self.until),
            offset=self.current_offset,
            last=self.current_last or "",
        )

    def _take_in(self, page):
        """Store the entries of a page with their consequences, the counts, and the position of the next page.

        :param page: `tools.api.suppressions.Page`
        """
        # A kill or a lost connection undoes all of this together, so the page counts once when it is read again.
        outcomes = self.env["sendgrid.suppression"]._store(self, self.current_list, page.entries)
        values = {
            "seen_count": self.seen_count + len(page.entries),
            "rejected_count": self.rejected_count + page.rejected,
            "new_count": self.new_count + outcomes.total(),
            "acted_count": self.acted_count + sum(outcomes[outcome] for outcome in ACTED),
            "known_count": self.known_count + outcomes["known"],
            "kept_count": self.kept_count + outcomes["kept"],
            "failed_count": self.failed_count + outcomes["failed"],
            "current_offset": page.next or 0,
            "current_last": page.last if page.next else False,
            "error": False,
        }
        if not page.next:
            values |= self._end_list()
        self.write(values)

    def _end_list(self):
        """End the current list: mark the entries that are gone, and choose the next list or end the comparison.

        :return: values to write to the comparison
        """
        gone = self._note_gone()
        if self.current_list == "groups" and gone:
            self.env["sendgrid.suppression"]._settle_returned(self.account_id, gone)
        values = {"cleared_count": self.cleared_count + len(gone)}
        if self.current_list != LISTS[-1]:
            return values | {"current_list": LISTS[LISTS.index(self.current_list) + 1]}
        self._note_health("ok", "compared")
        return values | {
            "state": "done",
            "current_list": False,
            "ended": fields.Datetime.now(),
            "odoo_only_count": self.env["mail.blacklist"].search_count(ONLY_IN_ODOO),
        }

    def _note_gone(self):
        """Mark entries as cleared that were not seen although the whole list was read.

        A comparison of new entries only skips this, except for the unsubscribe groups: SendGrid always returns these
        whole.

        :return: the marked `sendgrid.suppression` records
        """
        Suppression = self.env["sendgrid.suppression"]
        if not self.is_whole and self.current_list != "groups":
            return Suppression
        rows = self.env.execute_query(
            SQL(
                """UPDATE sendgrid_suppression
                      SET state = 'cleared', cleared_date = %s, cleared_sync_id = %s
                    WHERE account_id = %s AND list = %s AND state != 'cleared' AND created <= %s
                      AND last_sync_id IS DISTINCT FROM %s
                RETURNING id""",
                fields.Datetime.now(),
                self.id,
                self.account_id.id,
                self.current_list,
                self.until,
                self.id,
            )
        )
        Suppression.invalidate_model()
        return Suppression.browse(id_ for (id_,) in rows)

    def _put_off(self, words, after):
        if words:
            self.error = words
        self.env.ref("sendgrid_tracking.ir_cron_sync").sudo()._trigger(at=fields.Datetime.now() + after)

    def _fail(self, words):
        self.write({"state": "failed", "error": words, "ended": fields.Datetime.now()})
        self._note_health("problem", "not_compared", words)

    def _note_health(self, state, finding, detail=None):
        """Store the result as the account's check "suppressions", and update the administrators' warnings."""
        findings = {"suppressions": (state, finding, detail)}
        is_changed, has_new = self.env["sendgrid.account.check"]._note(self.account_id, findings)
        if is_changed:
            self.account_id._warn_administrators(has_new)

    # ------------------------------------------------------------
    # SHOW
    # ------------------------------------------------------------

    def action_view_entries(self):
        """Open the entries that the comparison found to be new or gone."""
        self.ensure_one()
        action = self.env["ir.actions.act_window"]._for_xml_id("sendgrid_tracking.sendgrid_suppression_action")
        return {
            **action,
            "display_name": self.display_name,
            "domain": ["|", ("sync_id", "=", self.id), ("cleared_sync_id", "=", self.id)],
            "context": {},
        }

    def action_view_only_in_odoo(self):
        """Open the blacklist entries whose addresses are on none of SendGrid's lists."""
        self.check_access("read")
        action = self.env["ir.actions.act_window"]._for_xml_id("mail.mail_blacklist_action")
        return {**action, "domain": ONLY_IN_ODOO, "context": {}}
