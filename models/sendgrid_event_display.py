from datetime import timedelta
from typing import NamedTuple
from urllib.parse import urlsplit

from odoo import api, fields, models

from ..tools.events.engagement_rules import WISHES
from ..tools.events.event import ACCOUNT_EVENT
from ..tools.events.refusal import (
    EXPIRED,
    HELD_BACK,
    bounce_status,
    is_hard_bounce,
    is_recipients_rule,
    refusal_cause,
)
from ..tools.sending import disarm
from .durations import describe_duration
from .sendgrid_mailing import read_code
from .technical import hide_technical

OTHER_CLOCK = timedelta(minutes=1)
TECHNICAL = {"fingerprint", "odoo_id", "sg_event_id", "sg_message_id", "smtp_id", "url_offset"}


class Presentation(NamedTuple):
    """The look of an event: its name, Font Awesome icon, tone, and what it means for a salesperson.

    The tone is one of Bootstrap's, or ``colleague``.
    """

    name: str
    icon: str
    tone: str
    explanation: str


class SendgridEvent(models.Model):
    """The presentation of an event: its name, its icon, and what it means for a salesperson."""

    _inherit = "sendgrid.event"

    link = fields.Char(compute="_compute_link", compute_sudo=True, help="The link that was followed, without secrets.")
    name = fields.Char(compute="_compute_presentation", help="What happened, in words.")
    icon = fields.Char(compute="_compute_presentation")
    tone = fields.Char(compute="_compute_presentation")
    explanation = fields.Text(
        compute="_compute_presentation", help="What it means, and what it does and does not prove."
    )
    unread_explanation = fields.Char(
        compute="_compute_unread_explanation", help="Which parts of SendGrid's report were not usable, in words."
    )
    answer_url = fields.Char(
        compute="_compute_answer_url", help="Where the answer stands, for whoever may read it there."
    )
    delay = fields.Char(string="After Sending", compute="_compute_delay", help="How long after the e-mail was sent.")

    @api.model
    def fields_get(self, allfields=None, attributes=None):
        return hide_technical(self, super().fields_get(allfields, attributes), TECHNICAL)

    @api.depends("url")
    def _compute_link(self):
        site = self.env["ir.http"]._get_sendgrid_site()
        targets = self._get_link_targets()
        for event in self:
            event.link = disarm.cut(targets.get(event) or event.url or "", site)

    def _get_link_targets(self):
        """Return {event: where its link leads} for links that core has shortened, as it does for mass mailings.

        The short link is not for looking: older ones have the recipient's part (``/m/…``), so that whoever follows one
        would click in his name.
        """
        if "link.tracker.code" not in self.env:
            return {}
        codes = {event: code for event in self if (code := read_code(event.url))}
        found = self.env["link.tracker.code"].search([("code", "in", list(set(codes.values())))]) if codes else ()
        links = {code.code: code.link_id for code in found}
        targets = {}
        for event, code in codes.items():
            link = links.get(code)
            if link and event._is_own_link(link):
                targets[event] = link.absolute_url
            elif event.email_id.mailing_res_id:
                targets[event] = event.url.partition("/m/")[0]
        return targets

    def _is_own_link(self, link):
        """Tell whether the event is about a short link of this database: another site can have the same path."""
        if link._fields.get("mass_mailing_id") and self.email_id.mailing_res_id:
            return link.mass_mailing_id.id == self.email_id.mailing_res_id
        hosts = {urlsplit(base).netloc for base in (link.get_base_url(), self.get_base_url())}
        return urlsplit(self.url).netloc in hosts

    @api.depends(
        "event",
        "verdict",
        "machine_reason",
        "bounce_type",
        "smtp_status",
        "reason",
        "refusal_cause",
        "bounce_classification",
        "answer",
        "recipient",
    )
    @api.depends_context("lang")
    def _compute_presentation(self):
        presentations = self._get_presentations()
        for event in self:
            presentation = presentations.get(event._get_presentation_key()) or Presentation(
                event.event,
                "fa-question-circle-o",
                "muted",
                self.env._("SendGrid reported something of a kind that is not known here."),
            )
            event.name, event.icon, event.tone, event.explanation = presentation
            if event.event == "bounce" and event.bounce_type != EXPIRED:
                event.explanation = event._explain_bounce()
            elif event.event == "dropped":
                event.explanation = event._explain_drop(event.refusal_cause, event.reason)
            elif event.answer == "other" and event.recipient:
                event.name = self.env._("Answered by %s", event.recipient)

    @api.depends("unread")
    @api.depends_context("lang")
    def _compute_unread_explanation(self):
        for event in self:
            names = (event.unread or "").replace(",", ", ")
            event.unread_explanation = names and self.env._("Could not be read: %(names)s", names=names)

    @api.depends("answer_message_id")
    @api.depends_context("uid")
    def _compute_answer_url(self):
        readable = self.sudo().answer_message_id.sudo(False)._filtered_access("read")
        for event in self:
            message = event.sudo().answer_message_id.sudo(False)
            event.answer_url = message in readable and f"/mail/message/{message.id}"

    @api.depends("name")
    @api.depends_context("lang")
    def _compute_display_name(self):
        for event in self:
            event.display_name = event.name

    @api.depends("timestamp", "email_id.sent_date")
    @api.depends_context("lang")
    def _compute_delay(self):
        for event in self:
            sent = event.email_id.sent_date
            # SendGrid has another clock, and tells no fractions of a second. So an event may seem to come before the
            # sending. One that came long before, such as one attached by hand, was not caused by this sending.
            is_caused = sent and event.timestamp > sent - OTHER_CLOCK
            seconds = max(0, int((event.timestamp - sent).total_seconds())) if is_caused else 0
            event.delay = is_caused and describe_duration(self.env, seconds)

    def _get_presentation_key(self):
        """Return the event's key in `_get_presentations`."""
        if self.answer:
            return f"{self.event}_{self.answer}"
        if self.event == "bounce":
            if self.bounce_type == EXPIRED:
                return EXPIRED
            return bounce_status(self)
        if self.event in ("open", "click"):
            if self.machine_reason == "refused":
                return f"{self.event}_refused"
            if self.verdict in ("machine", "colleague", "unknown"):
                return f"{self.event}_{self.verdict}"
        if self.event in WISHES and self.verdict in ("machine", "colleague"):
            return f"{self.event}_{self.verdict}"
        return self.event

    def _explain_bounce(self):
        """Return in words why the server refused the e-mail, and whether SendGrid holds back the next one."""
        said = (self.reason, self.smtp_status, self.bounce_type, self.bounce_classification)
        explanation = self._explain_refusal(self.refusal_cause or refusal_cause(*said), *said[:2])
        if not is_hard_bounce(self):
            return explanation
        return f"{explanation} " + self.env._(
            "SendGrid holds back what is sent to this address from now on, until it is taken off SendGrid's list of "
            "bounces."
        )

    @api.model
    def _explain_refusal(self, cause, reason, smtp_status=""):
        """Return in words why a server refused an e-mail.

        :param str cause: one of `tools.events.refusal.CAUSES`
        :param str reason: the server's words
        :param str smtp_status: the enhanced status code
        """
        if cause == "sender" and is_recipients_rule(reason, smtp_status):
            return self.env._(
                "The recipient's own rules do not let you write there, for instance because only colleagues may. The "
                "address may be right: reach the recipient by other means."
            )
        return {
            "address": self.env._(
                "The recipient's server refused the e-mail for good: most often the address does not exist. Check it, "
                "or ask the recipient by other means."
            ),
            "mailbox": self.env._(
                "The mailbox is full, or not available at the moment. The address is right: try again later, or reach "
                "the recipient by other means."
            ),
            "message": self.env._(
                "The recipient's server did not take this message: it may be too large, or have an attachment or a "
                "form that is not accepted there. The address is right."
            ),
            "sender": self.env._(
                "Your own domain, server or content was not accepted. The address may be right; your administrator "
                "sees on the page of the SendGrid account what to do."
            ),
            "temporary": self.env._(
                "The recipient's server could not be reached, or could not take the e-mail at the time. The address "
                "may be right: try again later."
            ),
            "unknown": self.env._(
                "The recipient's server refused the e-mail and did not say why. The address may not work any more: "
                "check it, or ask the recipient by other means."
            ),
        }[cause]

    @api.model
    def _explain_drop(self, cause, reason):
        """Return in words why SendGrid did not try to deliver an e-mail.

        SendGrid's reasons are a fixed list (Twilio docs: Event Webhook reference).

        :param str cause: one of `tools.events.refusal.CAUSES`, or an empty value
        :param str reason: SendGrid's reason
        """
        reason = (reason or "").strip().lower()
        if reason.startswith(HELD_BACK):
            return f"{self._explain_held(cause)} " + self.env._(
                "If the address works, it has to be taken off SendGrid's list of bounces."
            )
        reasons = {
            "unsubscribed address": self.env._("The recipient has unsubscribed from your e-mails."),
            "spam reporting address": self.env._("The recipient reported an earlier e-mail of yours as spam."),
            "invalid smtpapi": self.env._("The technical settings of the e-mail were broken: tell your administrator."),
            "invalid": self.env._("The address is not valid: correct it in the contact."),
            "spam content": self.env._("SendGrid takes the content for spam."),
            "recipient list over": self.env._("The account's quota at SendGrid is used up: tell your administrator."),
            "duplicate": self.env._("The same e-mail was given to SendGrid more than once."),
        }
        not_tried = self.env._("SendGrid did not even try to deliver the e-mail.")
        # Take the first that fits. "invalid smtpapi" begins with "invalid", so it stands before it.
        why = next((text for prefix, text in reasons.items() if reason.startswith(prefix)), "")
        return f"{why} {not_tried}".strip()

    @api.model
    def _explain_held(self, cause):
        """Return in words why SendGrid holds back what is sent to an address that bounced before.

        :param str cause: the cause of the bounce, or an empty value if it is not known
        """
        return {
            "address": self.env._("SendGrid held it back: the address did not work when an earlier e-mail was sent."),
            "mailbox": self.env._("SendGrid held it back: the mailbox was full when an earlier e-mail was sent."),
            "message": self.env._("SendGrid held it back: the recipient's server did not take an earlier message."),
            "sender": self.env._(
                "SendGrid held it back: your own domain, server or content was not accepted when an earlier e-mail was "
                "sent. The address may be right."
            ),
            "temporary": self.env._("SendGrid held it back: an earlier e-mail could not be delivered at that time."),
            "unknown": self.env._(
                "SendGrid held it back: an earlier e-mail came back, and the server did not say why."
            ),
        }.get(
            cause, self.env._("SendGrid held it back: the address bounced before, for a cause that is not known here.")
        )

    @api.model
    def _get_presentations(self):
        """Return {key: `Presentation`} in the user's language."""
        return {
            "processed": Presentation(
                self.env._("Processed"),
                "fa-cogs",
                "info",
                self.env._("SendGrid has taken the e-mail and is about to deliver it."),
            ),
            "deferred": Presentation(
                self.env._("Deferred"),
                "fa-clock-o",
                "warning",
                self.env._(
                    "The recipient's server did not take the e-mail for the moment: it may be busy, the mailbox may be "
                    "full, or it puts unknown senders off at first. SendGrid goes on trying for up to 72 hours; there "
                    "is nothing to do."
                ),
            ),
            "delivered": Presentation(
                self.env._("Delivered"),
                "fa-check",
                "success",
                self.env._(
                    "The recipient's server has accepted the e-mail. Whether it is in the inbox or in the spam folder, "
                    "nobody can tell from here."
                ),
            ),
            "open": Presentation(
                self.env._("Opened"),
                "fa-envelope-open-o",
                "success",
                self.env._(
                    "The images of the e-mail were loaded. Most likely it was on somebody's screen; that it was read "
                    "is not proved. And since many mail programs block images, an e-mail that shows no opening may "
                    "have been read all the same."
                ),
            ),
            "open_machine": Presentation(
                self.env._("Opened by a machine"),
                "fa-server",
                "muted",
                self.env._(
                    "A program loaded the images, not a person: this does not count as opened. Whether anybody "
                    "has read the e-mail remains unknown."
                ),
            ),
            "open_colleague": Presentation(
                self.env._("Opened by a colleague"),
                "fa-users",
                "colleague",
                self.env._(
                    "It came from your company's network, or from where one of you was logged in to Odoo: somebody "
                    "looked at a copy, or at an answer that quotes the e-mail. It says nothing about the recipient, "
                    "and does not count as opened."
                ),
            ),
            "open_unknown": Presentation(
                self.env._("Opened, by whom cannot be told"),
                "fa-envelope-open-o",
                "info",
                self.env._(
                    "The images of the e-mail were loaded, by a person or by a program: nothing that SendGrid reports "
                    "tells which."
                ),
            ),
            "open_refused": Presentation(
                self.env._("Opened by a scanner"),
                "fa-server",
                "muted",
                self.env._(
                    "The e-mail was not delivered, so nobody can have read it: a security scanner opened it on the way."
                ),
            ),
            "click": Presentation(
                self.env._("Clicked"),
                "fa-mouse-pointer",
                "success",
                self.env._(
                    "A link of the e-mail was followed. That is the surest sign that somebody has looked at it, "
                    "although some security scanners follow links as well."
                ),
            ),
            "click_machine": Presentation(
                self.env._("Clicked by a machine"),
                "fa-server",
                "muted",
                self.env._("A program followed the link to check it, not a person: this does not count as clicked."),
            ),
            "click_colleague": Presentation(
                self.env._("Clicked by a colleague"),
                "fa-users",
                "colleague",
                self.env._(
                    "It came from your company's network, or from where one of you was logged in to Odoo: somebody "
                    "followed the link in a copy, or in an answer that quotes the e-mail. It says nothing about the "
                    "recipient, and does not count as clicked."
                ),
            ),
            "click_unknown": Presentation(
                self.env._("Clicked, by whom cannot be told"),
                "fa-mouse-pointer",
                "info",
                self.env._(
                    "A link of the e-mail was followed, by a person or by a program that checks links: nothing that "
                    "SendGrid reports tells which."
                ),
            ),
            "click_refused": Presentation(
                self.env._("Clicked by a scanner"),
                "fa-server",
                "muted",
                self.env._(
                    "The e-mail was not delivered, so nobody can have clicked: a security scanner checked the link on "
                    "the way."
                ),
            ),
            "reply_own": Presentation(
                self.env._("Replied"),
                "fa-reply",
                "success",
                self.env._(
                    "The recipient answered, from the address that the e-mail was sent to: the only proof that a "
                    "person has it."
                ),
            ),
            "reply_contact": Presentation(
                self.env._("Replied from another address"),
                "fa-reply",
                "success",
                self.env._("The recipient answered, from another address than the e-mail was sent to."),
            ),
            "reply_alone": Presentation(
                self.env._("Replied from another address"),
                "fa-reply",
                "success",
                self.env._(
                    "Somebody answered from an address that the contact is not known to have. The e-mail went to one "
                    "recipient only, so that the answer counts as his: it may be a private address, a colleague's, or "
                    "somebody's to whom it was forwarded."
                ),
            ),
            "reply_portal": Presentation(
                self.env._("Replied in the portal"),
                "fa-reply",
                "success",
                self.env._(
                    "The recipient wrote in the portal, about the same record. This was the latest e-mail about it."
                ),
            ),
            "reply_other": Presentation(
                self.env._("Answered"),
                "fa-reply",
                "info",
                self.env._(
                    "Somebody answered the message, from an address that none of its recipients is known to have. "
                    "Whose answer it is cannot be told, so that it counts for nobody."
                ),
            ),
            "reply_automatic": Presentation(
                self.env._("Automatic answer"),
                "fa-reply",
                "muted",
                self.env._(
                    "A program answered by itself, for instance because the recipient is absent: this does not count "
                    "as replied."
                ),
            ),
            "reply_report": Presentation(
                self.env._("Report of a mail server"),
                "fa-server",
                "muted",
                self.env._(
                    "A mail server wrote to Odoo about this e-mail, for instance that it was not delivered. That is no "
                    "answer, and does not count as one."
                ),
            ),
            "reply_mail": Presentation(
                self.env._("Answered"),
                "fa-reply",
                "info",
                self.env._(
                    "The answer came in before the e-mail that it answers was recorded. It counts as soon as that is "
                    "there."
                ),
            ),
            # Why is told by `_explain_bounce`.
            "bounced": Presentation(self.env._("Bounced"), "fa-times", "danger", ""),
            "blocked": Presentation(self.env._("Blocked"), "fa-ban", "danger", ""),
            EXPIRED: Presentation(
                self.env._("Not delivered within 72 hours"),
                "fa-hourglass-end",
                "danger",
                self.env._(
                    "The recipient's server kept putting the e-mail off, and SendGrid gave up after 72 hours. The "
                    "address may be right: try again later."
                ),
            ),
            # Why is told by `_explain_drop`.
            "dropped": Presentation(self.env._("Dropped"), "fa-trash-o", "danger", ""),
            "spamreport": Presentation(
                self.env._("Reported as spam"),
                "fa-thumbs-down",
                "danger",
                self.env._(
                    "The e-mail arrived, and the recipient marked it as spam. SendGrid will not deliver to this "
                    "address any more."
                ),
            ),
            "unsubscribe": Presentation(
                self.env._("Unsubscribed"),
                "fa-bell-slash-o",
                "warning",
                self.env._(
                    "The recipient does not want e-mails from you. SendGrid will not deliver to this address any more."
                ),
            ),
            "group_unsubscribe": Presentation(
                self.env._("Unsubscribed from a group"),
                "fa-bell-slash-o",
                "warning",
                self.env._(
                    "The recipient does not want this kind of e-mail, such as a newsletter, any more. SendGrid still "
                    "delivers others."
                ),
            ),
            "unsubscribe_machine": Presentation(
                self.env._("Unsubscribed, it seems by a scanner"),
                "fa-bell-slash-o",
                "muted",
                self.env._(
                    "A scanner that follows every link followed this one too: it may be nobody's wish. It is respected "
                    "all the same, and SendGrid will not deliver to this address any more, until somebody takes it "
                    "back."
                ),
            ),
            "group_unsubscribe_machine": Presentation(
                self.env._("Unsubscribed from a group, it seems by a scanner"),
                "fa-bell-slash-o",
                "muted",
                self.env._(
                    "A scanner that follows every link followed this one too: it may be nobody's wish. It is respected "
                    "all the same, and SendGrid will not deliver e-mails of this kind any more, until somebody takes "
                    "it back."
                ),
            ),
            "unsubscribe_colleague": Presentation(
                self.env._("Unsubscribed by a colleague"),
                "fa-users",
                "colleague",
                self.env._(
                    "It came from your company's network, or from where one of you was logged in to Odoo: by mistake, "
                    "or because the recipient asked for it. It is respected, and SendGrid will not deliver to this "
                    "address any more, until somebody takes it back."
                ),
            ),
            "group_unsubscribe_colleague": Presentation(
                self.env._("Unsubscribed from a group by a colleague"),
                "fa-users",
                "colleague",
                self.env._(
                    "It came from your company's network, or from where one of you was logged in to Odoo: by mistake, "
                    "or because the recipient asked for it. It is respected, and SendGrid will not deliver e-mails of "
                    "this kind any more, until somebody takes it back."
                ),
            ),
            "group_resubscribe": Presentation(
                self.env._("Subscribed to a group again"),
                "fa-bell-o",
                "success",
                self.env._("The recipient wants this kind of e-mail again."),
            ),
            ACCOUNT_EVENT: Presentation(
                self.env._("Account status changed"),
                "fa-exclamation-triangle",
                "warning",
                self.env._("SendGrid changed the status of your account, for instance because of too many complaints."),
            ),
        }
