import logging
from collections import defaultdict

from markupsafe import Markup

from odoo import api, fields, models
from odoo.tools import SQL, html_escape

from ..tools.times import to_datetime
from .undoable import each_alone

_logger = logging.getLogger(__name__)

REFUSED = ("blocked", "dropped")
UNWANTED = ("spam", "unsubscribed", "dropped_spam", "dropped_unsubscribed")
GROUPS = ("left_group", "returned_group")
# These say nothing about the address; a bounce does.
OTHER_FAILURES = (*REFUSED, "dropped_spam", "dropped_unsubscribed")
FAILED_FACTS = ("bounced", "dropped_bounced", *OTHER_FAILURES)


class SendgridConsequence(models.AbstractModel):
    """Odoo's reaction to new facts about documents: one method for each consequence.

    Consequences use what core has for mails of any provider: its bounce handling, notifications, blacklist and mailing
    statistics. `_apply_consequences` is called in the drain's transaction.

    Methods for consequences take ``items``: a list of (`sendgrid.email` record, fact, `tools.events.fold.Evidence`).
    They are called for many items at once.
    """

    _name = "sendgrid.consequence"
    _description = "Consequences of E-mail Events"

    @api.model
    def _apply_consequences(self, changes):
        """Run the consequences of facts that are new. Accounts without `act_on_events` have none.

        If a consequence fails, it is marked on its document, where a user can run it again. The others go on.

        :param changes: {`sendgrid.email` record: (names of the facts before, {fact now: its `Evidence`})}; see
            `tools.events.fold`
        """
        changes = {email: change for email, change in changes.items() if email.account_id.act_on_events}
        new = defaultdict(list)
        for email, (before, facts) in changes.items():
            for fact, evidence in facts.items():
                if fact not in before:
                    new[fact].append((email, fact, evidence))
        recovered = [
            (email, "blocked", None)
            for email, (before, facts) in changes.items()
            if "blocked" in before and not facts.keys() & set(FAILED_FACTS)
        ]
        self._run(self._recover_notification, recovered)
        self._run(self._recover_traces, recovered)
        self._run(self._fail_notification, [item for fact in OTHER_FAILURES for item in new[fact]])
        self._run(self._handle_bounce, new["bounced"])
        self._run(self._note_known_bounce, new["dropped_bounced"])
        self._run(self._blacklist, [item for fact in UNWANTED for item in new[fact]])
        self._run(self._settle_groups, [item for fact in GROUPS for item in new[fact]])
        if "mailing.trace" in self.env:
            self._run(self._update_traces, [item for items in new.values() for item in items])

    @api.model
    def _run(self, consequence, items):
        """Run one consequence for all items at once, or one by one if that fails.

        An item that fails is marked on its document.
        """
        if not items:
            return
        # A drain has thousands of documents. Reading a field of one shall prefetch it for these items only.
        ids = [email.id for email, _fact, _evidence in items]
        items = [(email.with_prefetch(ids), fact, evidence) for email, fact, evidence in items]

        def note_failure(failed, error):
            [(email, fact, _evidence)] = failed
            _logger.exception("SendGrid: consequence %r of e-mail %s failed", fact, email.id)
            email._mark_failed_consequence(fact, error)

        each_alone(self.env.cr, consequence, items, note_failure)

    # ------------------------------------------------------------
    # BOUNCES AND FAILURES
    # ------------------------------------------------------------

    @api.model
    def _handle_bounce(self, items):
        """Hand each hard bounce to core as if it had come back by mail, then flag the contacts and tell the senders."""
        # All transactions write in the order of the contacts. So one waits for the other, and they never end in a
        # deadlock.
        items = sorted(items, key=lambda item: item[0].partner_id.id or 0)
        emails = self.env["sendgrid.email"].union(*(email for email, _fact, _evidence in items))
        self._prefetch_bounced(emails)
        found_by_address = set(self._get_found_by_address(emails).ids)
        # Core takes one bounce at a time.
        rules = self.env["base.automation"]._get_ids_watching(self.env["res.partner"], "message_bounce")
        model_ids = self.env["ir.model"]._get_ids_with_addresses(emails.mapped("recipient"))
        thread = self.env["mail.thread"].with_context(sendgrid_bounce_rules=rules, sendgrid_bounce_models=model_ids)
        for email, _fact, evidence in items:
            # Core counts the bounce on all records with the address, then on the message's record if it is none of
            # them. If it is one of them, do not pass the message: core would query the record for nothing, and the
            # notifications of each bounce, which `_set_failed` writes for all at once. The price is that an override of
            # `_routing_handle_bounce` gets no message then.
            message = email.mail_message_id.browse() if email.id in found_by_address else email.mail_message_id
            thread._routing_handle_bounce(
                None,
                {
                    "bounced_email": email.recipient,
                    "bounced_partner": email.partner_id.with_env(thread.env),
                    "bounced_msg_ids": [email.message_id] if email.message_id else [],
                    "bounced_message": message.with_env(thread.env),
                    "body": html_escape(evidence.reason),
                    "email_from": email.recipient,
                    "to": "",
                    "message_id": email.message_id,
                },
            )
        self._note_known_bounce(items)

    @api.model
    def _prefetch_bounced(self, emails):
        """Read for all bounces at once what core would read for each."""
        partners = self.env["res.partner"].sudo().search([("email_normalized", "in", emails.mapped("recipient"))])
        for name in ("message_bounce", "user_ids", "child_ids"):
            partners.mapped(name)

    @api.model
    def _get_found_by_address(self, emails):
        """Return documents whose record (a contact, a lead) has the recipient's address, so that core finds it by that.

        Most documents are such. For each record only its first document is returned: a rule that runs on this bounce
        may change the record's address or archive it, and then core does not find it by the address any more.
        """
        addresses = {}
        for model, messages in emails.mail_message_id.grouped("model").items():
            if model in self.env and isinstance(self.env[model], self.env.registry["mail.thread.blacklist"]):
                records = self.env[model].sudo().browse(messages.mapped("res_id"))
                records = records.search_fetch([("id", "in", records.ids)], ["email_normalized"])
                addresses |= {(model, record.id): record.email_normalized for record in records}
        first = {}
        for email in emails:
            about = email.mail_message_id.model, email.mail_message_id.res_id
            if addresses.get(about) == email.recipient:
                first.setdefault(about, email)
        return self.env["sendgrid.email"].union(*first.values())

    @api.model
    def _note_known_bounce(self, items):
        """Show that a message bounced or was dropped for an earlier bounce. It does not count the bounce in core."""
        self._set_failed(items, "bounce")
        self._flag_contacts(items)

    @api.model
    def _flag_contacts(self, items):
        self._flag_addresses({email.recipient: evidence for email, _fact, evidence in items})

    @api.model
    def _flag_addresses(self, bounces):
        """Flag the contacts with addresses that bounced, unless they are flagged already.

        :param bounces: {normalized address: `tools.events.fold.Evidence`}
        :return: the newly flagged contacts (`res.partner`)
        """
        partners = self.env["res.partner"].search(
            [("email_normalized", "in", list(bounces)), ("email_bounced", "=", False)]
        )
        partners._flag_bounced({partner.id: bounces[partner.email_normalized] for partner in partners})
        return partners

    @api.model
    def _fail_notification(self, items):
        """Show the sender in the chatter that a message did not arrive. The contacts of the address get no flag."""
        self._set_failed(items, "exception")

    @api.model
    def _set_failed(self, items, status):
        failure_type = {
            "bounced": "mail_bounce",
            "dropped_bounced": "mail_bounce",
            "dropped_spam": "mail_bl",
            "dropped_unsubscribed": "mail_optout",
        }
        notifications = self._get_notifications([email for email, _fact, _evidence in items])
        for email, fact, evidence in items:
            # A bounce says more than another failure, so do not overwrite it.
            notifications[email].filtered(lambda n: n.notification_status != "bounce").write(
                {
                    "notification_status": status,
                    "failure_type": failure_type.get(fact, "unknown"),
                    "failure_reason": evidence.reason,
                }
            )
        self._tell_senders([email for email, _fact, _evidence in items])

    @api.model
    def _recover_notification(self, items):
        """Take back a failure that later events disprove, such as a delivery after Odoo had given up waiting for it."""
        emails = [email for email, _fact, _evidence in items]
        for notifications in self._get_notifications(emails).values():
            notifications.filtered(lambda n: n.notification_status == "exception").write(
                {"notification_status": "sent", "failure_type": False, "failure_reason": False}
            )
        self._tell_senders(emails)

    @api.model
    def _get_notifications(self, emails):
        """Return the notifications of each document: those of its message that are for its recipient.

        :param emails: list of `sendgrid.email` records
        :return: {`sendgrid.email` record: `mail.notification` records}
        """
        messages = self.env["mail.message"].union(*(email.mail_message_id for email in emails))
        by_message = (
            self.env["mail.notification"]
            .search([("mail_message_id", "in", messages.ids), ("notification_type", "=", "email")])
            .grouped("mail_message_id")
        )
        none = self.env["mail.notification"]
        return {
            email: by_message.get(email.mail_message_id, none).filtered(
                lambda n, email=email: (
                    (n.res_partner_id and n.res_partner_id == email.partner_id)
                    or n.mail_email_address == email.recipient
                )
            )
            for email in emails
        }

    @api.model
    def _tell_senders(self, emails):
        """Send the changed notifications to the senders' browsers: the envelope in the chatter turns red at once.

        Core does not do so for bounces.
        """
        messages = self.env["mail.message"].union(*(email.mail_message_id for email in emails))
        messages.filtered(lambda message: message._is_thread_message())._notify_message_notification_update()

    # ------------------------------------------------------------
    # BLACKLIST
    # ------------------------------------------------------------

    @api.model
    def _blacklist(self, items):
        """Blacklist the recipients who complained or unsubscribed. The entry's chatter says the reason."""
        self._blacklist_addresses(
            {email.recipient: self._explain(email, fact, evidence) for email, fact, evidence in reversed(items)}
        )

    @api.model
    def _blacklist_addresses(self, reasons):
        """Blacklist addresses, unless they are blacklisted already.

        :param reasons: {normalized address: the text for the entry's chatter (`Markup`)}
        """
        Blacklist = self.env["mail.blacklist"]
        entries = Blacklist.with_context(active_test=False).search([("email", "in", list(reasons))])
        for entry in entries.filtered(lambda entry: not entry.active):
            Blacklist._add(entry.email, message=reasons[entry.email])
        new = Blacklist.create([{"email": address} for address in reasons.keys() - set(entries.mapped("email"))])
        new._message_log_batch({entry.id: reasons[entry.email] for entry in new})

    @api.model
    def _settle_groups(self, items):
        """Blacklist recipients who left an unsubscribe group, or take that back if they have returned.

        Only accounts with `group_unsubscribe_action` "blacklist" do so.
        """
        addresses = {
            email.recipient: (email, evidence)
            for email, _fact, evidence in items
            if email.account_id.group_unsubscribe_action == "blacklist"
        }
        if not addresses:
            return
        left = self._get_addresses_out_of_groups(list(addresses))
        known = self._get_blacklisted(set(addresses))
        for address, (email, evidence) in addresses.items():
            if address in left and address not in known:
                self.env["mail.blacklist"]._add(address, message=self._explain(email, "left_group", evidence))
                email.is_blacklisted_by_group = True
            elif address not in left and address in known:
                self._return_to_group(email, evidence)

    @api.model
    def _return_to_group(self, email, evidence):
        self._take_back_group_blacklisting(email.recipient, self._explain(email, "returned_group", evidence))

    @api.model
    def _take_back_group_blacklisting(self, address, message):
        """Take an address off the blacklist, if leaving a group is the only reason why it is there.

        Call it for an address that is back in all groups.

        :param address: normalized address
        :param message: the text for the entry's chatter (`Markup`)
        """
        emails = self.env["sendgrid.email"].search([("recipient", "=", address)])
        listed = self.env["sendgrid.suppression"].search([("email", "=", address)])
        ours = emails.filtered("is_blacklisted_by_group")
        ours_listed = listed.filtered(lambda entry: entry.list == "groups" and entry.outcome == "blacklisted")
        others = any(set(other.facts or ()) & set(UNWANTED) for other in emails) or any(
            entry.list in ("spam_reports", "unsubscribes") and entry.state != "cleared" for entry in listed
        )
        if (ours or ours_listed) and not others:
            self.env["mail.blacklist"]._remove(address, message=message)
        ours.is_blacklisted_by_group = False
        ours_listed.outcome = "taken_back"

    @api.model
    def _get_addresses_out_of_groups(self, addresses):
        """Return the addresses that are out of a group: the last word about some group is that they left it.

        Words come from the events of all documents to an address, and from SendGrid's lists: an entry says "left" at
        the time since when it is listed, or "returned" at the time when it was cleared. Example of ``word``::

            recipient  account_id  asm_group_id  timestamp  is_out
            ann@x.com  1           5             Monday     true      event group_unsubscribe
            ann@x.com  1           5             Tuesday    false     event group_resubscribe
            ann@x.com  1           6             Monday     true      entry on SendGrid's list
            bob@x.com  1           5             Tuesday    false     entry that was cleared

        The last words are: Ann is in group 5 and out of group 6, Bob is in group 5. The result is ``{"ann@x.com"}``. Of
        two words of the same second "left" counts, since nobody may be written to against his wish.

        :param addresses: list of normalized addresses
        :return: set of addresses
        """
        self.env["sendgrid.event"].flush_model()
        self.env["sendgrid.suppression"].flush_model()
        rows = self.env.execute_query(
            SQL(
                """WITH word AS (
                       SELECT email.recipient, event.account_id, event.asm_group_id, event.timestamp,
                              event.event = 'group_unsubscribe' AS is_out
                         FROM sendgrid_email email
                         JOIN sendgrid_event event ON event.email_id = email.id
                        WHERE email.recipient = ANY(%(addresses)s)
                          AND event.event IN ('group_unsubscribe', 'group_resubscribe')
                    UNION ALL
                       SELECT email, account_id, group_id, COALESCE(cleared_date, created), state != 'cleared'
                         FROM sendgrid_suppression
                        WHERE email = ANY(%(addresses)s) AND list = 'groups'
                   )
                   SELECT DISTINCT recipient
                     FROM (SELECT DISTINCT ON (recipient, account_id, asm_group_id) recipient, is_out
                             FROM word
                         ORDER BY recipient, account_id, asm_group_id, timestamp DESC, is_out DESC) last
                    WHERE is_out""",
                addresses=addresses,
            )
        )
        return {address for (address,) in rows}

    @api.model
    def _get_blacklisted(self, addresses):
        """Return those of some normalized addresses that are blacklisted, as a set."""
        entries = self.env["mail.blacklist"].search_fetch([("email", "in", list(addresses))], ["email"])
        return set(entries.mapped("email"))

    @api.model
    def _explain(self, email, fact, evidence):
        reasons = {
            "spam": self.env._("Reported the e-mail as spam"),
            "unsubscribed": self.env._("Unsubscribed through the e-mail"),
            "dropped_spam": self.env._("SendGrid did not send: the address has reported spam"),
            "dropped_unsubscribed": self.env._("SendGrid did not send: the address has unsubscribed"),
            "left_group": self.env._("Left an unsubscribe group through the e-mail"),
            "returned_group": self.env._("Returned to the unsubscribe group"),
        }
        return Markup("<p>%s</p>") % self.env._(
            "SendGrid, %(date)s (UTC): %(reason)s “%(subject)s”.",
            date=fields.Datetime.to_string(to_datetime(evidence.timestamp)),
            reason=reasons[fact],
            # The list has readers who may not read the e-mail.
            subject=(email.is_in_chatter and email.subject) or "",
        )

    # ------------------------------------------------------------
    # MASS MAILING
    # ------------------------------------------------------------

    @api.model
    def _update_traces(self, items):
        """Update the statistics of mass mailings, if `mass_mailing` is installed.

        A trace never goes back to a weaker status, whatever the order of the events.
        """
        if "mailing.trace" not in self.env:
            return
        emails = self.env["sendgrid.email"].union(*(email for email, _fact, _evidence in items))
        emails = emails.filtered("mailing_res_id")
        if not emails:
            return
        traces = self.env["mailing.trace"].search([("message_id", "in", emails.mapped("message_id"))])
        by_message = traces.grouped("message_id")
        chosen = defaultdict(traces.browse)
        reasons = {}
        for email, fact, evidence in items:
            for trace in by_message.get(email.message_id, ()) if email.mailing_res_id else ():
                if (
                    not trace.email
                    or trace.email.strip().lower() == email.recipient
                    or len(by_message[email.message_id]) == 1
                ):
                    chosen[fact] |= trace
                    reasons[trace] = evidence.reason
        chosen["delivered"].filtered(lambda t: t.trace_status in ("outgoing", "process", "pending")).set_sent()
        (chosen["opened"] | chosen["clicked"]).filtered(
            lambda t: t.trace_status not in ("bounce", "error", "cancel")
        ).set_opened()
        chosen["clicked"].filtered(lambda t: not t.links_click_datetime).set_clicked()
        for fact, failure_type in (
            ("blocked", "unknown"),
            ("dropped", "unknown"),
            ("dropped_spam", "mail_bl"),
            ("dropped_unsubscribed", "mail_optout"),
        ):
            failed = chosen[fact].filtered(lambda t: t.trace_status not in ("open", "reply", "bounce"))
            failed.set_failed(failure_type=failure_type)
            for trace in failed:
                trace.failure_reason = reasons[trace]
        for trace in chosen["dropped_bounced"]:
            trace.set_bounced(bounce_message=reasons[trace])

    @api.model
    def _recover_traces(self, items):
        """Take back the failure of mailing traces after later events have disproved it; see `_recover_notification`."""
        emails = self.env["sendgrid.email"].union(*(email for email, _fact, _evidence in items))
        message_ids = emails.filtered("mailing_res_id").mapped("message_id")
        if "mailing.trace" in self.env and message_ids:
            traces = self.env["mailing.trace"].search(
                [("message_id", "in", message_ids), ("trace_status", "=", "error"), ("failure_type", "=", "unknown")]
            )
            traces.set_sent()
            traces.failure_reason = False
