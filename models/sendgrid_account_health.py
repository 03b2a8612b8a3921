import logging
import time
from collections import Counter
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from textwrap import shorten

from markupsafe import Markup

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools import SQL
from odoo.tools.i18n import format_list

from ..tools.api import client, event_webhook, scopes
from ..tools.events.refusal import HELD_BACK, generalize, is_for_administrators, sender_fault
from .company_language import in_company_language
from .undoable import TRY_LATER, undoable

_logger = logging.getLogger(__name__)

SILENT_AFTER = timedelta(hours=1)
# Mails that were sent earlier are not examined: an earlier check has noted their silence, and the query stays short.
SILENT_WITHIN = timedelta(days=1)
REFUSED_WITHIN = timedelta(hours=1)
# E-mails that were refused for the sender warn so long. So many of the last are looked at, to name the most frequent
# words.
REFUSALS_WITHIN = timedelta(days=1)
REFUSALS_LOOKED_AT = 5000
WORDS_LENGTH = 160
# So many refusals within the day make a problem, of which the administrators are warned. Fewer are a warning, because a
# single mail that somebody's filter takes for spam is nothing unusual. The problem ends below half of that number, so
# that a number which goes up and down does not warn again each time.
PROBLEM_FROM = 10
PROBLEM_ENDS_BELOW = 5
STUCK_AFTER = timedelta(minutes=15)
CLOCK_TOLERANCE = 30  # seconds
# Seconds that one call may wait before it is repeated. It is short, because the scheduled action has other accounts to
# check, and a user waits for the button.
PATIENCE = 1

STATES = ("ok", "unknown", "warning", "problem")


