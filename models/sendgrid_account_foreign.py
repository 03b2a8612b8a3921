from collections import Counter
from datetime import timedelta

from odoo import api, fields, models
from odoo.tools import SQL
from odoo.tools.misc import get_lang

from ..tools.events.event import DELIVERY_EVENTS, ENGAGEMENT_EVENTS
from . import bulk
from .lists import join_words

KINDS = (*DELIVERY_EVENTS, *ENGAGEMENT_EVENTS)
# There are as many names as somebody invents. They share one row a day.
OTHER = "other"


class SendgridAccountForeign(models.Model):
    """The counts of events about e-mails of other programs, which one account received on one day (UTC).

    Newsletters made at SendGrid, or another database, may share the account. What their recipients do is not ours to
    keep: `sendgrid.ingest` counts it here, and `sendgrid.retention` forgets what was stored of it.
    """

    _name = "sendgrid.account.foreign"
    _description = "Events of Other Programs"
    _order = "date desc, event, id desc"
    _rec_name = "event"
    _allow_sudo_commands = False

    account_id = fields.Many2one("sendgrid.account", required=True, readonly=True, ondelete="cascade")
    date = fields.Date(required=True, readonly=True, help="The day (UTC) on which the events were received.")
    event = fields.Char(
        required=True, readonly=True, help="SendGrid's name of the kind of event; “other” for names not known here."
    )
    count = fields.Integer(readonly=True, help="How many came and belonged to no e-mail when they came.")

    _account_date_event_uniq = models.UniqueIndex(
        "(account_id, date, event)", "The account has this count of the day already."
    )

    @api.model
    def _add(self, counts):
        """Add to the counts of the days on which batches were received, in one query.

        :param counts: {(`sendgrid.event.batch` record, SendGrid's name of a kind of event): number of events}
        """
        sums = Counter()
        for (batch, event), count in counts.items():
            sums[batch.account_id.id, batch.create_date.date(), event if event in KINDS else OTHER] += count
        bulk.insert(
            self,
            [
                {"account_id": account_id, "date": date, "event": event, "count": count}
                # Two transactions that write in the same order never end in a deadlock.
                for (account_id, date, event), count in sorted(sums.items())
            ],
            conflict=SQL(
                "ON CONFLICT (account_id, date, event) DO UPDATE SET count = COALESCE(known.count, 0) + EXCLUDED.count"
            ),
        )
        if sums:
            self.invalidate_model()

    @api.model
    def _get_month(self, accounts):
        """Return the counts of the last thirty days of accounts, today included.

        :return: {`sendgrid.account` record: {kind of event: number of events}}
        """
        since = fields.Datetime.now().date() - timedelta(days=30)
        groups = self._read_group(
            [("account_id", "in", accounts.ids), ("date", ">", since)], ["account_id", "event"], ["count:sum"]
        )
        counts = {}
        for account, event, count in groups:
            counts.setdefault(account, {})[event] = count
        return counts

    @api.model
    def _describe(self, counts):
        """Return in words how many events of which kinds were counted, the most frequent first.

        :param counts: {kind of event: number of events}
        """
        words = {
            "processed": self.env._("processed (%s)"),
            "dropped": self.env._("dropped (%s)"),
            "deferred": self.env._("deferred (%s)"),
            "delivered": self.env._("delivered (%s)"),
            "bounce": self.env._("refused (%s)"),
            "open": self.env._("opened (%s)"),
            "click": self.env._("clicked (%s)"),
            "spamreport": self.env._("reported as spam (%s)"),
            "unsubscribe": self.env._("unsubscribed (%s)"),
            "group_unsubscribe": self.env._("unsubscribed from a group (%s)"),
            "group_resubscribe": self.env._("subscribed to a group again (%s)"),
            OTHER: self.env._("other (%s)"),
        }
        language = self.env["res.lang"].browse(get_lang(self.env).id)
        return join_words(
            self.env,
            [
                words[event] % language.format("%d", count, grouping=True)
                for event, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
            ],
        )
