import math
from contextlib import suppress

from odoo import api, models
from odoo.tools import SQL

from ..tools.address_form import comparable
from ..tools.events.event import INTERACTIONS
from ..tools.events.parsing import BatchError
from ..tools.events.rewriting import BARE, KEEP, LEAVE_OUT, find_addresses, names_one
from .sendgrid_reduction import TRAVEL_EVENTS

CHUNK_BATCHES, CHUNK_BYTES = 200, 4 * 1024 * 1024


class SendgridReduction(models.Model):
    """The bodies of batches: what is not kept as an event does not stay there either."""

    _inherit = "sendgrid.reduction"

    @api.model
    def _rewrite_done(self, received, decisions):
        """Rewrite the bodies of batches that the drain has just processed.

        :param received: list of (`sendgrid.event.batch` record, `tools.events.event.Event`)
        :param decisions: as `sendgrid.ingest._ingest` returns them
        """
        batches = self.env["sendgrid.event.batch"].union(
            *{batch for batch, event in received if event.fingerprint in decisions}
        )
        self._rewrite(batches, decisions)

    @api.model
    def _rewrite(self, batches, decisions):
        batches._rewrite(
            lambda _batch, element: decisions.get(element.event.fingerprint, KEEP) if element.event else KEEP
        )

    def _reduce_bodies(self):
        """Rewrite the next batches that may hold what is not kept, once for all requests that are as far.

        It asks for each element what would become of it if it came now. So it finds what was stored twice, in any
        spelling, and what was stored as no event at all. What waits is left to the drain.

        :return: how many batches were looked at
        """
        self.env.flush_all()
        since = self[0].last_id or 0
        rows = self.env.execute_query(
            SQL(
                """SELECT id, COALESCE(size, 0), state = 'pending' FROM sendgrid_event_batch
                    WHERE id > %s ORDER BY id LIMIT %s""",
                since,
                CHUNK_BATCHES,
            )
        )
        ids, size, count = [], 0, 0
        for id_, length, is_pending in rows:
            size += length
            if count and size > CHUNK_BYTES:
                break
            count += 1
            if not is_pending:
                ids.append(id_)
        deleted = {address for one in self if one.reason == "deleted" for address in one.addresses}
        self._reduce_bodies_of(self.env["sendgrid.event.batch"].browse(ids), deleted)
        if count:
            self.last_id = rows[count - 1][0]
        if count == len(rows) < CHUNK_BATCHES:
            self.write({"state": "done", "last_id": 0, "addresses": False, "email_numbers": False, "error": False})
        self.env.flush_all()
        self.env.invalidate_all()  # the bodies take room
        return count

    @api.model
    def _reduce_bodies_of(self, batches, deleted=()):
        """Rewrite those of some batches that hold what is not kept. The number of queries does not depend on theirs.

        :param batches: `sendgrid.event.batch` records, none of which waits for the drain
        :param deleted: addresses whose data were deleted: nothing else tells that nothing of them is kept
        """
        events, named = [], {}
        for batch in batches:
            told, rejected = [], True
            with suppress(BatchError):
                told, rejected = batch._parse()
            events += [(batch, event) for event in told if event.event not in TRAVEL_EVENTS]
            if rejected:
                named[batch] = set()
                with suppress(BatchError):
                    named[batch] = find_addresses(batch._get_raw_body())
        asked = {event.recipient for _batch, event in events if event.recipient}
        silent = self._get_silent(asked.union(*named.values()))
        silent |= dict.fromkeys(deleted, math.inf)
        decisions = self._decide_by_address([event for _batch, event in events], silent)
        open_ones = [told for told in events if told[1].fingerprint not in decisions]
        matches, _keys = self.env["sendgrid.match"]._match([(batch.account_id.id, event) for batch, event in open_ones])
        decisions |= self._decide_by_document(open_ones, matches, silent)

        keeping = self.env["sendgrid.retention"]._get_keeping(batches.account_id)

        def decide(batch, element):
            usual = KEEP if batch.account_id in keeping else BARE
            if element.event:
                return decisions.get(element.event.fingerprint, usual)
            # Its time may be what cannot be read.
            if not silent.get(_read_address(element)) or element.value.get("event") in TRAVEL_EVENTS:
                return usual
            return LEAVE_OUT if element.value.get("event") in INTERACTIONS else BARE

        hidden = {address for address in set().union(*named.values()) if silent.get(address)}
        # To read all elements anew takes long for a large body. Most need it not.
        concerned = {batch for batch, event in events if event.fingerprint in decisions}
        concerned |= {
            batch for batch, addresses in named.items() if batch.account_id not in keeping or addresses & hidden
        }
        batches.filtered(concerned.__contains__)._rewrite(decide, names_one(hidden) if hidden else None)


def _read_address(element):
    """Return the address that a rejected element names, ``""`` if it names none."""
    address = element.value.get("email") if isinstance(element.value, dict) else None
    return comparable(address.strip()) if isinstance(address, str) else ""
