from contextlib import contextmanager

from markupsafe import Markup

from odoo import api, fields, models
from odoo.exceptions import UserError

from ..tools.address_form import spellings
from ..tools.events.engagement_rules import WISHES
from ..tools.events.event import TIME_TOLERANCE
from ..tools.events.fold import fold
from ..tools.times import to_seconds
from .company_language import in_company_language


class SendgridEmail(models.Model):
    """Unsubscriptions by machines and colleagues: automation rules pass over them, and a user can take them back.

    What is said here of machines holds for colleagues too. A colleague may have done it because the recipient asked him
    to, so that his is respected as well.
    """

    _inherit = "sendgrid.email"

    can_take_back_unsubscription = fields.Boolean(
        compute="_compute_can_take_back_unsubscription",
        help="The user may take back what a scanner or a colleague asked for, and it has not been taken back yet.",
    )

    # ------------------------------------------------------------
    # RULES
    # ------------------------------------------------------------

    @contextmanager
    def _hiding_machine_unsubscriptions(self, rows, watched, states, stored_events):
        """Let automation rules see the status that a document would have without a machine's unsubscriptions.

        So rules that react on unsubscriptions pass over these, and all others do their work. If a person unsubscribes
        later, rules see the status change then. The true status is written in the end.

        :param rows: {document id: {column: value}} that is written within; its statuses are changed
        :param watched: {document id: {column: value before}} of the documents whose rules run
        :param states: {document id: `tools.events.fold.State`}
        :param stored_events: list of `tools.events.event.StoredEvent`: those from before
        """
        hidden = {
            id_
            for id_, before in watched.items()
            if before["status"] == "unsubscribed" and before["is_unsubscribed_by_machine"]
        }
        if hidden:
            known = {id_: [] for id_ in hidden}
            for event in stored_events:
                if event.email_id in hidden and event.event not in WISHES:
                    known[event.email_id].append(event)
            self._write_columns({id_: {"status": fold(events).status} for id_, events in known.items()})
        true = {}
        for id_, before in watched.items():
            state = states[id_]
            is_seen = before["status"] == "unsubscribed" and id_ not in hidden
            if state.is_unsubscribed_by_machine and state.status == "unsubscribed" and not is_seen:
                rows[id_]["status"] = state.status_by_people
                true[id_] = {"status": state.status}
        yield
        self._write_columns(true)

    # ------------------------------------------------------------
    # TAKE BACK
    # ------------------------------------------------------------

    @api.depends("is_unsubscribed_by_machine", "recipient", "event_ids")
    @api.depends_context("uid")
    def _compute_can_take_back_unsubscription(self):
        self.can_take_back_unsubscription = False
        by_machine = self.filtered("is_unsubscribed_by_machine")
        if not by_machine or not self.env["mail.blacklist"].has_access("write"):
            return
        for email in by_machine:
            # Write to the user's own record: what is written to the superuser's is not seen by him.
            email_sudo = email.sudo()
            email.can_take_back_unsubscription = bool(
                email_sudo._get_blacklisted_entry() or email_sudo._get_lists_to_clear()
            )

    @in_company_language
    def _note_taken_back(self, entry):
        """Note in the chatters of the address that the user took the unsubscription back.

        :param entry: `mail.blacklist` record that is archived now, or an empty one
        """
        message = Markup("<p>%s</p>") % self.env._(
            "%(user)s took back the unsubscription of %(email)s: a scanner or a colleague had followed the link.",
            user=self.env.user.name,
            email=self.recipient,
        )
        for records in (
            entry,
            *(
                self.env[model].sudo()._get_by_addresses([self.recipient]).filtered("active")
                for model in ("res.partner", "crm.lead")
            ),
        ):
            records._message_log_batch(bodies={record.id: message for record in records})

    def _get_blacklisted_entry(self):
        """Return the address's entry of the blacklist if SendGrid's words put it there, and not somebody himself."""
        entry = self.env["mail.blacklist"].search([("email", "in", spellings(self.recipient))])
        return entry if self._get_address().is_blacklisted_by_words else entry.browse()

    def _get_address(self):
        return self.env["sendgrid.address"].search([("email", "=", self.recipient)])

    def _get_lists_to_clear(self):
        """Return the lists of SendGrid on which the e-mail's unsubscriptions put the address, and nobody cleared it.

        :return: {(list, group id): `sendgrid.suppression` record, which may be empty}
        """
        if not self.account_id.api_key:
            return {}
        wishes = self.event_ids.filtered(lambda event: event.event in WISHES)
        lists = {
            ("groups", event.asm_group_id) if event.event == "group_unsubscribe" else ("unsubscribes", 0)
            for event in wishes
            # SendGrid clears a group by its number only.
            if event.event != "group_unsubscribe" or event.asm_group_id
        }
        known = self.env["sendgrid.suppression"].search(
            [("account_id", "=", self.account_id.id), ("email", "=", self.recipient)]
        )
        entries = {(entry.list, entry.group_id): entry for entry in known}
        found = {key: entries.get(key, known.browse()) for key in sorted(lists)}
        return {key: entry for key, entry in found.items() if entry.state not in ("clearing", "cleared")}

    def action_take_back_unsubscription(self):
        """Take back what a scanner asked for: in Odoo at once, and at SendGrid after the commit.

        :raise AccessError: if the user may not change the blacklist
        :raise UserError: if the e-mail was not unsubscribed by a machine, or the recipient asked for it elsewhere
        """
        self.ensure_one()
        self.check_access("read")
        self.env["mail.blacklist"].check_access("write")
        email = self.sudo()
        if not email.is_unsubscribed_by_machine:
            raise UserError(self.env._("No scanner or colleague unsubscribed through this e-mail."))
        if email._has_wish_elsewhere():
            raise UserError(
                self.env._(
                    "The address %s has also unsubscribed or complained in another way. So it stays on the blacklist: "
                    "whoever knows better can take it off there.",
                    email.recipient,
                )
            )
        listed = email._get_blacklisted_entry()
        email._note_taken_back(listed and self.env["mail.blacklist"]._remove(email.recipient))
        entries = email._clear_unsubscription()
        self.invalidate_recordset(["can_take_back_unsubscription"])
        email._notify_changed()
        if not email.account_id.api_key:
            words = [self.env._("The account has no API key: please take the address off SendGrid's list there.")]
        elif entries:
            words = [self.env._("SendGrid is being asked. What comes of it will be in the contact's chatter.")]
        else:
            words = [self.env._("SendGrid is not asked: no list is known from which the address is to be taken off.")]
        if self.env["mail.blacklist"].sudo().search_count([("email", "in", spellings(email.recipient))], limit=1):
            words.append(self.env._("The address stays on the blacklist, because somebody put it there himself."))
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {
                "type": "info",
                "message": " ".join(words),
                "next": {"type": "ir.actions.client", "tag": "soft_reload"},
            },
        }

    def _has_wish_elsewhere(self):
        """Tell whether the recipient complained, or unsubscribed otherwise than by a machine, as far as is known.

        SendGrid's lists may know more than the documents: a form of its own, another system that uses the account.
        """
        others = self.search([("recipient", "=", self.recipient), ("status", "in", ("unsubscribed", "spam"))])
        if any(other.status == "spam" or not other.is_unsubscribed_by_machine for other in others):
            return True
        address = self._get_address()
        decided = to_seconds(address.wanted_date) if address.wanted_date else -1
        wishes = {}
        for event in (others | self).event_ids.filtered(lambda event: event.event in WISHES):
            is_group = event.event == "group_unsubscribe"
            name = address._name_group(event.account_id, event.asm_group_id) if is_group else "all"
            wishes[name] = max(wishes.get(name, 0), to_seconds(event.timestamp))

        def is_elsewhere(name, moment):
            # A list says about when the machine unsubscribed, not to the second.
            return moment > decided and (name not in wishes or moment > wishes[name] + TIME_TOLERANCE)

        if address.wish_date and is_elsewhere("all", to_seconds(address.wish_date)):
            return True
        if any(is_out and is_elsewhere(group, moment) for group, (moment, is_out) in (address.groups or {}).items()):
            return True
        complaints = self.env["sendgrid.suppression"].search(
            [("email", "=", self.recipient), ("list", "=", "spam_reports"), ("state", "!=", "cleared")]
        )
        return any(to_seconds(entry.created) > decided for entry in complaints)

    def _clear_unsubscription(self):
        """Have SendGrid take the address off the lists on which the e-mail's unsubscriptions put it.

        :return: the `sendgrid.suppression` records of which SendGrid is being asked
        """
        Suppression = entries = self.env["sendgrid.suppression"]
        for (name, group_id), entry in self._get_lists_to_clear().items():
            entries += entry or Suppression._get_entry(self.account_id, name, self.recipient, group_id)
        entries._clear_later()
        return entries
