import json
import logging
from collections import Counter, defaultdict
from datetime import timedelta

from markupsafe import Markup

from odoo import api, fields, models
from odoo.tools import SQL, email_normalize

from ..tools.address_form import all_spellings, comparable
from ..tools.api.suppressions import Entry
from ..tools.events.address import Bounce, Words, merge
from ..tools.events.event import TIME_TOLERANCE
from ..tools.events.refusal import ABOUT_ADDRESS, refusal_cause
from ..tools.times import to_datetime, to_seconds
from . import bulk
from .durations import describe_utc
from .undoable import each_alone

_logger = logging.getLogger(__name__)


class SendgridSuppression(models.Model):
    """The intake of SendGrid's lists: it stores the entries, and runs the consequences of those that are new."""

    _inherit = "sendgrid.suppression"

    @api.model
    def _store(self, sync, name, entries, read=None):
        """Store a page of a list, and run the consequences of the entries that are new.

        The number of queries does not depend on the number of entries.

        :param sync: the `sendgrid.suppression.sync` record
        :param str name: the list, one of `tools.api.suppressions.LISTS`
        :param entries: list of `tools.api.suppressions.Entry`
        :param int read: when SendGrid was asked for them (Unix seconds, UTC); None: just now
        :return: `Counter` of the new entries by outcome
        """
        account = sync.account_id
        entries = [entry._replace(email=comparable(email_normalize(entry.email) or entry.email)) for entry in entries]
        entries = list(
            {(entry.group_id, entry.email): entry for entry in sorted(entries, key=lambda e: e.created)}.values()
        )
        if not entries:
            return Counter()
        known = self._get_known(account, name, entries)
        fresh, unforeseen, never_gone = [], [], {}
        for entry in entries:
            created, asked, gone = known.get((entry.group_id, entry.email), (-1, None, None))
            if entry.created > created:
                fresh.append(entry)
            elif gone is not None and name == "groups":
                never_gone[entry] = gone
            if asked is not None and entry.created > asked:
                unforeseen.append(entry)
        ids = self._upsert(sync, name, entries, read)
        outcomes = self._apply_entries(account, name, fresh)
        by_outcome = defaultdict(list)
        for entry in fresh:
            by_outcome[outcomes[entry]].append(ids[entry.group_id, entry.email])
        for (outcome, error), entry_ids in by_outcome.items():
            self.browse(entry_ids).write({"outcome": outcome, "error": error})
        for entry in self._restore(account, never_gone):
            self.browse(ids[entry.group_id, entry.email]).outcome = "blacklisted"
        for entry in unforeseen:
            self.browse(ids[entry.group_id, entry.email])._note_listed_anew()
        return Counter(outcome for outcome, _error in outcomes.values())

    @api.model
    def _restore(self, account, entries):
        """Put addresses back on the blacklist that an earlier comparison took off it, though they never were back in
        their group: SendGrid lists the same entry still. The released version took a part of the list for the whole.

        :param entries: {`tools.api.suppressions.Entry`: when it was taken for gone, in Unix seconds (UTC)}
        :return: the entries whose addresses are on the blacklist again
        """
        if not entries or not account.act_on_events:
            return []
        Address = self.env["sendgrid.address"]
        words = {}
        for entry, gone in entries.items():
            # Of two words of one second "out" counts: so this takes back the word that the address had returned.
            still_out = Words(groups={Address._name_group(account, entry.group_id): (gone, True)})
            words[entry.email] = merge(words.get(entry.email, Words()), still_out)
        added = Address._note(words)._settle_blacklist(
            {entry.email: self._explain(account, "groups", entry) for entry in entries}
        )
        emails = set(added.mapped("email"))
        return [entry for entry in entries if entry.email in emails]

    @api.model
    def _get_known(self, account, name, entries):
        """Return since when the entries that Odoo knows are listed, when somebody asked to clear those that are being
        cleared, and when a comparison took the others for gone.

        :return: {(group id, address): (Unix seconds, Unix seconds or None, Unix seconds or None)}, all in UTC
        """
        self.flush_model()
        rows = self.env.execute_query(
            SQL(
                """SELECT group_id, email,
                          -- Of an entry that a dropped e-mail made, neither the date nor the reason is known.
                          CASE WHEN outcome = 'reminded' AND last_sync_id IS NULL THEN -1
                               ELSE EXTRACT(EPOCH FROM created)::bigint END,
                          CASE WHEN state = 'clearing' THEN EXTRACT(EPOCH FROM clearing_date)::bigint END,
                          CASE WHEN state = 'cleared' AND cleared_sync_id IS NOT NULL
                               THEN EXTRACT(EPOCH FROM cleared_date)::bigint END
                     FROM sendgrid_suppression
                    WHERE account_id = %s AND list = %s AND email = ANY(%s)""",
                account.id,
                name,
                [entry.email for entry in entries],
            )
        )
        return {(group_id, email): times for group_id, email, *times in rows}

    @api.model
    def _upsert(self, sync, name, entries, read=None):
        """Insert the entries of a page, or update those that exist, in one query.

        Example: the table has an entry for an address that comparison 1 found, and on Wednesday somebody asked to clear
        it::

            known     created  state     clearing_date  sync_id
                      Monday   clearing  Wednesday      1

        Comparison 2 reads the list before SendGrid has cleared it, or after SendGrid has listed the address anew::

            EXCLUDED  created           state     sync_id
                      Monday       =>   clearing  1         the same entry: go on clearing it
                      Tuesday      =>   clearing  2         SendGrid had it by then: it was asked for as well
                      Thursday     =>   listed    2         another bounce or complaint that nobody could know of

        If SendGrid cleared it after the page was read, the page still has Monday's entry, and it stays ``cleared``.

        :param sync: the `sendgrid.suppression.sync` record
        :param str name: the list
        :param entries: list of `tools.api.suppressions.Entry`, no two with the same group and address
        :param int read: see `_store`
        :return: {(group id, address): id of the `sendgrid.suppression` record}
        """
        now = fields.Datetime.now()
        is_stale = SQL(
            """known.state = 'cleared' AND known.cleared_sync_id IS NULL AND known.cleared_date >= %s
               AND EXCLUDED.created <= known.created""",
            now + timedelta(days=1) if read is None else to_datetime(read),
        )
        rows = bulk.insert(
            self,
            [
                {
                    "account_id": sync.account_id.id,
                    "list": name,
                    "group_id": entry.group_id,
                    "group_name": entry.group_name or None,
                    "email": entry.email,
                    "created": to_datetime(entry.created),
                    "reason": entry.reason or None,
                    "smtp_status": entry.smtp_status or None,
                    "state": "listed",
                    "sync_id": sync.id,
                    "last_sync_id": sync.id,
                    "create_uid": self.env.uid,
                    "create_date": now,
                    "write_uid": self.env.uid,
                    "write_date": now,
                }
                for entry in entries
            ],
            conflict=SQL(
                """ON CONFLICT (account_id, list, group_id, email) DO UPDATE
                      SET group_name = EXCLUDED.group_name, reason = EXCLUDED.reason,
                          smtp_status = EXCLUDED.smtp_status, last_sync_id = EXCLUDED.last_sync_id,
                          created = EXCLUDED.created, write_date = EXCLUDED.write_date,
                          sync_id = CASE WHEN EXCLUDED.created > known.created THEN EXCLUDED.sync_id
                                         ELSE known.sync_id END,
                          state = CASE WHEN known.state = 'clearing'
                                        AND EXCLUDED.created <= COALESCE(known.clearing_date, 'infinity')
                                       THEN 'clearing'
                                       WHEN %(is_stale)s THEN 'cleared' ELSE 'listed' END,
                          cleared_date = CASE WHEN %(is_stale)s THEN known.cleared_date END,
                          cleared_sync_id = NULL""",
                is_stale=is_stale,
            ),
            returning=("id", "group_id", "email"),
        )
        self.invalidate_model()
        return {(group_id, email): id_ for id_, group_id, email in rows}

    # ------------------------------------------------------------
    # CONSEQUENCES
    # ------------------------------------------------------------

    @api.model
    def _apply_entries(self, account, name, entries):
        """Run the consequences of new entries. If an entry fails, its outcome is "failed", and the others go on.

        :param entries: list of `tools.api.suppressions.Entry`
        :return: {entry: (outcome, error or False)}
        """

        def apply(some):
            outcomes = self._apply_at_once(account, name, some)
            return {entry: (outcomes.get(entry.email, "none"), False) for entry in some}

        def note_failure(some, error):
            _logger.exception("SendGrid: what follows from %s on the list %s failed", some[0].email, name)
            return {some[0]: ("failed", str(error) or repr(error))}

        outcomes = {}
        for some in each_alone(self.env.cr, apply, entries, note_failure):
            outcomes |= some
        return outcomes

    @api.model
    def _apply_at_once(self, account, name, entries):
        if name == "blocks":
            return {}  # SendGrid tries again at the next mail, so the address is not lost
        if not account.act_on_events:
            return {entry.email: "recorded" for entry in entries}
        if name in ("bounces", "invalid_emails"):
            return self._apply_bounces(account, name, entries)
        if name == "groups" and account.group_unsubscribe_action != "blacklist":
            return {}
        return self._apply_wishes(account, name, entries)

    @api.model
    def _apply_bounces(self, account, name, entries):
        """Note the bounces of addresses, flag their contacts, and add the bounces to the documents that bounced.

        Only a refusal because of the address is a bounce. SendGrid lists others too: the contact then says that
        SendGrid holds mail back.

        :return: {address: outcome}
        """
        by_address = {entry.email: entry for entry in entries}
        causes = {entry.email: self._get_cause(name, entry) for entry in entries}
        Address = self.env["sendgrid.address"]
        addresses = Address._note(
            {
                email: Words(bounce=Bounce(entry.created, entry.reason, causes[email]))
                for email, entry in by_address.items()
                if causes[email] in ABOUT_ADDRESS
            }
        )
        kept = {
            address.email
            for address in addresses
            if address._is_proved_since(to_datetime(by_address[address.email].created))
        }
        bounces = {address: entry for address, entry in by_address.items() if address not in kept}
        outcomes = {}
        if name == "bounces":
            explained = self._get_explained(account, bounces.values())
            missed = self._get_missed(account, [entry for entry in bounces.values() if entry.email not in explained])
            self._receive_missed(account, missed)
            outcomes |= dict.fromkeys(explained, "known")
            outcomes |= {entry.email: "event" for entry in missed}
            # E-mails that were dropped since have the cause of the bounce that the list tells of.
            self.env["sendgrid.event"].with_context(sendgrid_drain=True)._settle_held_by_list(account, entries)
        were_bounced = self.env["res.partner"].sudo()._get_by_addresses(bounces).filtered("email_bounced")
        partners = addresses._refresh_contacts()
        for partner, emails in (partners | were_bounced)._get_addresses().items():
            for email in emails:
                if email in bounces and causes[email] in ABOUT_ADDRESS:
                    is_new = partner in partners and partner not in were_bounced
                    outcomes[email] = "flagged" if is_new else outcomes.get(email, "known")
        return outcomes | dict.fromkeys(kept, "kept")

    @api.model
    def _get_cause(self, name, entry):
        """Return the code of the cause for which SendGrid listed an address, see `tools.events.refusal`."""
        if name == "invalid_emails":
            return "address"
        return refusal_cause(reason=entry.reason, smtp_status=entry.smtp_status, bounce_type="bounce")

    @api.model
    def _get_explained(self, account, entries):
        """Return the addresses for which Odoo has a bounce of about the time when they were listed."""
        if not entries:
            return set()
        self.env["sendgrid.event"].flush_model()
        rows = self.env.execute_query(
            SQL(
                """SELECT DISTINCT entry.email
                     FROM unnest(%s, %s::bigint[]) AS entry (email, created)
                     JOIN sendgrid_email email ON email.recipient = entry.email AND email.account_id = %s
                     JOIN sendgrid_event event ON event.email_id = email.id AND event.event = 'bounce'
                      AND abs(EXTRACT(EPOCH FROM event.timestamp) - entry.created) <= %s
                      AND event.bounce_type IS DISTINCT FROM 'blocked' AND event.match != 'own'""",
                [entry.email for entry in entries],
                [entry.created for entry in entries],
                account.id,
                TIME_TOLERANCE,
            )
        )
        return {address for (address,) in rows}

    @api.model
    def _get_missed(self, account, entries):
        """Return the entries that must come from a bounce of a document: it was sent to the address shortly before."""
        emails = self.env["sendgrid.match"]._get_latest_before(
            {(account.id, entry.email, entry.created) for entry in entries}
        )
        return [entry for entry in entries if (account.id, entry.email, entry.created) in emails]

    @api.model
    def _receive_missed(self, account, entries):
        """Store entries as a batch of bounces, so that the drain adds them to documents like those of the webhook."""
        events = [
            {
                "email": entry.email,
                "event": "bounce",
                "timestamp": entry.created,
                "type": "bounce",
                "reason": entry.reason,
                "status": entry.smtp_status,
            }
            for entry in entries
        ]
        if events:
            self.env["sendgrid.event.batch"]._receive(account, json.dumps(events).encode(), source="suppressions")

    @api.model
    def _apply_wishes(self, account, name, entries):
        """Note wishes of recipients who complained or unsubscribed, and blacklist them as the words about them say.

        :return: {address: outcome}
        """
        by_address = {entry.email: entry for entry in entries if email_normalize(entry.email)}
        Address = self.env["sendgrid.address"]
        words = {}
        for email, entry in by_address.items():
            groups = {Address._name_group(account, entry.group_id): (entry.created, True)} if name == "groups" else {}
            words[email] = Words(wish=None if groups else entry.created, groups=groups)
        addresses = Address._note(words)
        listed = {
            comparable(email)
            for email in self.env["mail.blacklist"].search([("email", "in", all_spellings(by_address))]).mapped("email")
        }
        added = addresses._settle_blacklist(
            {email: self._explain(account, name, entry) for email, entry in by_address.items()}
        )
        return {
            address.email: "known" if address.email in listed else "blacklisted" if address in added else "kept"
            for address in addresses
        }

    @api.model
    def _explain(self, account, name, entry):
        words = {
            "date": describe_utc(self.env, to_datetime(entry.created)),
            "account": account.name,
            "group": entry.group_name or entry.group_id,
        }
        sentences = {
            "spam_reports": self.env._(
                "SendGrid, %(date)s (UTC): the address reported an e-mail as spam. Learned from the lists of the "
                "account “%(account)s”.",
                **words,
            ),
            "unsubscribes": self.env._(
                "SendGrid, %(date)s (UTC): the address unsubscribed from all e-mails. Learned from the lists of the "
                "account “%(account)s”.",
                **words,
            ),
            "groups": self.env._(
                "SendGrid, %(date)s (UTC): the address left the unsubscribe group “%(group)s”. Learned from the lists "
                "of the account “%(account)s”.",
                **words,
            ),
        }
        return Markup("<p>%s</p>") % sentences[name]

    @api.model
    def _settle_returned(self, account, entries):
        """Note that addresses have returned to a group. If they are out of no other, that ends their blacklisting.

        :param entries: `sendgrid.suppression` records that are gone from the list of their group
        """
        if not account.act_on_events:
            return
        Address = self.env["sendgrid.address"]
        words = {}
        for entry in entries:
            returned = {Address._name_group(account, entry.group_id): (to_seconds(entry.cleared_date), False)}
            words[entry.email] = merge(words.get(entry.email, Words()), Words(groups=returned))
        message = Markup("<p>%s</p>") % self.env._(
            "SendGrid: the address is on the list of no unsubscribe group of “%s” any more.", account.name
        )
        Address._note(words)._settle_blacklist(dict.fromkeys(words, message))

    # ------------------------------------------------------------
    # LEARNED FROM EVENTS
    # ------------------------------------------------------------

    @api.model
    def _note_listed(self, account, listed):
        """Note that SendGrid has put addresses on its lists, because an event tells so. A comparison confirms it later.

        :param account: `sendgrid.account` record
        :param listed: {(normalized address, list): `tools.events.address.Listed`}
        """
        now = self.env.cr.now()
        self.flush_model()
        bulk.insert(
            self,
            [
                {
                    "account_id": account.id,
                    "list": name,
                    "group_id": 0,
                    "email": email,
                    "created": to_datetime(word.timestamp),
                    "reason": word.reason or None,
                    "state": "listed",
                    "outcome": "told" if word.is_cause else "reminded",
                    "create_uid": self.env.uid,
                    "create_date": now,
                    "write_uid": self.env.uid,
                    "write_date": now,
                }
                for (email, name), word in sorted(listed.items())
            ],
            # What a comparison has read stays as SendGrid told it. An address that was taken off the list is on it
            # again if a later event says so.
            conflict=SQL(
                """ON CONFLICT (account_id, list, group_id, email) DO UPDATE
                      SET state = 'listed', created = EXCLUDED.created, reason = EXCLUDED.reason,
                          outcome = EXCLUDED.outcome, cleared_date = NULL, cleared_sync_id = NULL,
                          write_date = EXCLUDED.write_date
                    WHERE (known.state = 'cleared' AND EXCLUDED.created > known.cleared_date)
                       OR (known.state = 'listed' AND known.last_sync_id IS NULL
                           AND known.outcome IN ('told', 'reminded')
                           AND (EXCLUDED.outcome = 'told', EXCLUDED.created, COALESCE(EXCLUDED.reason, '') COLLATE "C")
                               > (known.outcome = 'told', known.created,
                                  COALESCE(known.reason, '') COLLATE "C"))"""
            ),
        )
        self.invalidate_model()

    def action_apply_again(self):
        """Run the consequences again of entries for which they have failed."""
        self.check_access("read")
        for (account, name), entries in (
            self.sudo()
            .filtered(lambda e: e.outcome == "failed")
            .grouped(lambda entry: (entry.account_id, entry.list))
            .items()
        ):
            by_entry = {entry._to_entry(): entry for entry in entries}
            for entry, (outcome, error) in self.sudo()._apply_entries(account, name, list(by_entry)).items():
                by_entry[entry].write({"outcome": outcome, "error": error})

    def _to_entry(self):
        """Return the record as a `tools.api.suppressions.Entry`."""
        return Entry(
            email=self.email,
            created=to_seconds(self.created),
            reason=self.reason or "",
            smtp_status=self.smtp_status or "",
            group_id=self.group_id,
            group_name=self.group_name or "",
        )
