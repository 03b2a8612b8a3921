import logging
import threading
import time
from collections import Counter, defaultdict

from odoo import api, fields, models
from odoo.tools import SQL

from . import bulk

_logger = logging.getLogger(__name__)

# Seconds. In a flood of refused POSTs a process writes and logs once in this time at most.
FLUSH_INTERVAL = 10.0

_lock = threading.Lock()
_counts = defaultdict(Counter)  # {database: number of POSTs by (account id, hint)}, not written yet
_last_flush = {}  # {database: monotonic seconds}


class SendgridRejection(models.Model):
    """Counts of refused POSTs: those that the webhook did not accept for their signature, with the likely cause.

    The name is older than the glossary: "rejected" is said today of an element that is no event, "refused" of a POST.

    A process counts in memory, and adds a row now and then. So a flood of bad signatures costs less than as many valid
    POSTs, and the rows, which nobody updates, cause no conflicts. When a process ends, its counts since its last row
    are lost; it writes a row when it refuses a POST and the last row is older than `FLUSH_INTERVAL`.
    """

    _name = "sendgrid.rejection"
    _description = "Refused Events"
    _order = "id desc"
    _rec_name = "hint"
    _allow_sudo_commands = False

    account_id = fields.Many2one("sendgrid.account", required=True, readonly=True, ondelete="cascade")
    count = fields.Integer(string="Refused", readonly=True, aggregator="sum", help="The number of refused POSTs.")
    hint = fields.Selection(
        # The codes are those of `tools.events.signature.guess_cause`.
        [
            ("unsigned", "Not signed, or a proxy removes the headers"),
            ("no_key", "No verification key in Odoo"),
            ("age", "Signed too long ago, or clocks differ"),
            ("body", "A proxy changed the body"),
            ("key", "Another verification key"),
        ],
        string="Likely Cause",
        required=True,
        readonly=True,
    )

    _account_date_idx = models.Index("(account_id, create_date)")

    @api.model
    def _count(self, account, hint):
        """Count a refused POST. Write and log the counts, unless this process did so less than `FLUSH_INTERVAL` ago.

        :param account: `sendgrid.account` record
        :param str hint: the likely cause, see `tools.events.signature.guess_cause`
        """
        dbname, now = self.env.cr.dbname, time.monotonic()
        with _lock:
            _counts[dbname][account.id, hint] += 1
            if now - _last_flush.get(dbname, -FLUSH_INTERVAL) < FLUSH_INTERVAL:
                return
            _last_flush[dbname] = now
            counts = _counts.pop(dbname)
        for (account_id, cause), count in counts.items():
            _logger.warning(
                "SendGrid webhook of account %s: %s refused for a wrong or missing signature (%s)",
                account_id,
                count,
                cause,
            )
        now = fields.Datetime.now()
        bulk.insert(
            self,
            [
                {"account_id": id_, "hint": cause, "count": count, "create_uid": self.env.uid, "create_date": now}
                for (id_, cause), count in counts.items()
            ],
            # An account may have been deleted meanwhile: its row would violate the foreign key.
            condition=SQL("new.account_id IN (SELECT id FROM sendgrid_account)"),
        )

    @api.model
    def _get_counts(self, accounts, since):
        """Return how many POSTs of each account were refused since a moment.

        :param since: datetime (UTC)
        :return: {account id: `Counter` of POSTs by hint}
        """
        counts = {id_: Counter() for id_ in accounts.ids}
        groups = self._read_group(
            [("account_id", "in", accounts.ids), ("create_date", ">=", since)], ["account_id", "hint"], ["count:sum"]
        )
        for account, hint, count in groups:
            counts[account.id][hint] = count
        return counts
