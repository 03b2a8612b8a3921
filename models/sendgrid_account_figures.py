import json
from datetime import timedelta

import babel.units

from odoo import api, fields, models
from odoo.tools import SQL, format_date, formatLang
from odoo.tools.misc import babel_locale_parse, get_lang

from .durations import describe_day, describe_duration

# Babel's names of the units in which sizes are told, each 1024 times the one before.
UNITS = ("byte", "kilobyte", "megabyte", "gigabyte", "terabyte")


class SendgridAccount(models.Model):
    """The figures of an account's page: how many events came, how late, and what became of them."""

    _inherit = "sendgrid.account"

    last_event_date = fields.Datetime(
        string="Last Event", compute="_compute_arrivals", help="When the latest event of the last 30 days happened."
    )
    event_lag = fields.Char(
        string="Lag",
        compute="_compute_arrivals",
        help="Time from an event until Odoo had processed it, in the last batch.",
    )
    today_event_count = fields.Integer(
        string="Events Today", compute="_compute_arrivals", help="Received since midnight (UTC), duplicates included."
    )
    event_count = fields.Integer(string="Events", compute="_compute_arrivals", help="Received within 30 days.")
    duplicate_count = fields.Integer(
        string="Duplicates", compute="_compute_arrivals", help="Events of 30 days that Odoo knew already."
    )
    unmatched_count = fields.Integer(
        string="Unmatched",
        compute="_compute_arrivals",
        help="New events of 30 days for which Odoo found no e-mail, except SendGrid's own tests.",
    )
    rejected_count = fields.Integer(
        string="Not Understood",
        compute="_compute_arrivals",
        help="Elements of 30 days that Odoo could not read as events. Their batch keeps them and says why.",
    )
    foreign_count = fields.Integer(
        string="Of Other Programs",
        compute="_compute_foreign",
        help="Events of 30 days about e-mails that another program or database sent through the account.",
    )
    foreign_explanation = fields.Char(
        compute="_compute_foreign", help="How many of which kinds they were, and what becomes of them."
    )
    stored_explanation = fields.Char(
        compute="_compute_stored_explanation",
        help="How much is stored, if the account's documents are never deleted.",
    )
    event_graph = fields.Text(
        string="Events of 30 Days", compute="_compute_arrivals", help="Events received on each day, for the graph."
    )
    pending_batch_count = fields.Integer(
        string="Pending", compute="_compute_batch_counts", help="Batches that Odoo has not processed yet."
    )
    failed_batch_count = fields.Integer(
        string="Failed", compute="_compute_batch_counts", help="Batches that Odoo could not process."
    )
    refused_count = fields.Integer(
        string="Refused",
        compute="_compute_refused",
        help="POSTs of the last 24 hours that had a wrong or no signature.",
    )
    refused_hint = fields.Selection(
        selection=lambda self: self.env["sendgrid.rejection"]._fields["hint"]._description_selection(self.env),
        string="Likely Cause",
        compute="_compute_refused",
        help="The likely cause of most of these refusals.",
    )

    @api.depends_context("lang")
    def _compute_arrivals(self):
        months = self.env["sendgrid.account.day"]._get_month(self)
        today = self.env["sendgrid.account.day"]._today()
        dates = [today - timedelta(days=ago) for ago in range(29, -1, -1)]
        for account in self:
            days = months.get(account._origin.id, {})
            latest = max(days.values(), key=lambda day: day.date, default=self.env["sendgrid.account.day"])
            account.last_event_date = max(
                (d.last_event_date for d in days.values() if d.last_event_date), default=False
            )
            account.event_lag = account.last_event_date and describe_duration(self.env, latest.lag)
            account.today_event_count = days[today].event_count if today in days else 0
            for name in ("event_count", "duplicate_count", "unmatched_count", "rejected_count"):
                account[name] = sum(day[name] for day in days.values())
            account.event_graph = json.dumps(
                [
                    {
                        "key": self.env._("Events"),
                        "values": [
                            {
                                "label": describe_day(self.env, date),
                                "value": days[date].event_count if date in days else 0,
                                # These are the widget's names of two colours. Today is paler, as it is not over yet.
                                "type": "past" if date == today else "future",
                            }
                            for date in dates
                        ],
                    }
                ]
            )

    @api.depends("keep_foreign_events")
    @api.depends_context("lang")
    def _compute_foreign(self):
        Foreign = self.env["sendgrid.account.foreign"]
        counts = Foreign._get_month(self._origin)
        for account in self:
            kinds = counts.get(account._origin, {})
            account.foreign_count = sum(kinds.values())
            if not kinds:
                account.foreign_explanation = False
            elif account.keep_foreign_events:
                account.foreign_explanation = self.env._(
                    "Other programs or databases send through this account as well. Of their e-mails SendGrid reported "
                    "within 30 days: %(kinds)s. These events are kept for 30 days.",
                    kinds=Foreign._describe(kinds),
                )
            else:
                account.foreign_explanation = self.env._(
                    "Other programs or databases send through this account as well. Of their e-mails SendGrid reported "
                    "within 30 days: %(kinds)s. What names no e-mail of any Odoo is forgotten within a day, except "
                    "bounces, complaints and opt-outs of addresses that are known here.",
                    kinds=Foreign._describe(kinds),
                )

    def _compute_batch_counts(self):
        counts = {
            state: dict(
                self.env["sendgrid.event.batch"]._read_group([("state", "=", state)], ["account_id"], ["__count"])
            )
            for state in ("pending", "failed")
        }
        for account in self:
            account.pending_batch_count = counts["pending"].get(account._origin, 0)
            account.failed_batch_count = counts["failed"].get(account._origin, 0)

    def _compute_refused(self):
        since = fields.Datetime.now() - timedelta(hours=24)
        counts = self.env["sendgrid.rejection"]._get_counts(self._origin, since)
        for account in self:
            causes = counts.get(account._origin.id, {})
            account.refused_count = sum(causes.values())
            account.refused_hint = max(causes, key=causes.get, default=False)

    @api.depends_context("lang")
    def _compute_stored_explanation(self):
        """Tell how much is stored, where nothing is ever deleted. No row is counted: PostgreSQL estimates them."""
        Retention = self.env["sendgrid.retention"].sudo()
        forever = self.filtered(lambda account: not Retention._get_cutoff(account._origin, "sendgrid_document_months"))
        (self - forever).stored_explanation = False
        if not forever:
            return
        self.env["sendgrid.email"].flush_model(["date"])
        [(rows, size, oldest)] = self.env.execute_query(
            SQL(
                """SELECT (SELECT reltuples::bigint FROM pg_class WHERE oid = 'sendgrid_event'::regclass),
                          (SELECT sum(pg_total_relation_size(name::regclass))
                             FROM unnest(ARRAY['sendgrid_event', 'sendgrid_email', 'sendgrid_content']) name),
                          (SELECT min(date) FROM sendgrid_email)"""
            )
        )
        if not oldest:
            forever.stored_explanation = False
            return
        forever.stored_explanation = self.env._(
            "Nothing is ever deleted. All accounts together have this: %(size)s, the oldest of %(date)s. Events, by "
            "estimate: %(events)s.",
            events=self._describe_estimate(rows),
            size=self._describe_size(size),
            date=format_date(self.env, oldest),
        )

    def _describe_size(self, size):
        """Return a number of bytes in the way of the user's language, such as "1.5 GB", in French "1,5 Go"."""
        unit = next((n for n, name in enumerate(UNITS[:-1]) if size < 1024 ** (n + 1)), len(UNITS) - 1)
        locale = babel_locale_parse(get_lang(self.env).code)
        return babel.units.format_unit(
            size / 1024**unit, f"digital-{UNITS[unit]}", "short", format="#,##0.##", locale=locale
        )

    def _describe_estimate(self, number):
        """Return an estimated number with its first two digits. -1: PostgreSQL has not estimated it yet."""
        if number < 0:
            return "?"
        return formatLang(self.env, round(number, min(0, 2 - len(str(number)))), digits=0)

    def action_choose_retention(self):
        """Open the settings, where the company chooses after how many months its documents are deleted."""
        self.ensure_one()
        self.check_access("write")
        return {
            **self.env["ir.actions.act_window"]._for_xml_id("base_setup.action_general_configuration"),
            "context": {"module": "general_settings", "bin_size": False},
        }
