from datetime import timedelta
from functools import partial
from itertools import takewhile

from dateutil.relativedelta import relativedelta

from odoo import api, fields, models
from odoo.tools import SQL

from ..tools.events.event import ADDRESS_EVENTS
from .company_language import in_company_language

# The rows that one transaction takes.
CHUNK_EVENTS = 2000
CHUNK_EMAILS = 200
CHUNK_BATCHES = 500
FORGET_EVENTS = 5000  # to delete a batch is to write its events: they reference it
COLLECT_AT_ONCE = 5000
# Batches are kept so long after they were received: longer if they failed or hold rejected elements, so that somebody
# can correct the cause and process them again.
KEEP_DONE = timedelta(days=7)
KEEP_UNDONE = timedelta(days=30)
# So long a user can attach events by hand that found no document.
KEEP_UNMATCHED = timedelta(days=30)
# So long an e-mail can still appear for an event that names none of ours. Then another program must have sent it.
KEEP_FOREIGN = timedelta(hours=24)
KEEP_REFUSED = timedelta(days=30)


class SendgridRetention(models.Model):
    """The deletion of old data, and for each account the position up to which it is done.

    Each run goes on from the position of the run before, in the order in which events and documents came. So it finds
    due rows without an index of its own, and without reading those that are kept. It conflicts with the drain only if
    an event comes for a document of months ago; then one of the two tries again.
    """

    _name = "sendgrid.retention"
    _description = "Retention of a SendGrid Account"
    _rec_name = "account_id"
    _inherit = ["sendgrid.job.mixin"]
    _allow_sudo_commands = False

    account_id = fields.Many2one("sendgrid.account", required=True, readonly=True, ondelete="cascade")
    last_event_id = fields.Integer(
        string="Details Removed up to Event", readonly=True, aggregator=None, help="The id of the last such event."
    )
    documents_date = fields.Datetime(
        string="Documents Deleted up to", readonly=True, help="Documents that were sent earlier are deleted."
    )

    _account_uniq = models.UniqueIndex("(account_id)", "The account has this already.")

    @api.model
    @in_company_language
    def _cron_forget(self):
        """Delete old batches, and the details and documents that the companies' periods say, in small transactions."""
        self = self.sudo()
        tasks = [self._forget_batches]
        for account in self.env["sendgrid.account"].with_context(active_test=False).search([("id", "!=", False)]):
            tasks += [partial(self._forget_details, account), partial(self._forget_documents, account)]
        for number, task in enumerate(tasks, 1):
            if not self._run_job("forgetting", task, others=len(tasks) - number):
                return

    @api.model
    @in_company_language
    def _cron_forget_foreign(self):
        """Delete the events of other programs' e-mails after `KEEP_FOREIGN`, in small transactions."""
        self = self.sudo()
        accounts = self.env["sendgrid.account"].with_context(active_test=False)
        accounts = accounts.search([("keep_foreign_events", "=", False)])
        for number, account in enumerate(accounts, 1):
            task = partial(self._forget_foreign, account)
            if not self._run_job("forgetting other programs' events", task, others=len(accounts) - number):
                return

    @api.model
    def _get(self, account):
        return self.search([("account_id", "=", account.id)]) or self.create({"account_id": account.id})

    @api.model
    def _get_cutoff(self, account, period):
        """Return the moment (UTC) up to which an account's data is to be deleted, or None if all is kept.

        An account of all companies follows the shortest of their periods.

        :param str period: the company's field with the number of months
        """
        companies = account._get_companies()
        if period == "sendgrid_detail_months" and not self._get_keeping([account]):
            return fields.Datetime.now()
        months = min((company[period] for company in companies if company[period] > 0), default=0)
        return fields.Datetime.now() - relativedelta(months=months) if months else None

    @api.model
    def _get_keeping(self, accounts):
        """Return those of some accounts of whose events the details may be stored: all of their companies say so.

        :param accounts: iterable of `sendgrid.account` records
        :return: set of them
        """
        strict = set(self.env["res.company"].sudo().search([("sendgrid_keeps_details", "=", False)]))
        return {account for account in accounts if not strict or strict.isdisjoint(account.company_id or strict)}

    def _forget_details(self, account):
        """Remove IP addresses, user agents and the secret part of links from old events of an account.

        The verdict of such an event becomes final, because it cannot be judged again without these details.

        :return: generator of how many events were examined, for a commit after each piece
        """
        cutoff = self._get_cutoff(account, "sendgrid_detail_months")
        if not cutoff:
            return
        progress = self._get(account)
        self.env.flush_all()
        while True:
            rows = self.env.execute_query(
                SQL(
                    """SELECT id, account_id, create_date FROM sendgrid_event
                        WHERE id > %s ORDER BY id LIMIT %s""",
                    progress.last_event_id,
                    CHUNK_EVENTS,
                )
            )
            due = list(takewhile(lambda row: row[2] < cutoff, rows))
            if not due:
                return
            self.env["sendgrid.event"]._remove_details(
                SQL(
                    """id = ANY(%s)
                       AND (event IN ('open', 'click', 'unsubscribe', 'group_unsubscribe')
                            OR ip IS NOT NULL OR user_agent IS NOT NULL
                            OR url LIKE '%%?%%' OR url LIKE '%%#%%')""",
                    [id_ for id_, account_id, _date in due if account_id == account.id],
                )
            )
            progress.last_event_id = due[-1][0]
            self.env.flush_all()
            yield len(due)

    def _forget_foreign(self, account):
        """Delete events that name none of our e-mails, except those that tell how things stand with an address of ours.

        :return: generator of how many events were examined, for a commit after each piece
        """
        cutoff = fields.Datetime.now() - KEEP_FOREIGN
        last_id = 0
        self.env["sendgrid.event"].flush_model()
        while True:
            rows = self.env.execute_query(
                SQL(
                    """SELECT id, create_date, event, recipient FROM sendgrid_event
                        WHERE match = 'unknown' AND account_id = %s AND id > %s ORDER BY id LIMIT %s""",
                    account.id,
                    last_id,
                    CHUNK_EVENTS,
                )
            )
            due = list(takewhile(lambda row: row[1] < cutoff, rows))
            if not due:
                return
            last_id = due[-1][0]
            telling = {recipient for _id, _date, event, recipient in due if event in ADDRESS_EVENTS}
            own = self.env["sendgrid.ingest"]._get_own_addresses(telling)
            self.env["sendgrid.event"].browse(
                id_ for id_, _date, event, recipient in due if event not in ADDRESS_EVENTS or recipient not in own
            ).unlink()
            yield len(due)

    def _forget_documents(self, account):
        """Delete old documents of an account, with their events.

        :return: generator of how many documents were deleted, for a commit after each piece
        """
        cutoff = self._get_cutoff(account, "sendgrid_document_months")
        if not cutoff:
            return
        progress = self._get(account)
        while emails := self.env["sendgrid.email"].search(
            [
                ("account_id", "=", account.id),
                ("date", "<", cutoff),
                *([("date", ">=", progress.documents_date)] if progress.documents_date else []),
            ],
            order="date, id",
            limit=CHUNK_EMAILS,
        ):
            progress.documents_date = emails[-1].date
            emails.unlink()
            yield len(emails)
        progress.documents_date = cutoff

    @api.model
    def _forget_batches(self):
        """Delete batches that are older than `KEEP_DONE`, or than `KEEP_UNDONE` if they need somebody's attention.

        :return: generator of how many batches were deleted, for a commit after each piece
        """
        now = fields.Datetime.now()
        last_id = 0
        while True:
            # Read the batches by id up to the first that is too young. That needs no index on their date.
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
                    # The database sets `batch_id` of each event to null.
                    events += event_count
            else:
                is_old = bool(rows)
            if ids:
                self.env["sendgrid.event.batch"].browse(ids).unlink()
                yield len(ids)
            if not is_old:
                return

    # ------------------------------------------------------------
    # CORE'S DAILY AUTOVACUUM
    # ------------------------------------------------------------

    @api.autovacuum
    def _gc_unmatched(self):
        """Delete events that found no document within `KEEP_UNMATCHED`. Events about accounts need none, and stay.

        :return: how many were deleted, and whether there may be more: core then calls again
        """
        events = (
            self.env["sendgrid.event"]
            .sudo()
            .search(
                [
                    ("email_id", "=", False),
                    ("match", "!=", "account"),
                    ("create_date", "<", fields.Datetime.now() - KEEP_UNMATCHED),
                ],
                limit=COLLECT_AT_ONCE,
            )
        )
        events.unlink()
        return len(events), len(events) == COLLECT_AT_ONCE

    @api.autovacuum
    def _gc_refused(self):
        """Delete the counts of refused POSTs after `KEEP_REFUSED`."""
        old = [("create_date", "<", fields.Datetime.now() - KEEP_REFUSED)]
        self.env["sendgrid.rejection"].sudo().search(old).unlink()
