import base64
import gzip

from odoo import models

from ..tools.events.parsing import BatchError
from ..tools.events.rewriting import hide_names, read_elements, rewrite
from . import bulk
from .sendgrid_event_batch import COMPRESSION


class SendgridEventBatch(models.Model):
    """The rewriting of bodies: what may not be kept as an event may not stay in the body either."""

    _inherit = "sendgrid.event.batch"

    def _rewrite(self, decide, hidden=None):
        """Rewrite the bodies of which a part may not be kept, with one write for all.

        A body that cannot be read as a list stays as it is, but for the addresses of people who are not measured:
        nobody can tell there what is said about them, and somebody else's events may be in it.

        :param decide: function (`sendgrid.event.batch` record, `tools.events.rewriting.Element`) that returns what
            becomes of the element: `KEEP`, `BARE` or `LEAVE_OUT` of that module
        :param hidden: a pattern of addresses, as `tools.events.rewriting.names_one` returns it, or None
        """
        rows = {}
        for batch in self:
            try:
                body = batch._get_raw_body()
            except BatchError:
                continue
            try:
                elements = batch._read_elements()
            except BatchError:
                if hidden and (without := hide_names(body, hidden)):
                    rows[batch.id] = batch._prepare_rewritten(without, 0)
                continue
            if found := rewrite(elements, lambda element, batch=batch: decide(batch, element)):
                rows[batch.id] = batch._prepare_rewritten(*found)
        bulk.update(self, rows)

    def _read_elements(self):
        """Return the elements of one body, as `tools.events.rewriting.read_elements` does.

        :raise BatchError: if the body cannot be read
        """
        return read_elements(self._get_raw_body(), self.is_rewritten)

    def _prepare_rewritten(self, body, left_out):
        return {
            "body_gzip": base64.b64encode(gzip.compress(body, COMPRESSION)).decode(),
            "size": len(body),
            "is_rewritten": True,
            "reduced_count": (self.reduced_count or 0) + left_out,
        }
