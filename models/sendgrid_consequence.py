import logging
from collections import defaultdict

from markupsafe import Markup

from odoo import api, fields, models
from odoo.tools import html_escape

from ..tools.address_form import all_spellings, comparable, spellings
from ..tools.events.address import Words, merge
from ..tools.events.fold import TIMELESS
from ..tools.times import to_datetime
from .company_language import in_company_language
from .durations import describe_utc
from .undoable import each_alone

_logger = logging.getLogger(__name__)

# Failures of a message, the gravest first: the fact, and what core's notification says about it. A bounce says more
# than another failure.
FAILURES = {
    "bounced": ("bounce", "mail_bounce"),
    "dropped_bounced": ("bounce", "mail_bounce"),
    "dropped_spam": ("exception", "mail_bl"),
    "dropped_unsubscribed": ("exception", "mail_optout"),
    "dropped_held": ("exception", "unknown"),
    "dropped": ("exception", "unknown"),
    "blocked": ("exception", "unknown"),
}
# Each consequence follows from some names of `State.told`. If the words of refusals change, all look again.
ABOUT_COUNT = ("bounced", "words")
ABOUT_SENDER = (*FAILURES, "replied", "words")
ABOUT_TRACE = (*FAILURES, *TIMELESS, "words")
ABOUT_ADDRESS = (
    "bounced",
    "blocked",
    "spam",
    "unsubscribed",
    "dropped_bounced",
    "dropped_held",
    "dropped_spam",
    "dropped_unsubscribed",
    "groups",
    "words",
)
# A blacklist entry's chatter tells the first of these that holds, or else the last word about a group.
WISHES = ("spam", "unsubscribed", "dropped_spam", "dropped_unsubscribed")


