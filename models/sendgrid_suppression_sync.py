from datetime import timedelta

from odoo import api, fields, models
from odoo.tools import SQL

from ..tools.api.client import ApiError
from ..tools.api.suppressions import LISTS, NO_WORD, find_groups, read_list
from ..tools.times import to_seconds
from .company_language import in_company_language
from .durations import describe_time
from .said import isolate

# An entry may appear on its list some time after its date.
OVERLAP = timedelta(days=1)
# Each night reads the new entries. Only a comparison of whole lists sees which entries are gone.
WHOLE_EVERY = timedelta(days=7)
GIVE_UP_AFTER = timedelta(days=1)
# So many addresses are chosen at once to ask SendGrid about; each has its own call and its own commit.
ASK_AT_ONCE = 100
ACTED = ("flagged", "event", "blacklisted")
ONLY_IN_ODOO = [("is_suppressed", "=", False)]


def _is_same_gap(one, other):
    return all(one[key] == other[key] for key in ("code", "list", "group"))


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
    asked_groups = fields.Json(
        readonly=True,
        groups="base.group_system",
        help="The ids of the unsubscribe groups that addresses seem to have returned to: SendGrid is being asked about "
        "each of these addresses.",
    )
    gaps = fields.Json(
        readonly=True,
        groups="base.group_system",
        help="Says as codes what could not be read in full; the message explains it.",
    )
    gap_message = fields.Text(
        string="Not Read in Full",
        compute="_compute_gap_message",
        help="Says what could not be read in full. There, no entry was taken for gone.",
    )
    progress = fields.Integer(compute="_compute_progress", help="In percent, by lists.")
    seen_count = fields.Integer(string="Entries Read", readonly=True)
    new_count = fields.Integer(string="New Entries", readonly=True, help="Entries that Odoo had not seen before.")
    acted_count = fields.Integer(
        string="Done in Odoo",
        readonly=True,
        help="New entries for which Odoo flagged a contact, blacklisted the address, or added a bounce to an e-mail.",
    )
    known_count = fields.Integer(
        string="Known Already", readonly=True, help="New entries that Odoo knew from events before."
    )
    idle_count = fields.Integer(
        string="Nothing to Do",
        compute="_compute_idle_count",
        help="New entries that change nothing in Odoo: blocks, groups about which the account says so, and all if "
        "events of the account have no consequences.",
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
    waits_until = fields.Datetime(
        readonly=True, help="SendGrid takes no more calls for now: the work goes on by itself at this time."
    )

    _running_uniq = models.UniqueIndex(
        "(account_id) WHERE state = 'running'", "SendGrid's lists are being read already."
    )

    @api.depends("account_id", "started")
    @api.depends_context("lang", "tz")
    def _compute_display_name(self):
        for sync in self:
            started = sync.started and describe_time(self.env, sync.started)
            sync.display_name = ", ".join(filter(None, (isolate(sync.account_id.name), started)))

    @api.depends("state", "current_list")
    def _compute_progress(self):
        for sync in self:
            done = LISTS.index(sync.current_list) if sync.current_list else 0
            sync.progress = 100 if sync.state == "done" else 100 * done // len(LISTS)

    @api.depends("new_count", "acted_count", "known_count", "kept_count", "failed_count")
    def _compute_idle_count(self):
        for sync in self:
            others = sync.acted_count + sync.known_count + sync.kept_count + sync.failed_count
            sync.idle_count = max(0, sync.new_count - others)

    @api.depends("gaps")
    @api.depends_context("lang")
    def _compute_gap_message(self):
        for sync in self:
            sync.gap_message = self._explain_gaps(sync.sudo().gaps or ()) or False

    @api.model
    def _explain_gaps(self, gaps):
        """Say in words what could not be read in full, a sentence a line.

        :param gaps: dicts, see `_note_gap`
        """
        lists = dict(self.env["sendgrid.suppression"]._fields["list"]._description_selection(self.env))
        return "\n".join(self._explain_gap(lists[gap["list"]], gap) for gap in gaps)

    @api.model
    def _explain_gap(self, list_name, gap):
        names = {"list": list_name, "group": gap.get("group") or "", "read": gap.get("read"), "told": gap.get("told")}
        if gap["code"] == "moved":
            return self.env._("“%(list)s” changed too much while it was read.", **names)
        if gap["code"] == "same":
            return self.env._("“%(list)s”: SendGrid tells the same part of it again and again.", **names)
        if gap["code"] == "rows":
            return self.env._("“%(list)s”: SendGrid told something that could not be understood.", **names)
        if gap["code"] == "count":
            return self.env._(
                "The unsubscribe group “%(group)s”: of its addresses SendGrid told %(read)s of %(told)s.", **names
            )
        if gap["code"] == "uncounted":
            return self.env._(
                "The unsubscribe group “%(group)s”: SendGrid does not tell how many addresses left it.", **names
            )
        if gap["code"] == "unlisted":
            return self.env._(
                "The unsubscribe group “%(group)s” is not among those that SendGrid names. If it was deleted there, "
                "nobody who left it has returned by that.",
                **names,
            )
        if gap["code"] == "unnamed":
            return self.env._("SendGrid does not tell its unsubscribe groups, and how many addresses left them.")
        return self.env._(
            "SendGrid did not answer whether addresses have returned to their unsubscribe groups. Their number: "
            "%(told)s.",
            **names,
        )

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
    @in_company_language
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
    @in_company_language
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
            if self.asked_groups:
                yield from self._ask_about_returned()
                continue
            # Call SendGrid before reading from the database. The other way round the transaction's snapshot would grow
            # old during the call, and conflict with other transactions.
            for page in self._read_pages():
                self._take_in(page)
                yield len(page.entries)
                if not page.next:
                    break

    def _read_pages(self):
        return read_list(
            self._get_patient_client(self.account_id),
            self.current_list,
            since=to_seconds(self.since),
            until=to_seconds(self.until),
            offset=self.current_offset,
            last=self.current_last or "",
            # Nobody is taken for gone then, and the next comparison of whole lists reads what this one may miss.
            in_haste=not self.is_whole,
        )

    def _take_in(self, page):
        """Store the entries of a page with their consequences, the counts, and the position of the next page.

        :param page: `tools.api.suppressions.Page`
        """
        # A kill or a lost connection undoes all of this together, so the page counts once when it is read again.
        outcomes = self.env["sendgrid.suppression"]._store(self, self.current_list, page.entries, page.read)
        for code in filter(None, (page.gap, page.rejected and "rows")):
            self._note_gap(code, self.current_list)
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
            "waits_until": False,
        }
        if not page.next and self.current_list == "groups":
            values["asked_groups"] = self._choose_groups(page.groups)
            if not values["asked_groups"]:
                values |= self._end_list()
        elif not page.next:
            values |= self._end_list()
        self.write(values)

    def _end_list(self):
        """End the current list: mark the entries that are gone, and choose the next list or end the comparison.

        :return: values to write to the comparison
        """
        values = {"cleared_count": self.cleared_count + len(self._note_gone())}
        if self.current_list != LISTS[-1]:
            return values | {"current_list": LISTS[LISTS.index(self.current_list) + 1]}
        if gaps := self._get_lasting_gaps():
            self._note_health("warning", "compared_partly", self._explain_gaps(gaps))
        else:
            self._note_health("ok", "compared")
        return values | {
            "state": "done",
            "current_list": False,
            "ended": fields.Datetime.now(),
            "odoo_only_count": self.env["mail.blacklist"].search_count(ONLY_IN_ODOO),
        }

    def _note_gone(self):
        """Mark entries as cleared that were not seen although the whole list was read.

        A comparison of new entries only skips this, and so does one of a list that could not be read in full. An entry
        that is being cleared is left to that, which tells the contacts. For the groups see `_ask_about_returned`.

        :return: the marked `sendgrid.suppression` records
        """
        Suppression = self.env["sendgrid.suppression"]
        is_doubtful = any(gap["list"] == self.current_list for gap in self.gaps or ())
        if not self.is_whole or self.current_list == "groups" or is_doubtful:
            return Suppression
        return self._mark_cleared(SQL("list = %s", self.current_list))

    def _mark_cleared(self, condition):
        """Mark entries that this comparison has not seen as cleared.

        :param condition: SQL, which of these
        :return: the marked `sendgrid.suppression` records
        """
        Suppression = self.env["sendgrid.suppression"]
        rows = self.env.execute_query(
            SQL(
                """UPDATE sendgrid_suppression
                      SET state = 'cleared', cleared_date = %s, cleared_sync_id = %s
                    WHERE %s AND %s
                RETURNING id""",
                fields.Datetime.now(),
                self.id,
                self._get_unseen(),
                condition,
            )
        )
        Suppression.invalidate_model()
        return Suppression.browse(id_ for (id_,) in rows)

    def _get_unseen(self):
        """Return the SQL condition of entries that should have been read by now, and were not."""
        self.env["sendgrid.suppression"].flush_model()
        return SQL(
            "account_id = %s AND state = 'listed' AND created <= %s AND last_sync_id IS DISTINCT FROM %s",
            self.account_id.id,
            self.until,
            self.id,
        )

    # ------------------------------------------------------------
    # GROUPS
    # ------------------------------------------------------------

    def _choose_groups(self, groups):
        """Compare how many addresses were read of each unsubscribe group with the number that SendGrid tells.

        SendGrid always gives the groups' addresses as a whole, or what looks like it. Only if the number agrees,
        addresses that are missing may have returned, and SendGrid is asked about each of them.

        :param groups: `tools.api.suppressions.Group` tuples; None if SendGrid does not tell them
        :return: list of the ids of the groups to ask about
        """
        self.env["sendgrid.suppression"].flush_model()
        known = self.env.execute_query(
            SQL(
                """SELECT group_id, max(group_name), count(*) FILTER (WHERE last_sync_id = %s),
                          count(*) FILTER (WHERE %s)
                     FROM sendgrid_suppression WHERE account_id = %s AND list = 'groups' AND state != 'cleared'
                 GROUP BY group_id ORDER BY group_id""",
                self.id,
                self._get_unseen(),
                self.account_id.id,
            )
        )
        by_id = {group.id: group for group in groups or ()}
        missing = {group_id for group_id, _name, _read, unseen in known if unseen}
        read = {group_id: number for group_id, _name, number, _unseen in known}
        in_full = set()
        for group in by_id.values():
            number = read.get(group.id, 0)
            if group.most is None:
                self._note_gap("uncounted", "groups", group=group.name)
            elif group.least <= number <= group.most:
                in_full.add(group.id)
            else:
                self._note_gap("count", "groups", group=group.name, read=number, told=group.most)
        if groups is None:
            self._note_gap("unnamed", "groups")
        else:
            for group_id, name, _read, _unseen in known:
                if group_id not in by_id:
                    self._note_gap("unlisted", "groups", group=name or str(group_id))
        if any(gap["code"] == "rows" and gap["list"] == "groups" for gap in self.gaps or ()):
            return []  # the row may be any address of any group
        return sorted(missing & in_full)

    def _ask_about_returned(self):
        """Ask SendGrid about each address that seems to have returned to a group, and believe only this answer.

        :return: a generator that yields after each address, for a commit
        """
        client = self._get_patient_client(self.account_id)
        addresses = self._get_returned()
        if not addresses:
            self.write(
                {"asked_groups": False, "current_last": False, "error": False, "waits_until": False, **self._end_list()}
            )
        yield 0  # The calls come before any reading from the database; see `_compare`.
        for address in addresses:
            try:
                groups = find_groups(client, address)
            except ApiError as error:
                if error.kind not in NO_WORD:
                    raise
                groups = None
                if error.kind == "scope":  # it will say so for each of them
                    self._end_asking(address)
                    yield 1
                    return
            self._take_answer(address, groups)
            yield 1

    def _get_returned(self, limit=ASK_AT_ONCE):
        """Return the next addresses to ask about, in the order in which they are asked."""
        rows = self.env.execute_query(
            SQL(
                """SELECT DISTINCT email COLLATE "C" AS email FROM sendgrid_suppression
                    WHERE %s AND list = 'groups' AND group_id = ANY(%s) AND email COLLATE "C" > %s
                 ORDER BY 1 LIMIT %s""",
                self._get_unseen(),
                self.asked_groups,
                self.current_last or "",
                limit,
            )
        )
        return [email for (email,) in rows]

    def _take_answer(self, address, groups):
        """Note which groups an address is still out of, and that it has returned to the others that were asked about.

        :param groups: ids of the groups that it is out of; None if SendGrid did not tell, then nothing is concluded
        """
        values = {"current_last": address, "error": False, "waits_until": False}
        if groups is None:
            self._note_gap("unasked", "groups", told=1)
        else:
            asked = self.asked_groups
            condition = SQL("list = 'groups' AND email = %s AND group_id = ANY(%s::int[])", address, asked)
            self.env.execute_query(
                SQL(
                    """UPDATE sendgrid_suppression SET last_sync_id = %s
                        WHERE %s AND %s AND group_id = ANY(%s::int[]) RETURNING id""",
                    self.id,
                    self._get_unseen(),
                    condition,
                    [group_id for group_id in asked if group_id in groups],
                )
            )
            gone = self._mark_cleared(condition)
            if gone:
                self.env["sendgrid.suppression"]._settle_returned(self.account_id, gone)
            values["cleared_count"] = self.cleared_count + len(gone)
        self.write(values)

    def _end_asking(self, address):
        """End the comparison, because the API key may not ask about this address, nor about those behind it."""
        self._note_gap("unasked", "groups", told=len(self._get_returned(limit=None)))
        self.write({"asked_groups": False, "current_last": False, **self._end_list()})

    # ------------------------------------------------------------
    # GAPS
    # ------------------------------------------------------------

    def _note_gap(self, code, name, group=None, read=None, told=None):
        """Note that a list, or an unsubscribe group, could not be read in full.

        :param str code: see `_explain_gap`
        :param str name: the list
        :param group: the group's name
        :param read: how many addresses of it were read
        :param told: how many addresses it is about; the numbers of several such gaps add up
        """
        gap = {"code": code, "list": name, "group": group, "read": read, "told": told}
        gaps = self.gaps or []
        for known in gaps:
            if _is_same_gap(known, gap):
                if code == "unasked":
                    known["told"] += told
                self.gaps = gaps
                return
        self.gaps = [*gaps, gap]

    def _get_lasting_gaps(self):
        """Return the gaps that two comparisons in a row have found. Of other lists than the groups, only those count
        that have read the whole lists.

        One alone may be chance: somebody left a group in just that moment. A group that SendGrid does not name any more
        is nothing that an administrator could mend.

        :return: list of gaps, see `_note_gap`
        """
        domain = [("account_id", "=", self.account_id.id), ("state", "=", "done"), ("id", "!=", self.id)]
        before = self.search(domain, limit=1)
        whole = self.search([*domain, ("is_whole", "=", True)], limit=1 if self.is_whole else 2)
        last_whole, whole_before = (self, whole) if self.is_whole else (whole[:1], whole[1:])
        return [
            gap
            for last, earlier, is_groups in ((self, before, True), (last_whole, whole_before, False))
            for gap in last.gaps or ()
            if (gap["list"] == "groups") == is_groups
            and gap["code"] != "unlisted"
            and any(_is_same_gap(gap, other) for other in earlier.gaps or ())
        ]

    # ------------------------------------------------------------
    # END
    # ------------------------------------------------------------

    def _put_off(self, words, after):
        if words:
            self.write({"error": words, "waits_until": fields.Datetime.now() + after})
        self.env.ref("sendgrid_tracking.ir_cron_sync").sudo()._trigger(at=fields.Datetime.now() + after)

    def _fail(self, words):
        self.write({"state": "failed", "error": words, "waits_until": False, "ended": fields.Datetime.now()})
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
            "path": "sendgrid-comparison-entries",
            "context": {"active_id": self.id},
        }

    def action_view_only_in_odoo(self):
        """Open the blacklist entries whose addresses are on none of SendGrid's lists."""
        self.check_access("read")
        return self.env["ir.actions.act_window"]._for_xml_id("sendgrid_tracking.mail_blacklist_action_only_in_odoo")
