from collections import defaultdict
from datetime import timedelta

from odoo import api, fields, models
from odoo.tools import SQL

from ..tools.times import to_datetime
from . import bulk

COUNTS = ("event_count", "duplicate_count", "unmatched_count", "rejected_count")


class SendgridAccountDay(models.Model):
    """The counts of events that one account received on one day (UTC).

    The figures of a month are thirty rows, quick to read. They also stay when the batches are deleted after a week.
    """

    _name = "sendgrid.account.day"
    _description = "Day of a SendGrid Account"
    _order = "date desc, id desc"
    _rec_name = "date"
    _allow_sudo_commands = False

    account_id = fields.Many2one("sendgrid.account", required=True, readonly=True, ondelete="cascade")
    date = fields.Date(required=True, readonly=True, help="The day (UTC) on which the events were received.")
    batch_count = fields.Integer(string="Batches", readonly=True)
    event_count = fields.Integer(string="Events", readonly=True, help="Duplicates included.")
    duplicate_count = fields.Integer(string="Duplicates", readonly=True, help="Events that Odoo knew already.")
    unmatched_count = fields.Integer(
        string="Unmatched", readonly=True, help="New events that found no e-mail, except SendGrid's own tests."
    )
    rejected_count = fields.Integer(
        string="Not Understood", readonly=True, help="Elements of batches that Odoo could not read as events."
    )
    received_date = fields.Datetime(string="Last Received", readonly=True, help="When the day's last batch came.")
    last_event_date = fields.Datetime(string="Last Event", readonly=True, help="When the latest event happened.")
    lag = fields.Integer(
        readonly=True, help="Seconds from the latest event of the last batch until Odoo had processed it."
    )

    _account_date_uniq = models.UniqueIndex("(account_id, date)", "The account has this day already.")

    @api.model
    def _add(self, received):
        """Add the counts of processed batches to the days on which they were received, in one query for all.

        Example: two batches of one account were received today. First they become one row to insert::

            batch   event_count  received  latest event        batch_count  event_count  received_date  last_event_date
            1       3            10:00     09:58          =>   2            7            10:05          10:04
            2       4            10:05     10:04

        If the table has a row of today already, both rows become one::

            known     1            10           09:00          09:50
            EXCLUDED  2            7            10:05          10:04
            =>        3            17           10:05          10:04

        Counts are added, and the later moment stays. The lag is the one of the batch that was received last.

        :param received: {`sendgrid.event.batch` record: Unix seconds (UTC) of its latest event, or None}
        """
        now = fields.Datetime.now()
        days = defaultdict(dict)
        for batch, latest in sorted(received.items(), key=lambda item: item[0].id):
            day = days[batch.account_id.id, batch.create_date.date()]
            day["batch_count"] = day.get("batch_count", 0) + 1
            for name in COUNTS:
                day[name] = day.get(name, 0) + batch[name]
            day["received_date"] = batch.create_date
            if latest is not None:
                # If SendGrid's clock is ahead of ours, a moment in the future would stay the latest for a while.
                happened = min(to_datetime(latest), now)
                day["last_event_date"] = max(day.get("last_event_date", happened), happened)
                day["lag"] = int((now - happened).total_seconds())
        if not days:
            return
        sums = ("batch_count", *COUNTS)
        columns = (*sums, "received_date", "last_event_date", "lag")
        bulk.insert(
            self,
            [
                {"account_id": account_id, "date": date, **{name: day.get(name) for name in columns}}
                for (account_id, date), day in days.items()
            ],
            conflict=SQL(
                """ON CONFLICT (account_id, date) DO UPDATE
                      SET %s,
                          received_date = GREATEST(known.received_date, EXCLUDED.received_date),
                          last_event_date = GREATEST(known.last_event_date, EXCLUDED.last_event_date),
                          lag = CASE WHEN EXCLUDED.received_date < known.received_date THEN known.lag
                                     ELSE COALESCE(EXCLUDED.lag, known.lag) END""",
                SQL(", ").join(
                    SQL("%(name)s = COALESCE(known.%(name)s, 0) + EXCLUDED.%(name)s", name=SQL.identifier(name))
                    for name in sums
                ),
            ),
        )
        self.invalidate_model()

    @api.model
    def _correct_rejected(self, differences):
        """Correct the days of batches that were processed again, because this version may read what another rejected.

        :param differences: {`sendgrid.event.batch` record: how many more of its elements are rejected than before}
        """
        days = defaultdict(int)
        for batch, difference in differences.items():
            if difference:
                days[batch.account_id.id, batch.create_date.date()] += difference
        for (account_id, date), difference in days.items():
            day = self.search([("account_id", "=", account_id), ("date", "=", date)])
            day.rejected_count = max(0, day.rejected_count + difference)

    @api.model
    def _get_month(self, accounts):
        """Return the last thirty days of accounts, today included. Days without batches have no record.

        :return: {account id: {date (UTC): `sendgrid.account.day` record}}
        """
        days = self.search([("account_id", "in", accounts.ids), ("date", ">", self._today() - timedelta(days=30))])
        return {account.id: {day.date: day for day in days if day.account_id == account} for account in accounts}

    @api.model
    def _today(self):
        return fields.Datetime.now().date()