class SendgridConsequence(models.AbstractModel):
    """Odoo's reaction to new facts about documents: one method for each consequence.

    Consequences use what core has for mails of any provider: its bounce handling, notifications, blacklist and mailing
    statistics. `_apply_consequences` is called in the drain's transaction.

    Each consequence but one brings Odoo into the state that the facts ask for, whatever was there before. So the order
    of the events, and their split into POSTs, make no difference, and a consequence can be run again. The one that
    counts, `_count_bounces`, compares with the facts before.

    Methods for consequences take ``items``: a list of (`sendgrid.email` record, what was told before,
    `tools.events.fold.State`). What was told has the shape of `State.told`. They are called for many items at once.
    """

    _name = "sendgrid.consequence"
    _description = "Consequences of E-mail Events"

    @api.model
    def _apply_consequences(self, changes, clicked=(), answered=()):
        """Run what follows from facts that are new or told anew. Accounts without `act_on_events` have nothing of it.

        If a consequence fails, it is marked on its document, where a user can run it again. The others go on.

        :param changes: {`sendgrid.email` record: (told before, `tools.events.fold.State` now)}
        :param clicked: list of (`sendgrid.email` record of a mass mailing, `State` now) that got events and has clicks
        :param answered: ids of the documents that have an answer which they did not have before
        """
        everything = [(email, before, state) for email, (before, state) in changes.items()]
        items = [item for item in everything if item[0].account_id.act_on_events]
        news = {email.id: self._get_news(before, state) for email, before, state in everything}

        def concerned(items, names):
            return [item for item in items if not news[item[0].id].isdisjoint(names)]

        about_address = concerned(items, ABOUT_ADDRESS)
        # Lock the addresses first. Whoever else writes what follows from an address does so too: so one waits for the
        # other, and they never end in a deadlock.
        told = {email.recipient for email, _before, _state in about_address}
        if told:
            self.env["sendgrid.address"]._select_for_update(sorted(told))
        self._run("count", [item for item in concerned(items, ABOUT_COUNT) if "bounced" in item[2].facts])
        self._run("address", about_address)
        self._run("notification", concerned(items, ABOUT_SENDER))
        if "mailing.trace" in self.env:
            self._run("mailing", concerned(items, ABOUT_TRACE))
        self._run("clicks", [(email, {}, state) for email, state in clicked if email.account_id.act_on_events])
        # Users have asked for it, whatever else follows.
        # An answer ends the waiting for other e-mails too. So a further one counts, which changes no fact here.
        for email_id in answered:
            news[email_id].add("replied")
        self._run("reminder", concerned(everything, ABOUT_SENDER))

    @api.model
    def _run_again(self, states):
        """Run the consequences that failed, and only these.

        :param states: {`sendgrid.email` record with `failed_consequences`: `tools.events.fold.State`}
        """
        failed = defaultdict(list)
        for email, state in states.items():
            for name in email.failed_consequences:
                # A failed counting has counted nothing. Whatever may have been shown before is compared with.
                before = {} if name == "count" else dict.fromkeys((*FAILURES, *TIMELESS), 0)
                failed[name].append((email, before, state))
        self.env["sendgrid.email"].union(*states).write({"failed_consequences": False, "consequence_error": False})
        for name in CONSEQUENCES:
            self._run(name, failed[name])

    @api.model
    def _get_news(self, before, state):
        """Return the names of what is told otherwise than before, as a set.

        :param before: what was told before, in the shape of `State.told`
        :param state: `tools.events.fold.State`
        """
        told = state.told
        return {name for name in told.keys() | before.keys() if told.get(name) != before.get(name)}

    @api.model
    def _run(self, name, items):
        """Run one consequence for all items at once, or one by one if that fails.

        An item that fails is marked on its document.

        :param str name: one of `CONSEQUENCES`
        """
        if not items:
            return
        # A drain has thousands of documents. Reading a field of one shall prefetch it for these items only.
        ids = [email.id for email, _before, _state in items]
        items = [(email.with_prefetch(ids), before, state) for email, before, state in items]

        def note_failure(failed, error):
            [(email, _before, _state)] = failed
            _logger.exception("SendGrid: consequence %r of e-mail %s failed", name, email.id)
            email._mark_failed_consequence(name, error)

        each_alone(self.env.cr, getattr(self, CONSEQUENCES[name]), items, note_failure)

    # ------------------------------------------------------------
    # BOUNCES IN CORE
    # ------------------------------------------------------------

    @api.model
    def _count_bounces(self, items):
        """Hand each new bounce to core as if it had come back by mail: core counts it, and keeps its statistics.

        A bounce counts once for each document, and not if it is older than a proof that the address is valid.
        """
        items = self._get_uncounted(items)
        if not items:
            return
        # All transactions write in the order of the contacts. So one waits for the other, and they never end in a
        # deadlock.
        items = sorted(items, key=lambda item: item[0].partner_id.id or 0)
        emails = self.env["sendgrid.email"].union(*(email for email, _before, _state in items))
        self._prefetch_bounced(emails)
        found_by_address = set(self._get_found_by_address(emails).ids)
        moved = self._get_with_another_address(emails)
        # Core takes one bounce at a time.
        rules = self.env["base.automation"]._get_ids_watching(self.env["res.partner"], "message_bounce")
        model_ids = self.env["ir.model"]._get_ids_with_addresses(all_spellings(emails.mapped("recipient")))
        spelled = self._get_spelled(emails)
        thread = self.env["mail.thread"].with_context(sendgrid_bounce_rules=rules, sendgrid_bounce_models=model_ids)
        for email, _before, state in items:
            # Core counts the bounce on all records with the address, then on the message's record if it is none of
            # them. If it is one of them, do not pass the message: core would query the record for nothing, and the
            # notifications of each bounce, which `_settle_notifications` writes for all at once. The price is that an
            # override of `_routing_handle_bounce` gets no message then. A contact whose address has been changed since
            # is not to blame either.
            is_passed = email.id not in found_by_address and email not in moved
            is_own = email.is_alone or not email.mailing_res_id
            message = email.mail_message_id if is_passed else email.mail_message_id.browse()
            thread._routing_handle_bounce(
                None,
                {
                    "bounced_email": spelled.get(email.recipient, email.recipient),
                    "bounced_partner": email.partner_id.with_env(thread.env),
                    # Core marks all traces of the message. Those of a mailing's copy to several may be another's.
                    "bounced_msg_ids": [email.message_id] if is_own and email.message_id else [],
                    "bounced_message": message.with_env(thread.env),
                    "body": html_escape(state.facts["bounced"].reason),
                    "email_from": email.recipient,
                    "to": "",
                    "message_id": email.message_id,
                },
            )

    @api.model
    def _get_spelled(self, emails):
        """Return how records spell the addresses of documents, where it is not the comparable form.

        Core finds records by exactly the address that it is given. It is given one, as a bounce counts once.

        :return: {recipient: normalized address}
        """
        odd = {email.recipient for email in emails if len(spellings(email.recipient)) > 1}
        found = set()
        for Model in self.env["sendgrid.address"]._get_models_with_addresses() if odd else ():
            records = Model.search_fetch([("email_normalized", "in", all_spellings(odd))], ["email_normalized"])
            found |= set(records.mapped("email_normalized"))
        return {comparable(address): address for address in found if address != comparable(address)}

    @api.model
    def _get_uncounted(self, items):
        """Return the items whose bounce counts now, and did not count before."""
        known = self.env["sendgrid.address"].search_fetch(
            [("email", "in", [email.recipient for email, _before, _state in items])],
            ["email", "valid_date", "last_reply_date"],
        )
        by_email = known.grouped("email")

        def counts(email, timestamp):
            address = by_email.get(email.recipient, known.browse())
            return timestamp is not None and not address._is_proved_since(to_datetime(timestamp))

        return [
            (email, before, state)
            for email, before, state in items
            if counts(email, state.facts["bounced"].timestamp) and not counts(email, before.get("bounced"))
        ]

    @api.model
    def _get_with_another_address(self, emails):
        """Return the documents about their own contact, who has another address by now."""
        about_contact = emails.filtered(lambda email: email.mail_message_id.model == "res.partner")
        addresses = about_contact.partner_id._get_addresses()
        return about_contact.filtered(
            lambda email: (
                email.partner_id.id == email.mail_message_id.res_id
                and email.recipient not in addresses.get(email.partner_id, ())
            )
        )

    @api.model
    def _prefetch_bounced(self, emails):
        """Read for all bounces at once what core would read for each."""
        addresses = all_spellings(emails.mapped("recipient"))
        partners = self.env["res.partner"].sudo().search([("email_normalized", "in", addresses)])
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
                addresses |= {(model, record.id): comparable(record.email_normalized or "") for record in records}
        first = {}
        for email in emails:
            about = email.mail_message_id.model, email.mail_message_id.res_id
            if addresses.get(about) == email.recipient:
                first.setdefault(about, email)
        return self.env["sendgrid.email"].union(*first.values())

    # ------------------------------------------------------------
    # ADDRESS
    # ------------------------------------------------------------

    @api.model
    def _note_addresses(self, items):
        """Note what the documents say about their addresses. Flags, blacklist and entries of lists follow."""
        words, messages, lists = {}, {}, defaultdict(dict)
        for email, _before, state in sorted(items, key=lambda item: item[0].id):
            account = email.account_id
            said = state.words
            name_group = self.env["sendgrid.address"]._name_group
            said = said._replace(groups={name_group(account, group): word for group, word in said.groups.items()})
            words[email.recipient] = merge(words.get(email.recipient, Words()), said)
            if fact := self._get_wish(state.facts):
                messages[email.recipient] = self._explain(email, fact, state.facts)
            for name, listed in said.lists.items():
                key = email.recipient, name
                lists[account][key] = max(lists[account].get(key, listed), listed)
        addresses = self.env["sendgrid.address"]._note(words)
        addresses.filtered(lambda address: words[address.email].bounce)._refresh_contacts()
        addresses.filtered(lambda address: address.email in messages or words[address.email].groups)._settle_blacklist(
            messages
        )
        for account, listed in lists.items():
            self.env["sendgrid.suppression"]._note_listed(account, listed)

    @api.model
    def _get_wish(self, facts):
        """Return the fact that a blacklist entry's chatter tells, None if there is none."""
        groups = [fact for fact in ("left_group", "returned_group") if fact in facts]
        last_group = max(groups, key=lambda fact: facts[fact].timestamp, default=None)
        return next((fact for fact in WISHES if fact in facts), last_group)

    @api.model
    @in_company_language
    def _explain(self, email, fact, facts):
        """Return the text about a wish for the chatter of the blacklist's entry.

        An e-mail that did not arrive is not named as the one with the wish: the recipient has another one in mind.

        :param str fact: which of the ``facts`` (those of `State`) is the wish
        """
        date = describe_utc(self.env, to_datetime(facts[fact].timestamp))
        sentences = {
            "spam": self.env._("SendGrid, %s (UTC): the recipient reported the e-mail as spam.", date),
            "unsubscribed": self.env._("SendGrid, %s (UTC): the recipient unsubscribed through the e-mail.", date),
            "dropped_spam": self.env._(
                "SendGrid, %s (UTC): nothing was sent, because the address has reported spam.", date
            ),
            "dropped_unsubscribed": self.env._(
                "SendGrid, %s (UTC): nothing was sent, because the address has unsubscribed.", date
            ),
            "left_group": self.env._(
                "SendGrid, %s (UTC): the recipient left an unsubscribe group through the e-mail.", date
            ),
            "returned_group": self.env._("SendGrid, %s (UTC): the recipient returned to the unsubscribe group.", date),
        }
        # The list has readers who may not read the e-mail.
        subject = (email.is_in_chatter and email.subject) or ""
        has_arrived = "delivered" in facts or "opened" in facts or not any(failure in facts for failure in FAILURES)
        lines = [sentences[fact]]
        if subject and has_arrived:
            lines.append(self.env._("The e-mail: “%s”", subject))
        elif subject:
            lines.append(self.env._("The e-mail that did not arrive: “%s”", subject))
        return Markup("<p>%s</p>") % Markup("<br/>").join(lines)

    # ------------------------------------------------------------
    # NOTIFICATIONS
    # ------------------------------------------------------------

    @api.model
    def _settle_notifications(self, items):
        """Show the sender in the chatter that a message did not arrive, or take that back.

        A failure is taken back if later events disprove it, such as a delivery after Odoo had given up waiting for it,
        or the recipient's own answer.
        """
        notifications = self._get_notifications([email for email, _before, _state in items])
        by_values, changed = defaultdict(self.env["mail.notification"].browse), []
        for email, before, state in items:
            fact = next((fact for fact in FAILURES if fact in state.facts), None)
            if fact and "replied" not in state.facts:
                status, failure_type = FAILURES[fact]
                values = (status, failure_type, state.facts[fact].reason)
                wrong = notifications[email]
            else:
                values = ("sent", False, False)
                # Core has shown it while it counted the bounce.
                has_failed = bool(fact) or any(fact in before for fact in FAILURES)
                wrong = notifications[email].filtered(
                    lambda n, has_failed=has_failed: has_failed and n.notification_status in ("exception", "bounce")
                )
            wrong = wrong.filtered(
                lambda n, values=values: (
                    (n.notification_status, n.failure_type or False, n.failure_reason or False)
                    != (values[0], values[1], values[2] or False)
                )
            )
            if wrong:
                by_values[values] |= wrong
                changed.append(email)
        for (status, failure_type, reason), wrong in by_values.items():
            wrong.write({"notification_status": status, "failure_type": failure_type, "failure_reason": reason})
        self._tell_senders(changed)

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
                    or comparable(n.mail_email_address or "") == email.recipient
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
    # MASS MAILING
    # ------------------------------------------------------------

    @api.model
    def _settle_traces(self, items):
        """Bring the statistics of mass mailings up to date, if `mass_mailing` is installed.

        Only a refusal because of the address is a bounce there: after five bounces core puts an address on the
        blacklist. A trace that core has found an answer for says "replied", since a reply proves more than any failure,
        and keeps beside it the failure that the answer does not disprove: a failure hides no answer, and is hidden by
        none, whichever came first.
        """
        items = [item for item in items if item[0].mailing_res_id]
        if "mailing.trace" not in self.env or not items:
            return
        traces_of = self._get_traces_of(items)
        none = self.env["mailing.trace"]
        recovered, sent, opened, clicked, failed = none, none, none, none, defaultdict(none.browse)
        not_opened, not_clicked, answered = none, none, defaultdict(none.browse)
        for email, before, state in items:
            # Core's counting of a bounce may have hidden an answer from the status, but not its time.
            replied = traces_of[email].filtered("reply_datetime")
            traces = traces_of[email].filtered(lambda t: t.trace_status != "cancel") - replied
            facts = state.facts
            fact = next((fact for fact in FAILURES if fact in facts), None)
            if fact and "replied" not in facts:
                answered[FAILURES[fact][1], facts[fact].reason] |= replied
            else:
                answered[False, False] |= replied
            if fact:
                failed[FAILURES[fact], facts[fact].reason] |= traces
            elif any(fact in before for fact in FAILURES):
                recovered |= traces.filtered(lambda t: t.trace_status in ("error", "bounce"))
            if "delivered" in facts:
                sent |= traces
            if "opened" in facts or "clicked" in facts:
                opened |= traces
            elif "opened" in before or "clicked" in before:
                not_opened |= traces
            if "clicked" in facts:
                clicked |= traces | replied
            elif "clicked" in before:
                not_clicked |= traces | replied
        for (failure_type, reason), replied in answered.items():
            values = {"trace_status": "reply", "failure_type": failure_type, "failure_reason": reason or False}
            replied.filtered(
                lambda t, values=values: any((t[name] or False) != value for name, value in values.items())
            ).write(values)
        # A later event may show that a scanner opened or clicked, and not the recipient.
        not_opened.filtered(lambda t: t.trace_status == "open").set_sent()
        not_opened.open_datetime = False
        not_clicked.links_click_datetime = False
        recovered.set_sent()
        recovered.failure_reason = False
        sent.filtered(lambda t: t.trace_status in ("outgoing", "process", "pending")).set_sent()
        opened.filtered(lambda t: t.trace_status not in ("open", "error", "bounce")).set_opened()
        clicked.filtered(lambda t: not t.links_click_datetime).set_clicked()
        # A failure hides what a scanner opened on the way, but not when it did.
        opened.filtered(lambda t: not t.open_datetime).open_datetime = fields.Datetime.now()
        for ((status, failure_type), reason), traces in failed.items():
            trace_status = "bounce" if status == "bounce" else "error"
            wrong = traces.filtered(
                lambda t, wanted=(trace_status, failure_type, reason or False): (
                    (t.trace_status, t.failure_type, t.failure_reason or False) != wanted
                )
            )
            if trace_status == "bounce":
                wrong.set_bounced(bounce_message=reason)
            else:
                wrong.set_failed(failure_type=failure_type)
                wrong.failure_reason = reason

    @api.model
    def _settle_clicks(self, items):
        """Bring core's clicks on the links of mass mailings up to date, if `mass_mailing` is installed.

        Core counts who clicked, and which link how often, by rows of its own. It gets one for each click that counts.
        """
        items = [item for item in items if item[0].mailing_res_id]
        if "mailing.trace" not in self.env or not items:
            return
        traces_of = self._get_traces_of(items)
        followed = defaultdict(list)
        for email, _before, state in items:
            urls = [
                event.url
                for event in state.events
                if event.event == "click" and not state.verdicts[event.fingerprint].is_nobodys
            ]
            for trace in traces_of[email]:
                followed[trace] += urls
        self.env["sendgrid.mailing"]._settle_clicks(followed)

    # ------------------------------------------------------------
    # REMINDERS
    # ------------------------------------------------------------

    @api.model
    def _settle_reminders(self, items):
        """Tell users who wait for an answer that the e-mail did not arrive, or end the waiting if it was answered."""
        answered = {email.id for email, _before, state in items if state.reply}
        changed = {email.id for email, _before, _state in items} - answered
        self.env["sendgrid.reminder"].sudo()._settle_news(answered, changed)

    @api.model
    def _get_traces_of(self, items):
        emails = self.env["sendgrid.email"].union(*(email for email, _before, _state in items))
        return self.env["sendgrid.mailing"]._get_traces(emails)


# The consequences by name, in the order in which they run.
CONSEQUENCES = {
    "count": "_count_bounces",
    "address": "_note_addresses",
    "notification": "_settle_notifications",
    "mailing": "_settle_traces",
    "clicks": "_settle_clicks",
    "reminder": "_settle_reminders",
}