class SendgridAccount(models.Model):
    """The health of an account: its checks, what SendGrid did to it, and warnings for the administrators.

    The checks tell whether events come back for sent mails, whether they are processed, and whether SendGrid's API key
    and webhook agree with what is stored here. Each `_check_<subject>` returns (state, finding, detail or None), as
    `sendgrid.account.check` stores them.
    """

    _inherit = "sendgrid.account"

    compliance_status = fields.Selection(
        [
            ("compliance_suspend", "Suspended: mail is accepted but not delivered"),
            ("compliance_deactivate", "Deactivated: mail is refused"),
            ("compliance_ban", "Banned"),
            ("reactivate", "Active again"),
        ],
        readonly=True,
        help="The measure that SendGrid has taken against the account, as its last event reported.",
    )
    compliance_date = fields.Datetime(readonly=True)
    check_ids = fields.One2many("sendgrid.account.check", "account_id", string="Checks", readonly=True)
    health = fields.Selection(
        [("ok", "Well"), ("unknown", "Not Known"), ("warning", "To Look At"), ("problem", "Problem")],
        compute="_compute_health",
        help="The worst result of the last checks.",
    )

    @api.depends("check_ids.state", "compliance_status")
    def _compute_health(self):
        for account in self:
            states = account.check_ids.mapped("state") or ["unknown"]
            if account._is_restricted():
                states.append("problem")
            account.health = max(states, key=STATES.index)

    def action_check_health(self):
        """Run the checks now, as the scheduled action does, so that the form shows their results."""
        self.check_access("write")
        for account in self:
            account._check_health()

    @api.model
    @in_company_language
    def _cron_check_health(self):
        """Run the checks of each account. If one cannot be checked, the next run tries again."""
        accounts = self.search([("active", "=", True)])
        # If the time is over before all are checked, the others come first at the next run, a quarter of an hour later.
        oldest = {account: min(account.check_ids.mapped("date"), default=datetime.min) for account in accounts}
        for account in accounts.sorted(oldest.get):
            if not self._run_job(f"the check of account {account.id}", account._check_health_step, is_long=False):
                return

    def _check_health_step(self):
        self._check_health()
        yield 1

    @in_company_language
    def _check_health(self):
        """Run all checks of the account and store their results. If a result is new, update the warnings."""
        self.ensure_one()
        findings = {
            "arrivals": self._check_arrivals(),
            "signatures": self._check_signatures(),
            "batches": self._check_batches(),
            "refusals": self._check_refusals(),
            "place": self._check_place(),
            "measuring": self._check_measuring(),
        }
        findings |= self._check_remote(is_arriving=findings["arrivals"][1] == "arriving")
        self._note_findings(findings)

    def _check_health_of_batches(self):
        """Look at the batches only, after somebody has decided about some of them. It asks SendGrid nothing."""
        self.ensure_one()
        self._note_findings({"batches": self._check_batches()})

    @api.model
    @in_company_language
    def _note_choice(self, companies):
        """Note in the chatter of the accounts who is measured from now on, and look only at that. It asks SendGrid
        nothing.

        :param companies: `res.company` records for which somebody has just chosen
        """
        choices = companies.with_env(self.env)._get_choices_in_words()
        for account in self.sudo().search([("active", "=", True)]):
            lines = [
                self.env._(
                    "From now on, for %(company)s: %(choice)s",
                    company=company.name,
                    choice=choices[company.sendgrid_unasked],
                )
                for company in account._get_companies() & companies.sudo()
            ]
            account._log_lines(lines)
            if lines and account.check_ids:
                account._note_findings({"measuring": account._check_measuring()})

    def _note_findings(self, findings):
        """Store the results of checks. If one of them is new, update the warnings.

        :param findings: {subject: (state, finding, detail or None)}
        """
        is_changed, has_new = self.env["sendgrid.account.check"].sudo()._note(self, findings)
        if is_changed:
            self._warn_administrators(has_new)

    def _check_arrivals(self):
        """Check whether events come back for the mails that were sent.

        It is a problem if a mail is older than an hour, and no event at all has come since it was sent. Mails of the
        last hour do not count, because their events may still be on the way.

        The two queries look up some index entries, and at most the documents of one day.
        """
        known = self.check_ids.filtered(lambda check: check.subject == "arrivals")
        now = fields.Datetime.now()
        self.env.flush_all()
        [(received,)] = self.env.execute_query(
            SQL(
                """SELECT GREATEST(
                       (SELECT max(received_date) FROM sendgrid_account_day WHERE account_id = %(id)s),
                       (SELECT max(create_date) FROM sendgrid_event_batch
                         WHERE state = 'pending' AND source = 'webhook' AND account_id = %(id)s))""",
                id=self.id,
            )
        )
        if known.state == "problem" and (not received or received < known.since):
            return "problem", self._name_silence(), known.detail
        since = max(received or now - SILENT_WITHIN, now - SILENT_WITHIN)
        waiting = self.env.execute_query(
            SQL(
                """SELECT sent_date FROM sendgrid_email
                    WHERE account_id = %s AND date > %s AND date < %s AND sent_date IS NOT NULL
                 ORDER BY date LIMIT 1""",
                self.id,
                since,
                now - SILENT_AFTER,
            )
        )
        if waiting:
            return "problem", self._name_silence(), fields.Datetime.to_string(waiting[0][0])
        return "ok", "arriving" if received and received > now - SILENT_WITHIN else "quiet", None

    def _name_silence(self):
        return "silent" if self._get_webhook_trust()[0] else "silent_no_key"

    def _check_signatures(self):
        since = fields.Datetime.now() - REFUSED_WITHIN
        causes = self.env["sendgrid.rejection"].sudo()._get_counts(self, since)[self.id]
        if not causes:
            return "ok", "signed", None
        return "problem", max(causes, key=causes.get), str(causes.total())

    def _check_batches(self):
        now = fields.Datetime.now()
        Batch = self.env["sendgrid.event.batch"].sudo()
        # `write_date`: a batch that somebody has processed again waits since then.
        [(oldest,)] = self.env.execute_query(
            SQL(
                """SELECT min(COALESCE(write_date, create_date)) FROM sendgrid_event_batch
                    WHERE state = 'pending' AND account_id = %s""",
                self.id,
            )
        )
        if oldest and oldest < now - STUCK_AFTER:
            return "problem", "stuck", str(int((now - oldest).total_seconds() // 60))
        if failed := Batch.search_count([("state", "=", "failed"), ("account_id", "=", self.id)]):
            return "problem", "failed", str(failed)
        return "ok", "processed", None

    def _check_refusals(self):
        """Check whether servers or SendGrid refused e-mails for the sender: the domain, the content, the account.

        Refusals by the recipient's own rules, and those of one attachment or by a busy server, do not count, because
        the administrators can do nothing about them. Nor do drops for an earlier bounce.

        The finding stays the same if other words become the most frequent. The detail is: the fault (see
        `sender_fault`), number within the hour, number within the day, the most frequent words.
        """
        known = self.check_ids.filtered(lambda check: check.subject == "refusals")
        now = fields.Datetime.now()
        self.env.flush_all()
        rows = self.env.execute_query(
            SQL(
                """SELECT timestamp, left(reason, 1000), smtp_status FROM sendgrid_event
                    WHERE refusal_cause = 'sender' AND account_id = %s AND timestamp > %s AND email_id IS NOT NULL
                      AND NOT (event = 'dropped' AND lower(reason) LIKE %s)
                 ORDER BY timestamp DESC LIMIT %s""",
                self.id,
                now - REFUSALS_WITHIN,
                f"{HELD_BACK}%",
                REFUSALS_LOOKED_AT,
            )
        )
        # Many replies are alike, so that each is looked at once.
        said = Counter((generalize(reason), smtp_status or "") for _time, reason, smtp_status in rows)
        ours = {words for words in said if is_for_administrators(*words)}
        rows = [row for row in rows if (generalize(row[1]), row[2] or "") in ours]
        if not rows:
            return "ok", "sender_accepted", None
        faults, by_fault = Counter(), {}
        for words in ours:
            fault = sender_fault(*words)
            faults[fault] += said[words]
            by_fault.setdefault(fault, Counter())[words[0] or words[1]] += said[words]
        # Of equally frequent ones the first by name: two looks at the same e-mails find the same.
        fault = min(faults, key=lambda name: (-faults[name], name))
        words = min(by_fault[fault], key=lambda text: (-by_fault[fault][text], text))
        within_hour = sum(row[0] > now - REFUSED_WITHIN for row in rows)
        limit = PROBLEM_ENDS_BELOW if known.state == "problem" else PROBLEM_FROM
        state = "problem" if len(rows) >= limit else "warning"
        return state, "refused", f"{fault} {within_hour} {len(rows)} {shorten(words, WORDS_LENGTH)}"

    def _check_place(self):
        """Check whether this database is the one that may change something at SendGrid.

        It is no problem of which the administrators get an activity: a copy may be left as it is, and production goes
        on receiving events at its old address.
        """
        account_sudo = self.sudo()
        if question := self._get_place_question():
            unknown = self.env._("unknown")
            detail = f"“{account_sudo.connected_database or unknown}”, {account_sudo.connected_url or unknown}"
            return "warning", "place_address" if question == "address" else "place_other", detail
        return "ok", "place_known" if account_sudo.connected_uuid else "place_none", None

    def _check_measuring(self):
        """Check whether somebody has chosen who is measured. Until then an upgraded database measures as before.

        It is no problem of which the administrators get an activity: nothing is broken, and the choice is theirs.
        """
        names = self._get_companies().filtered(lambda company: not company.sendgrid_unasked).mapped("name")
        if names:
            return "warning", "measuring_open", format_list(self.env, names)
        return "ok", "measuring_chosen", None

    def _check_remote(self, is_arriving):
        """Ask SendGrid about the API key and the webhook. Its answer also shows SendGrid's clock.

        :param bool is_arriving: whether events have come within a day
        :return: {subject: (state, finding, detail or None)}. If SendGrid does not answer, subjects that had a problem
            are left out, and so keep it.
        """
        try:
            api = self._get_client(PATIENCE)
        except UserError:
            return {
                "key": ("unknown", "key_none", None),
                "webhook": ("unknown", "webhook_unknown", None),
                "clock": ("unknown", "clock_unknown", None),
            }
        try:
            allowed, date = scopes.read(api)
        except client.ApiError as error:
            if error.kind == "key":
                return {
                    "key": ("problem", "key_refused", None),
                    "webhook": ("unknown", "webhook_unknown", None),
                }
            if error.kind != "scope":
                return self._keep_problems(dict.fromkeys(("key", "webhook"), self._no_answer(error)))
            # SendGrid answers so to an API key without any permission.
            return {
                "key": ("problem", "key_cannot_send", None),
                "webhook": ("unknown", "webhook_unreadable", None),
            }
        may_send = scopes.MAIL_SEND in allowed
        return {
            "key": ("ok", "key_valid", None) if may_send else ("problem", "key_cannot_send", None),
            **self._keep_problems({"webhook": self._check_webhook(api, is_arriving)}),
            "clock": self._compare_clocks(date),
        }

    def _check_webhook(self, api, is_arriving):
        account_sudo = self.sudo()
        try:
            webhooks, _max_allowed = event_webhook.list_all(api)
        except client.ApiError as error:
            if error.kind == "scope":
                return "unknown", "webhook_unreadable", None
            return self._no_answer(error)
        webhook = event_webhook.find(webhooks, account_sudo.webhook_token, account_sudo.webhook_id)
        if not webhook and is_arriving and not account_sudo.webhook_id:
            # Somebody has set the webhook up by hand; perhaps it posts to another server, which passes the events on.
            return "warning", "webhook_detour", None
        return event_webhook.inspect(
            webhook, account_sudo.webhook_url, {account_sudo.verification_key, account_sudo.previous_verification_key}
        )

    def _no_answer(self, error):
        return "unknown", "no_answer", self._explain_api_error(error)

    def _keep_problems(self, findings):
        """Leave out the subjects that are unknown now and had a problem: it is not solved if SendGrid does not answer.

        :param findings: {subject: (state, finding, detail)}
        :return: the same without these subjects
        """
        problems = self.check_ids.filtered(lambda check: check.state == "problem").mapped("subject")
        return {
            subject: finding
            for subject, finding in findings.items()
            if not (finding[0] == "unknown" and subject in problems)
        }

    def _compare_clocks(self, date):
        """Compare this server's clock with SendGrid's.

        :param date: the Date header of SendGrid's answer, or None
        """
        try:
            difference = round(time.time() - parsedate_to_datetime(date).timestamp())
        except (TypeError, ValueError, OverflowError):
            return "unknown", "clock_unknown", None
        if abs(difference) > CLOCK_TOLERANCE:
            return "warning", "clock_wrong", str(difference)
        return "ok", "clock_right", None

    def _is_restricted(self):
        return bool(self.compliance_status and self.compliance_status != "reactivate")

    def _get_problems(self):
        """Return the account's problems, as sentences in the language and the time zone of the context."""
        restrictions = dict(self._fields["compliance_status"]._description_selection(self.env))
        problems = [restrictions[self.compliance_status]] if self._is_restricted() and self.act_on_events else []
        return problems + self.check_ids.filtered(lambda check: check.state == "problem").mapped("message")

    def _get_administrators(self):
        """Return the administrators (`res.users`) who may see the account: those of its company, or all of them."""
        users = self.env.ref("base.group_system").sudo().all_user_ids.filtered(lambda u: u.active and not u.share)
        return users.filtered(lambda u: self.company_id <= u.company_ids)

    def _warn_administrators(self, has_new):
        """Give each administrator one activity with all problems of the account, or delete it when there are none.

        :param bool has_new: whether a problem is new. If not, only existing activities are updated: an administrator
            who has marked his as done gets no other.
        """
        warning = "mail.mail_activity_data_warning"
        if not self._get_problems():
            self.activity_unlink([warning])
            return
        activities = self.activity_search([warning])
        for user in self._get_administrators():
            account = self.with_context(lang=user.lang, tz=user.tz)
            lines = Markup().join(Markup("<li>%s</li>") % problem for problem in account._get_problems())
            note = Markup("<ul>%s</ul>") % lines
            if mine := activities.filtered(lambda activity, user=user: activity.user_id == user):
                mine.write({"note": note})
            elif has_new:
                account.activity_schedule(
                    warning,
                    summary=account.env._("SendGrid account “%s”", account.name),
                    note=note,
                    user_id=user.id,
                )

    def _apply_account_events(self, events):
        """Note that SendGrid has suspended, banned or reactivated accounts, and warn the administrators.

        :param events: new `sendgrid.event` records; only those about an account count (``match`` is ``account``)
        """
        known = dict(self._fields["compliance_status"]._description_selection(self.env))
        for account in self:
            about = events.filtered(
                lambda e, account=account: e.account_id == account and e.match == "account" and e.bounce_type in known
            )
            last = max(about, key=lambda event: event.timestamp, default=None)
            if not last or (account.compliance_date and last.timestamp < account.compliance_date):
                continue
            account.write({"compliance_status": last.bounce_type, "compliance_date": last.timestamp})
            if account.act_on_events:
                try:
                    with undoable(self.env.cr):
                        account._warn_administrators(account._is_restricted())
                except TRY_LATER:
                    raise
                except Exception:
                    # The banner on the account says the same, so the events need not fail with the activity.
                    _logger.exception("SendGrid: no activity about account %s", account.id)
