from bisect import bisect_right
from collections import defaultdict

from odoo import api, models
from odoo.tools import SQL

from ..tools.events.event import TIME_TOLERANCE
from ..tools.events.refusal import CAUSES, HELD_BACK, is_hard_bounce, is_held_back, refusal_cause
from . import bulk


class SendgridEvent(models.Model):
    """The cause of drops that SendGrid holds back: that of the bounce behind them, whichever arrives first.

    SendGrid says "Bounced Address", and not why it bounced. The bounce can be that of any e-mail of the account to the
    address, or stand only on SendGrid's list.
    """

    _inherit = "sendgrid.event"

    @api.model
    def _settle_held(self, received):
        """Give new drops the cause of the bounce behind them, and stored drops that of a new bounce behind them.

        If there is neither such a drop nor a bounce among the new events, it makes no query, else a constant number.

        :param received: list of (account id, `tools.events.event.Event`) of new events, which get their cause here and
            are stored afterwards
        :return: the documents (`sendgrid.email`) of stored drops whose cause has changed
        """
        held = [(account, event) for account, event in received if is_held_back(event)]
        bounces = [(account, event) for account, event in received if is_hard_bounce(event)]
        if not held and not bounces:
            return self.env["sendgrid.email"]
        stored = self._read_held_after({(account, event.recipient, event.timestamp) for account, event in bounces})
        wanted = {(account, event.recipient, event.timestamp) for account, event in held}
        wanted |= {(account, recipient, moment) for _id, _email, _cause, account, recipient, moment in stored}
        causes = self._get_causes_behind(wanted, bounces)
        for account, event in held:
            event.refusal_cause = causes.get((account, event.recipient, event.timestamp), "")
        return self._write_causes(stored, causes)

    @api.model
    def _settle_held_by_list(self, account, entries):
        """Give stored drops the cause that SendGrid's list of bounces tells, and fold their documents again.

        :param account: `sendgrid.account` record
        :param entries: list of `tools.api.suppressions.Entry` of the list of bounces, which are stored already
        """
        stored = self._read_held_after({(account.id, entry.email, entry.created) for entry in entries})
        drops = {tuple(behind) for _id, _email, _cause, *behind in stored}
        self._write_causes(stored, self._get_causes_behind(drops, []))._refresh_state()

    @api.model
    def _write_causes(self, stored, causes):
        """Write the causes of stored drops, as far as they are new.

        :param stored: as `_read_held_after` returns it
        :param causes: as `_get_causes_behind` returns it
        :return: the documents (`sendgrid.email`) of the drops that changed
        """
        changed, email_ids = {}, set()
        for id_, email_id, known, *behind in stored:
            cause = causes.get(tuple(behind))
            if cause and cause != known:
                changed[id_] = {"refusal_cause": cause}
                email_ids.add(email_id)
        bulk.update(self, changed)
        return self.env["sendgrid.email"].browse(id_ for id_ in email_ids if id_)

    @api.model
    def _read_held_after(self, bounces):
        """Return the stored drops "Bounced Address" that may have one of some bounces behind them.

        :param bounces: set of (account id, recipient, Unix seconds (UTC))
        :return: list of (id, id of the document or None, cause or None, account id, recipient, Unix seconds)
        """
        if not bounces:
            return []
        # Of several bounces of an address the first reaches all drops that the others reach.
        first = {}
        for account, recipient, moment in bounces:
            first[account, recipient] = min(moment, first.get((account, recipient), moment))
        self.flush_model()
        return self.env.execute_query(
            SQL(
                """SELECT event.id, event.email_id, event.refusal_cause, event.account_id, event.recipient,
                          EXTRACT(EPOCH FROM event.timestamp)::bigint
                     FROM unnest(%s, %s, %s::bigint[]) AS bounce (account_id, recipient, moment)
                     JOIN sendgrid_event event
                       ON event.recipient = bounce.recipient AND event.account_id = bounce.account_id
                      AND event.timestamp >= to_timestamp(bounce.moment) AT TIME ZONE 'UTC'
                    WHERE event.event = 'dropped' AND lower(event.reason) LIKE %s""",
                [account for account, _recipient in first],
                [recipient for _account, recipient in first],
                list(first.values()),
                f"{HELD_BACK}%",
            )
        )

    @api.model
    def _get_causes_behind(self, wanted, bounces):
        """Return the causes of the bounces behind drops: of the latest one to the address until then, in the account.

        An entry of SendGrid's list of bounces counts if no bounce of about that time, or a later one, is known.

        :param wanted: set of (account id, recipient, Unix seconds (UTC)) of drops
        :param bounces: list of (account id, `tools.events.event.Event`) of bounces that are not stored yet
        :return: {element of ``wanted``: cause}, without those for which no bounce is known
        """
        if not wanted:
            return {}
        by_address = defaultdict(list)
        for account, event in bounces:
            by_address[account, event.recipient].append(self._rank_bounce(event.timestamp, event.refusal_cause))
        for told in by_address.values():
            told.sort()
        # The last of the sorted bounces that are not later than the drop, if there is one.
        found = {
            drop: told[index - 1]
            for drop in wanted
            if (told := by_address.get(drop[:2])) and (index := bisect_right(told, (drop[2], 0)))
        }
        accounts, recipients, moments = zip(*wanted, strict=True)
        self.flush_model()
        for *key, timestamp, cause in self.env.execute_query(
            SQL(
                """SELECT drop.account_id, drop.recipient, drop.moment, EXTRACT(EPOCH FROM last.timestamp)::bigint,
                          last.refusal_cause
                     FROM unnest(%(accounts)s, %(recipients)s, %(moments)s::bigint[])
                          AS drop (account_id, recipient, moment)
                     JOIN LATERAL (
                          SELECT timestamp, refusal_cause
                            FROM sendgrid_event
                           WHERE event = 'bounce' AND recipient = drop.recipient AND account_id = drop.account_id
                             AND timestamp <= to_timestamp(drop.moment) AT TIME ZONE 'UTC'
                             AND COALESCE(lower(bounce_type), '') !~ '^(block|expired)'
                        -- As `_rank_bounce` has it.
                        ORDER BY timestamp DESC, array_position(%(causes)s, refusal_cause) LIMIT 1) last ON TRUE""",
                accounts=list(accounts),
                recipients=list(recipients),
                moments=list(moments),
                causes=list(CAUSES),
            )
        ):
            stored = self._rank_bounce(timestamp, cause)
            found[tuple(key)] = max(stored, found.get(tuple(key), stored))
        listed = self._get_listed({(account, recipient) for account, recipient, _moment in wanted})
        causes = {}
        for account, recipient, moment in wanted:
            bounced, rank = found.get((account, recipient, moment), (None, 0))
            cause = CAUSES[-rank] if bounced else ""
            created, listed_cause = listed.get((account, recipient), (None, ""))
            if created and created <= moment and (not bounced or created > bounced + TIME_TOLERANCE):
                cause = listed_cause
            if cause:
                causes[account, recipient, moment] = cause
        return causes

    @api.model
    def _rank_bounce(self, timestamp, cause):
        """Return (Unix seconds, minus the cause's place in `CAUSES`): of two bounces the greater counts.

        So whatever came in one second, in whatever order, the same cause counts.
        """
        return timestamp, -CAUSES.index(cause or "unknown")

    @api.model
    def _get_listed(self, addresses):
        """Return what SendGrid's list of bounces says about addresses.

        :param addresses: set of (account id, address)
        :return: {element of ``addresses``: (Unix seconds (UTC) since when it is listed, cause)}
        """
        self.env["sendgrid.suppression"].flush_model()
        accounts, emails = zip(*addresses, strict=True)
        rows = self.env.execute_query(
            SQL(
                """SELECT entry.account_id, entry.email, EXTRACT(EPOCH FROM entry.created)::bigint, entry.reason,
                          entry.smtp_status
                     FROM unnest(%s, %s) AS held (account_id, email)
                     JOIN sendgrid_suppression entry
                       ON entry.account_id = held.account_id AND entry.email = held.email AND entry.list = 'bounces'
                      -- What was learned from events, the events tell better.
                      AND (entry.last_sync_id IS NOT NULL
                           OR COALESCE(entry.outcome, '') NOT IN ('told', 'reminded'))""",
                list(accounts),
                list(emails),
            )
        )
        return {
            (account, email): (created, refusal_cause(reason, smtp_status, "bounce"))
            for account, email, created, reason, smtp_status in rows
        }
