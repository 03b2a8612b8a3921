from collections import defaultdict

from odoo import api, models
from odoo.tools import SQL

from ..tools.events.engagement import JUDGED, judge
from . import bulk
from .sendgrid_email_state import FOLDED

# The columns that tell of an event without a document to which copy it belongs, and its verdict.
JUDGED_BY = (*FOLDED, "recipient", "odoo_id", "sg_message_id")


class SendgridEvent(models.Model):
    """The details of an event: IP address, user agent and the secret part of a link. Without them nobody can judge it
    again, so that it is judged before it loses them, also if it has no document yet.
    """

    _inherit = "sendgrid.event"

    @api.model
    def _remove_details(self, condition):
        """Take the details out of stored events, in SQL: no rule runs. Their verdicts are final from then on.

        :param condition: SQL that says which; it names the columns of `sendgrid_event`
        :return: list of (id of the batch, fingerprint)
        """
        waiting = self._read_stored(
            SQL("email_id IS NULL AND verdict IS NULL AND event IN %s AND %s", tuple(sorted(JUDGED)), condition),
            JUDGED_BY,
        )
        verdicts = self._judge_alone(waiting)
        bulk.update(self, {event.id: self._prepare_verdict_vals(verdicts[event.fingerprint]) for event in waiting})
        rows = self.env.execute_query(
            SQL(
                """UPDATE sendgrid_event
                      SET ip = NULL, user_agent = NULL, is_final = TRUE,
                          url = split_part(split_part(url, '?', 1), '#', 1)
                    WHERE %s
                RETURNING batch_id, fingerprint""",
                condition,
            )
        )
        if rows:
            self.invalidate_model(["ip", "user_agent", "url", "is_final"])
        return rows

    @api.model
    def _judge_alone(self, events):
        """Judge events that have no document, as `sendgrid.email` does with those that have one: by all that is known
        of the same copy and recipient.

        :param events: list of `tools.events.event.Event`, or of stored ones
        :return: {fingerprint: `tools.events.engagement.Verdict`} of those that are judged
        """
        if not any(event.event in JUDGED for event in events):
            return {}
        stored = self._read_stored(
            SQL(
                "email_id IS NULL AND ((match = 'early' AND odoo_id = ANY(%s)) OR sg_message_id = ANY(%s))",
                list({event.odoo_id for event in events} - {""}),
                list({event.message_key for event in events} - {""}),
            ),
            JUDGED_BY,
        )
        known = {event.fingerprint for event in stored}
        together = stored + [event for event in events if event.fingerprint not in known]
        # Not every event of a copy carries its name.
        names = {event.message_key: event.odoo_id for event in together if event.odoo_id}
        copies = defaultdict(list)
        for event in together:
            name = event.odoo_id or names.get(event.message_key) or event.message_key
            copies[(name, event.recipient) if name else event.fingerprint].append(event)
        verdicts = {}
        for copy in copies.values():
            verdicts |= judge(copy)
        return verdicts
