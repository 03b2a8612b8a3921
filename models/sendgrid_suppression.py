import json
import logging
from collections import Counter, defaultdict
from datetime import timedelta

from markupsafe import Markup

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools import SQL, email_normalize

from ..tools.api.client import ApiError
from ..tools.api.suppressions import Entry, clear_address
from ..tools.events.event import TIME_TOLERANCE
from ..tools.events.fold import Evidence
from .sendgrid_email import to_datetime, to_seconds
from .undoable import TRY_LATER, undoable

_logger = logging.getLogger(__name__)

TRY_AGAIN = timedelta(minutes=5)


class SendgridSuppression(models.Model):
    """An address on one of the lists of those that SendGrid does not deliver to, and what it became here."""

    _name = "sendgrid.suppression"
    _description = "SendGrid Suppression"
    _order = "created desc, id desc"
    _rec_name = "email"
    _allow_sudo_commands = False

    account_id = fields.Many2one("sendgrid.account", required=True, readonly=True, ondelete="cascade")
    list = fields.Selection(
        # As in `tools.api.suppressions.LISTS`.
        [
            ("bounces", "Bounces"),
            ("blocks", "Blocks"),
            ("invalid_emails", "Invalid Addresses"),
            ("spam_reports", "Spam Reports"),
            ("unsubscribes", "Global Unsubscribes"),
            ("groups", "Group Unsubscribes"),
        ],
        required=True,
        readonly=True,
        help="SendGrid delivers no more to addresses on these lists, except to those that are only on Blocks; to those "
        "of a group, not what belongs to the group.",
    )
    group_id = fields.Integer(string="Group ID", default=0, readonly=True)
    group_name = fields.Char(string="Unsubscribe Group", readonly=True)
    email = fields.Char(string="Address", required=True, readonly=True)
    created = fields.Datetime(string="Listed Since", required=True, readonly=True)
    reason = fields.Text(readonly=True, help="What the recipient's server said.")
    smtp_status = fields.Char(string="SMTP Status", readonly=True)
    state = fields.Selection(
        [("listed", "Listed at SendGrid"), ("clearing", "Being Cleared"), ("cleared", "Cleared at SendGrid")],
        required=True,
        readonly=True,
        default="listed",
    )
    cleared_date = fields.Datetime(string="Cleared On", readonly=True, help="When it was seen to be off the list.")
    outcome = fields.Selection(
        [
            ("flagged", "Address flagged as bounced"),
            ("event", "Bounce added to its e-mail"),
            ("blacklisted", "Blacklisted"),
            ("taken_back", "Blacklisted, and taken back"),
            ("known", "Known already"),
            ("kept", "Left as somebody decided"),
            ("none", "Nothing to do"),
            ("recorded", "Only recorded"),
            ("failed", "Failed"),
        ],
        string="In Odoo",
        readonly=True,
        help="What became of it here when it was first seen. Left as somebody decided: it had been taken off the "
        "blacklist, or confirmed as valid, later than it was listed. Only recorded: the account lets events have no "
        "consequences.",
    )
    error = fields.Text(readonly=True, help="Why it could not be followed, or not be cleared.")
    sync_id = fields.Many2one(
        "sendgrid.suppression.sync",
        string="Learned In",
        readonly=True,
        index="btree_not_null",
        ondelete="set null",
        help="The comparison that found it.",
    )
    last_sync_id = fields.Many2one(
        "sendgrid.suppression.sync", string="Last Seen In", readonly=True, ondelete="set null"
    )
    cleared_sync_id = fields.Many2one(
        "sendgrid.suppression.sync",
        string="Gone In",
        readonly=True,
        index="btree_not_null",
        ondelete="set null",
        help="The comparison that found it off the list.",
    )

    _entry_uniq = models.UniqueIndex("(account_id, list, group_id, email)", "This entry is known already.")
    _email_idx = models.Index("(email)")
    _clearing_idx = models.Index("(id) WHERE state = 'clearing'")

    # ------------------------------------------------------------
    # TAKE IN
    # ------------------------------------------------------------

    @api.model
    def _store(self, sync, name, entries):
        """Note a page of a list, and do what follows from the entries that are new.

        The number of queries does not depend on the number of entries.

        :param sync: the `sendgrid.suppression.sync`
        :param str name: the list
        :param entries: list of `tools.api.suppressions.Entry`
        :return: `Counter` of what the new ones became
        """
        account = sync.account_id
        entries = [entry._replace(email=email_normalize(entry.email) or entry.email) for entry in entries]
        entries = list(
            {(entry.group_id, entry.email): entry for entry in sorted(entries, key=lambda e: e.created)}.values()
        )
        if not entries:
            return Counter()
        known = self._get_known(account, name, entries)
        fresh = [entry for entry in entries if entry.created > known.get((entry.group_id, entry.email), -1)]
        ids = self._upsert(sync, name, entries)
        outcomes = self._follow_or_isolate(account, name, fresh)
        by_outcome = defaultdict(list)
        for entry in fresh:
            by_outcome[outcomes[entry]].append(ids[entry.group_id, entry.email])
        for (outcome, error), entry_ids in by_outcome.items():
            self.browse(entry_ids).write({"outcome": outcome, "error": error})
        return Counter(outcome for outcome, _error in outcomes.values())

    @api.model
    def _get_known(self, account, name, entries):
        """Return since when entries are listed, as far as they are known, by group and address."""
        self.flush_model()
        rows = self.env.execute_query(
            SQL(
                """SELECT group_id, email, EXTRACT(EPOCH FROM created)::bigint FROM sendgrid_suppression
                    WHERE account_id = %s AND list = %s AND email = ANY(%s)""",
                account.id,
                name,
                [entry.email for entry in entries],
            )
        )
        return {(group_id, email): created for group_id, email, created in rows}

    @api.model
    def _upsert(self, sync, name, entries):
        # What is being cleared stays so, unless it was listed anew.
        now = fields.Datetime.now()
        rows = self.env.execute_query(
            SQL(
                """INSERT INTO sendgrid_suppression AS known
                               (account_id, list, group_id, group_name, email, created, reason, smtp_status, state,
                                sync_id, last_sync_id, create_uid, create_date, write_uid, write_date)
                   VALUES %s
                   ON CONFLICT (account_id, list, group_id, email) DO UPDATE
                      SET group_name = EXCLUDED.group_name, reason = EXCLUDED.reason,
                          smtp_status = EXCLUDED.smtp_status, last_sync_id = EXCLUDED.last_sync_id,
                          created = EXCLUDED.created, write_date = EXCLUDED.write_date,
                          sync_id = CASE WHEN EXCLUDED.created > known.created THEN EXCLUDED.sync_id
                                         ELSE known.sync_id END,
                          state = CASE WHEN EXCLUDED.created = known.created AND known.state = 'clearing'
                                       THEN 'clearing' ELSE 'listed' END,
                          cleared_date = NULL, cleared_sync_id = NULL
                RETURNING id, group_id, email""",
                SQL(", ").join(
                    SQL(
                        "%s",
                        (
                            sync.account_id.id,
                            name,
                            entry.group_id,
                            entry.group_name or None,
                            entry.email,
                            to_datetime(entry.created),
                            entry.reason or None,
                            entry.smtp_status or None,
                            "listed",
                            sync.id,
                            sync.id,
                            self.env.uid,
                            now,
                            self.env.uid,
                            now,
                        ),
                    )
                    for entry in entries
                ),
            )
        )
        self.invalidate_model()
        return {(group_id, email): id_ for id_, group_id, email in rows}

    # ------------------------------------------------------------
    # WHAT FOLLOWS
    # ------------------------------------------------------------

    @api.model
    def _follow_or_isolate(self, account, name, entries):
        """Do what follows from new entries; if that fails, from each by itself, so that only the cause of it fails.

        :return: (outcome, error or False) by entry
        """
        if not entries:
            return {}
        try:
            with undoable(self.env.cr):
                outcomes = self._follow(account, name, entries)
                return {entry: (outcomes.get(entry.email, "none"), False) for entry in entries}
        except TRY_LATER:
            raise
        except Exception as error:
            if len(entries) > 1:
                outcomes = {}
                for entry in entries:
                    outcomes |= self._follow_or_isolate(account, name, [entry])
                return outcomes
            _logger.exception("SendGrid: what follows from %s on the list %s failed", entries[0].email, name)
            return {entries[0]: ("failed", str(error) or repr(error))}

    @api.model
    def _follow(self, account, name, entries):
        if name == "blocks":
            return {}  # they do not keep SendGrid from trying again
        if not account.act_on_events:
            return {entry.email: "recorded" for entry in entries}
        if name in ("bounces", "invalid_emails"):
            return self._follow_bounces(account, name, entries)
        if name == "groups" and account.group_unsubscribe_action != "blacklist":
            return {}
        return self._follow_wishes(account, name, entries)

    @api.model
    def _follow_bounces(self, account, name, entries):
        """Flag the contacts of addresses that do not exist, and tell it of the e-mails that came back."""
        by_address = {entry.email: entry for entry in entries}
        partners = self.env["res.partner"].search_fetch(
            [("email_normalized", "in", list(by_address))], ["email_normalized", "email_valid_date"]
        )
        outcomes = {address: "known" for address in partners.mapped("email_normalized")}
        kept = {
            partner.email_normalized
            for partner in partners
            if partner.email_valid_date
            and partner.email_valid_date >= to_datetime(by_address[partner.email_normalized].created)
        }
        bounces = {address: entry for address, entry in by_address.items() if address not in kept}
        if name == "bounces":
            explained = self._get_explained(account, bounces.values())
            missed = self._get_missed(account, [entry for entry in bounces.values() if entry.email not in explained])
            self._receive_missed(account, missed)
            outcomes |= dict.fromkeys(explained, "known")
            outcomes |= {entry.email: "event" for entry in missed}
        flagged = self.env["sendgrid.consequence"]._flag_addresses(
            {address: Evidence(entry.created, entry.reason) for address, entry in bounces.items()}
        )
        outcomes |= dict.fromkeys(flagged.mapped("email_normalized"), "flagged")
        return outcomes | dict.fromkeys(kept, "kept")

    @api.model
    def _get_explained(self, account, entries):
        """Return the addresses for whose listing a bounce is known that came back about then."""
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
        """Return the entries that must be the bounce of an e-mail: one went to the address shortly before."""
        emails = self.env["sendgrid.email"]._get_latest_before(
            {(account.id, entry.email, entry.created) for entry in entries}
        )
        return [entry for entry in entries if (account.id, entry.email, entry.created) in emails]

    @api.model
    def _receive_missed(self, account, entries):
        """Have bounces drained as those that the webhook reports of mails that came back: address, time and reason."""
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
    def _follow_wishes(self, account, name, entries):
        """Blacklist who complained or left, unless somebody took him off the blacklist since."""
        by_address = {entry.email: entry for entry in entries if email_normalize(entry.email)}
        known = (
            self.env["mail.blacklist"]
            .with_context(active_test=False)
            .search_fetch([("email", "in", list(by_address))], ["email", "active", "write_date"])
        )
        outcomes = {
            entry.email: "known" if entry.active else "kept"
            for entry in known
            if entry.active or entry.write_date >= to_datetime(by_address[entry.email].created)
        }
        new = {address: entry for address, entry in by_address.items() if address not in outcomes}
        self.env["sendgrid.consequence"]._blacklist_addresses(
            {address: self._explain(account, name, entry) for address, entry in new.items()}
        )
        return outcomes | dict.fromkeys(new, "blacklisted")

    @api.model
    def _explain(self, account, name, entry):
        reasons = {
            "spam_reports": self.env._("reported an e-mail as spam"),
            "unsubscribes": self.env._("unsubscribed from all e-mails"),
            "groups": self.env._("left the unsubscribe group “%s”", entry.group_name or entry.group_id),
        }
        return Markup("<p>%s</p>") % self.env._(
            "SendGrid, %(date)s (UTC): the address %(reason)s. Learned from the lists of the account “%(account)s”.",
            date=fields.Datetime.to_string(to_datetime(entry.created)),
            reason=reasons[name],
            account=account.name,
        )

    @api.model
    def _settle_returned(self, account, entries):
        """Take back the blacklisting of addresses that are off the list of a group by now, and out of no other.

        :param entries: `sendgrid.suppression` records
        """
        if not account.act_on_events or account.group_unsubscribe_action != "blacklist":
            return
        Consequence = self.env["sendgrid.consequence"]
        addresses = set(entries.mapped("email"))
        left = Consequence._get_addresses_out_of_groups(list(addresses))
        for address in Consequence._get_blacklisted(addresses) - left:
            Consequence._take_back_group_blacklisting(
                address,
                Markup("<p>%s</p>")
                % self.env._(
                    "SendGrid: the address is on the list of no unsubscribe group of “%s” any more.", account.name
                ),
            )

    def action_follow_again(self):
        """Do again what follows from entries where it failed."""
        self.check_access("read")
        for (account, name), entries in (
            self.sudo()
            .filtered(lambda e: e.outcome == "failed")
            .grouped(lambda entry: (entry.account_id, entry.list))
            .items()
        ):
            by_entry = {entry._to_entry(): entry for entry in entries}
            for entry, (outcome, error) in self.sudo()._follow_or_isolate(account, name, list(by_entry)).items():
                by_entry[entry].write({"outcome": outcome, "error": error})

    def _to_entry(self):
        return Entry(
            email=self.email,
            created=to_seconds(self.created),
            reason=self.reason or "",
            smtp_status=self.smtp_status or "",
            group_id=self.group_id,
            group_name=self.group_name or "",
        )

    # ------------------------------------------------------------
    # CLEAR
    # ------------------------------------------------------------

    def action_clear(self):
        """Take the addresses off SendGrid's lists, soon."""
        self.check_access("read")
        self.sudo()._clear_later()
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {
                "type": "info",
                "message": self.env._("SendGrid is being asked to clear the addresses."),
                "next": {"type": "ir.actions.client", "tag": "soft_reload"},
            },
        }

    def _clear_later(self):
        """Have SendGrid asked after the commit: what fails there takes nothing back here."""
        listed = self.filtered(lambda entry: entry.state == "listed")
        for account in listed.account_id:
            if not account.api_key:
                raise UserError(self.env._("The account “%s” has no API key.", account.name))
        listed.write({"state": "clearing", "error": False})
        self.env.ref("sendgrid_tracking.ir_cron_clear").sudo()._trigger()

    @api.model
    def _cron_clear(self):
        """Take off SendGrid's lists what somebody asked to. Each call is committed: a second one does no harm.

        Never raises: core switches off what fails.
        """
        entries = self.search([("state", "=", "clearing")], order="id")
        clients, stopped = {}, self.env["sendgrid.account"]
        for number, entry in enumerate(entries, 1):
            account = entry.account_id
            if account not in stopped:
                try:
                    if account not in clients:
                        clients[account] = account._get_client()
                    clear_address(clients[account], entry.list, entry.email, entry.group_id)
                    entry._note_cleared()
                    self.env.flush_all()
                except ApiError as error:
                    if error.may_pass:
                        stopped |= account
                        entry.error = account._explain_api_error(error)
                    else:
                        entry._note_not_cleared(account._explain_api_error(error))
                except UserError as error:
                    entry._note_not_cleared(str(error))
                except TRY_LATER:
                    self.env.cr.rollback()  # most often the same contacts are written: asked again, it does no harm
                    stopped |= account
                except Exception as error:
                    _logger.exception("SendGrid: what followed from clearing %s failed", entry.email)
                    self.env.cr.rollback()
                    entry.write({"state": "listed", "error": str(error) or repr(error)})
            if not self.env["ir.cron"]._commit_progress(1, remaining=len(entries) - number):
                break
        if stopped:
            self.env.ref("sendgrid_tracking.ir_cron_clear")._trigger(at=fields.Datetime.now() + TRY_AGAIN)

    def _note_cleared(self):
        self.write({"state": "cleared", "cleared_date": fields.Datetime.now(), "error": False})
        self._tell_contacts(self.env._("SendGrid took %(email)s off its list “%(list)s”.", **self._words()))

    def _note_not_cleared(self, why):
        self.write({"state": "listed", "error": why})
        self._tell_contacts(
            self.env._("SendGrid did not take %(email)s off its list “%(list)s”: %(why)s", why=why, **self._words())
        )

    def _words(self):
        lists = dict(self._fields["list"]._description_selection(self.env))
        return {"email": self.email, "list": self.group_name or lists[self.list]}

    def _tell_contacts(self, message):
        """Say in the chatter of the address's contacts what became of it."""
        partners = self.env["res.partner"].search([("email_normalized", "=", self.email)])
        partners._message_log_batch(bodies={partner.id: message for partner in partners})
