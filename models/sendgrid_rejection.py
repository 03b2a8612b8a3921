import logging
import threading
import time
from collections import Counter, defaultdict

from odoo import api, fields, models
from odoo.tools import SQL

from . import bulk

_logger = logging.getLogger(__name__)

# Seconds. A flood of refused POSTs writes and logs no more often than this in a process.
FLUSH_INTERVAL = 10.0

_lock = threading.Lock()
_counts = defaultdict(Counter)  # not written yet: POSTs by (account id, hint), by database
_last_flush = {}  # monotonic seconds by database


class SendgridRejection(models.Model):
    """How many POSTs to an account's webhook were refused for their signature, and the likely cause.

    Counted in memory and written now and then, as rows that are only ever added: whoever floods the webhook with bad
    signatures costs less than good ones do, and never meets the drain. What a process has counted since its last row
    (at most FLUSH_INTERVAL, or until the next refusal) is lost when the process ends.
    """

    _name = "sendgrid.rejection"
    _description = "Refused Events"
    _order = "id desc"
    _rec_name = "hint"
    _allow_sudo_commands = False

    account_id = fields.Many2one("sendgrid.account", required=True, readonly=True, ondelete="cascade")
    count = fields.Integer(string="Refused", readonly=True, aggregator="sum", help="How many POSTs were refused.")
    hint = fields.Selection(
        # As in `tools.events.signature.guess_cause`.
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
        """Count a refused POST; write and log what was counted, unless this process did a moment ago."""
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
            # An account that was deleted meanwhile is left out.
            condition=SQL("new.account_id IN (SELECT id FROM sendgrid_account)"),
        )

    @api.model
    def _get_counts(self, accounts, since):
        """Return how many POSTs were refused since a moment, by cause.

        :return: {account id: `Counter` by hint}
        """
        counts = {id_: Counter() for id_ in accounts.ids}
        groups = self._read_group(
            [("account_id", "in", accounts.ids), ("create_date", ">=", since)], ["account_id", "hint"], ["count:sum"]
        )
        for account, hint, count in groups:
            counts[account.id][hint] = count
        return counts
