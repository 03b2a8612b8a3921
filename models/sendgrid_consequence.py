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
FAILED_FACTS = ("bounced", "dropped_bounced", *REFUSED, "dropped_spam", "dropped_unsubscribed")


class SendgridConsequence(models.AbstractModel):
    """What Odoo does when something new becomes true of an e-mail, in Odoo's own words: its bounce handling, its
    notifications, its blacklist, its mailing statistics. One method a consequence."""

    _name = "sendgrid.consequence"
    _description = "Consequences of E-mail Events"

    @api.model
    def _apply_consequences(self, changes):
        """Do what follows from the change of e-mails, once for each.

        A consequence that fails is marked on its e-mail, and can be run again there; the others go on.

        :param changes: {e-mail: (facts before, `tools.events.fold.Evidence` by fact now)}; see `tools.events.fold`
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
        self._run(self._fail_notification, [item for fact in FAILED_FACTS[2:] for item in new[fact]])
        self._run(self._handle_bounce, new["bounced"])
        self._run(self._note_known_bounce, new["dropped_bounced"])
        self._run(self._blacklist, [item for fact in UNWANTED for item in new[fact]])
        self._run(self._settle_groups, [item for fact in GROUPS for item in new[fact]])
        if "mailing.trace" in self.env:
            self._run(self._update_traces, [item for items in new.values() for item in items])

    @api.model
    def _run(self, consequence, items):
        """Run one consequence for all items. One that fails is marked on its e-mail, and the others go on."""
        if not items:
            return
        # What is read of one is read of all that the consequence is about, and not of thousands of others.
        ids = [email.id for email, _fact, _evidence in items]
        items = [(email.with_prefetch(ids), fact, evidence) for email, fact, evidence in items]

        def note_failure(failed, error):
            [(email, fact, _evidence)] = failed
            _logger.exception("SendGrid: consequence %r of e-mail %s failed", fact, email.id)
            email._mark_failed_consequence(fact, error)

        each_alone(self.env.cr, consequence, items, note_failure)

    # ------------------------------------------------------------
    # BOUNCES AND FAILED_FACTS
    # ------------------------------------------------------------

    @api.model
    def _handle_bounce(self, items):
        """Hand a hard bounce to core, as if it had come back as a mail; then flag the contacts and tell the sender."""
        # In the order of the contacts, so that whoever writes the same at once waits, instead of each for the other.
        items = sorted(items, key=lambda item: item[0].partner_id.id or 0)
        emails = self.env["sendgrid.email"].union(*(email for email, _fact, _evidence in items))
        self._prefetch_bounced(emails)
        found_by_address = set(self._get_found_by_address(emails).ids)
        # Core takes one bounce at a time.
        rules = self.env["base.automation"]._get_ids_watching(self.env["res.partner"], "message_bounce")
        model_ids = self.env["ir.model"]._get_ids_with_addresses(emails.mapped("recipient"))
        thread = self.env["mail.thread"].with_context(sendgrid_bounce_rules=rules, sendgrid_bounce_models=model_ids)
        for email, _fact, evidence in items:
            # A record that core finds by the address it need not look for again by the message, nor, one by one, for
            # the notifications: all are written below. An override of core's entry sees no message then.
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
        """Read at once what core reads for each bounce."""
        partners = self.env["res.partner"].sudo().search([("email_normalized", "in", emails.mapped("recipient"))])
        for name in ("message_bounce", "user_ids", "child_ids"):
            partners.mapped(name)

    @api.model
    def _get_found_by_address(self, emails):
        """Return the first e-mail about each record that has its recipient's address, as most have: a contact, a lead.

        The first: a rule on the bounce may change the address, or archive the record.
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
        """Show a bounce that was counted: this one, or another for which SendGrid dropped the message."""
        self._set_failed(items, "bounce")
        self._flag_contacts(items)

    @api.model
    def _flag_contacts(self, items):
        self._flag_addresses({email.recipient: evidence for email, _fact, evidence in items})

    @api.model
    def _flag_addresses(self, bounces):
        """Flag the contacts whose address bounced, and that are not flagged yet.

        :param bounces: `tools.events.fold.Evidence` by address
        :return: the contacts (`res.partner`)
        """
        partners = self.env["res.partner"].search(
            [("email_normalized", "in", list(bounces)), ("email_bounced", "=", False)]
        )
        partners._flag_bounced({partner.id: bounces[partner.email_normalized] for partner in partners})
        return partners

    @api.model
    def _fail_notification(self, items):
        """Show the sender, where he looks, that a message was refused: nothing is said about the address."""
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
            # A bounce is the stronger word.
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
        """Take back a failure that later events corrected, such as a delivery after we had given up waiting."""
        emails = [email for email, _fact, _evidence in items]
        for notifications in self._get_notifications(emails).values():
            notifications.filtered(lambda n: n.notification_status == "exception").write(
                {"notification_status": "sent", "failure_type": False, "failure_reason": False}
            )
        self._tell_senders(emails)

    @api.model
    def _get_notifications(self, emails):
        """Return each e-mail's own notifications: of its message, and of its recipient."""
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
        """Send the update of the notifications that core leaves out for bounces: the red envelope appears at once."""
        messages = self.env["mail.message"].union(*(email.mail_message_id for email in emails))
        messages.filtered(lambda message: message._is_thread_message())._notify_message_notification_update()

    # ------------------------------------------------------------
    # BLACKLIST
    # ------------------------------------------------------------

    @api.model
    def _blacklist(self, items):
        """Blacklist who complained or unsubscribed, with the reason in the entry's chatter."""
        self._blacklist_addresses(
            {email.recipient: self._explain(email, fact, evidence) for email, fact, evidence in reversed(items)}
        )

    @api.model
    def _blacklist_addresses(self, reasons):
        """Blacklist the addresses that are not yet.

        :param reasons: what to say in the entry's chatter (`Markup`), by address
        """
        Blacklist = self.env["mail.blacklist"]
        entries = Blacklist.with_context(active_test=False).search([("email", "in", list(reasons))])
        for entry in entries.filtered(lambda entry: not entry.active):
            Blacklist._add(entry.email, message=reasons[entry.email])
        new = Blacklist.create([{"email": address} for address in reasons.keys() - set(entries.mapped("email"))])
        new._message_log_batch({entry.id: reasons[entry.email] for entry in new})

    @api.model
    def _settle_groups(self, items):
        """Blacklist who left an unsubscribe group, if the account says so; take back exactly that if he returned."""
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
        """Take an address that is out of no group off the blacklist, if it came there by a group and nothing else."""
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
        """Return the addresses for which the last word about some group is that they left it, whatever the e-mail.

        SendGrid's lists have a say as well: what is listed left when it was listed, what was cleared returned.
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
        """Bring the statistics of mass mailings up to date, if the application is installed. Never backwards."""
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
        """Take back the failure of mass mailings that was only our giving up."""
        emails = self.env["sendgrid.email"].union(*(email for email, _fact, _evidence in items))
        message_ids = emails.filtered("mailing_res_id").mapped("message_id")
        if "mailing.trace" in self.env and message_ids:
            traces = self.env["mailing.trace"].search(
                [("message_id", "in", message_ids), ("trace_status", "=", "error"), ("failure_type", "=", "unknown")]
            )
            traces.set_sent()
            traces.failure_reason = False
