import re
from collections import Counter, defaultdict
from textwrap import shorten

from lxml import etree
from lxml.html import HTMLParser, fromstring
from markupsafe import Markup

from odoo import api, fields, models
from odoo.exceptions import AccessError, UserError
from odoo.fields import Domain
from odoo.tools import is_html_empty

from ..tools.events.answer import PROOFS
from ..tools.events.engagement_rules import WISHES
from ..tools.events.fold import FAILURES
from ..tools.events.refusal import drop_cause, refusal_cause
from .technical import hide_technical

# In characters.
PREVIEW_LENGTH = 160
# In bytes. Gmail shows no more of an e-mail at once, and the pixel that tells of an open is at its end (Twilio docs:
# "Gmail Message Clipping").
CLIPPED_FROM = 102 * 1024
LINK = re.compile(r"(?:https?://|www\.)\S+")
# The tags where one line or cell ends and another begins.
BLOCK = re.compile(r"</?(?:p|div|br|li|td|th|tr|table|h[1-6]|blockquote|pre)\b", re.IGNORECASE)
# So many of the other recipients of a message are named.
SHOWN_RECIPIENTS = 20
# Columns that mean something to developers only.
TECHNICAL = {
    "content_has_secrets",
    "content_state",
    "facts",
    "failed_consequences",
    "is_alone",
    "is_in_chatter",
    "mail_id",
    "mail_message_id",
    "mailing_res_id",
    "message_id",
    "odoo_id",
    "reminder_days",
    "res_id",
    "sg_message_id",
}


class SendgridEmail(models.Model):
    """The presentation of a document: its journey, its words, and its buttons."""

    _inherit = "sendgrid.email"

    attachment_ids = fields.Many2many("ir.attachment", string="Attachments", compute="_compute_attachment_ids")
    preview = fields.Char(
        string="Beginning",
        compute="_compute_preview",
        compute_sudo=True,
        help="The first words of the e-mail, which tell e-mails with the same subject apart.",
    )
    also_sent_to = fields.Char(
        compute="_compute_also_sent_to",
        help="The other recipients of the same message whose e-mails the user may see.",
    )
    resource_ref = fields.Reference(
        string="Record",
        selection="_selection_resource_ref",
        compute="_compute_resource_ref",
        help="The record that the e-mail is about.",
    )
    journey = fields.Json(compute="_compute_journey", help="The way the e-mail went, step by step.")
    status_explanation = fields.Text(
        string="What Happened",
        compute="_compute_status_explanation",
        help="Why it did not arrive, or not yet, in words.",
    )
    sent_again_explanation = fields.Char(
        compute="_compute_sent_again_explanation",
        help="Says that the recipient may have the e-mail more than once.",
    )
    engagement_summary = fields.Char(
        string="Engagement",
        compute="_compute_engagement_summary",
        help="How often it was opened and clicked, in words, or why that is not known.",
    )

    @api.model
    def _selection_resource_ref(self):
        return [(model.model, model.name) for model in self.env["ir.model"].sudo().search([("transient", "=", False)])]

    @api.depends("mail_message_id")
    @api.depends_context("uid")
    def _compute_attachment_ids(self):
        for email in self:
            attachments = email.sudo().mail_message_id.attachment_ids.sudo(False)
            email.attachment_ids = attachments._filtered_access("read")

    @api.depends("mail_message_id", "mailing_res_id", "content_id", "content_changes", "content_state")
    def _compute_preview(self):
        # Whoever sees a list must not read there what gives its recipient access to Odoo.
        shown = self.filtered(lambda email: email.content_state != "credentials")
        # The message comes first, because what was sent begins with the layout around it, which is always the same. It
        # is also read at once, while what was sent has to be unpacked.
        sources = {email.id: email.mail_message_id.body for email in shown if email.mail_message_id.body}
        sources |= (shown - shown.browse(sources))._read_sources()
        sources |= (shown - shown.browse(sources))._read_mailings()
        previews = {}
        for email in self:
            source = sources.get(email.id) or ""
            if source not in previews:
                previews[source] = self._get_beginning(source)
            email.preview = previews[source]

    @api.model
    def _get_beginning(self, source):
        """Return the first words of HTML as plain text, without links: some of them are secret."""
        if is_html_empty(source):
            return ""
        try:
            # `Markup` would escape what is put together. Text whose first line names an encoding is read as bytes only.
            text = BLOCK.sub(r" \g<0>", str(source)).encode()
            html = fromstring(text, parser=HTMLParser(encoding="utf-8"))
        except (etree.ParserError, ValueError):
            return ""  # there is nothing to read, such as in a comment alone
        texts = html.xpath("//text()[not(ancestor::style or ancestor::script or ancestor::title)]")
        words = LINK.sub("…", "".join(texts)).split()
        return shorten(" ".join(words), PREVIEW_LENGTH, placeholder="…")

    @api.depends("message_id", "mail_message_id", "recipient_role")
    @api.depends_context("uid", "lang")
    def _compute_also_sent_to(self):
        roles = dict(self._fields["recipient_role"]._description_selection(self.env))
        for email in self:
            others = self.search(email._get_copies_domain(), order="recipient, id", limit=SHOWN_RECIPIENTS + 1)
            texts = [
                f"{other.recipient} ({roles[other.recipient_role]})"
                if other.recipient_role in ("cc", "bcc")
                else other.recipient
                for other in others[:SHOWN_RECIPIENTS]
            ]
            email.also_sent_to = ", ".join(dict.fromkeys(texts)) + (" …" if len(others) > SHOWN_RECIPIENTS else "")

    def _get_copies_domain(self):
        """Return the domain of the documents of the same message that went to others."""
        same = Domain.FALSE
        if self.mail_message_id:
            same |= Domain("mail_message_id", "=", self.mail_message_id.id)
        if self.message_id:
            same |= Domain("message_id", "=", self.message_id)
        # The messages of a mailing, one for each recipient, are not one message.
        return same & Domain("id", "!=", self.id) & Domain("recipient", "!=", self.recipient)

    @api.model
    def fields_get(self, allfields=None, attributes=None):
        return hide_technical(self, super().fields_get(allfields, attributes), TECHNICAL)

    @api.depends("model", "res_id")
    @api.depends_context("uid")
    def _compute_resource_ref(self):
        self.resource_ref = False
        by_model = defaultdict(self.browse)
        for email in self:
            if email.model in self.env and email.res_id:
                by_model[email.model] |= email
        for model, emails in by_model.items():
            records = self.env[model].browse(emails.mapped("res_id")).exists()
            readable = set(records._filtered_access("read").ids)
            for email in emails:
                if email.res_id in readable:
                    email.resource_ref = f"{model},{email.res_id}"

    # ------------------------------------------------------------
    # JOURNEY
    # ------------------------------------------------------------

    @api.depends(
        "status",
        "event_ids",
        "person_open_date",
        "person_click_date",
        "reply_date",
        "is_unsubscribed_by_machine",
        "measured",
    )
    def _compute_journey(self):
        """Compute whether and when the e-mail reached each step of its way. If it is not measured, the way has no opens
        and clicks. The answer is known all the same.

        The value is a list of dicts with ``status`` and ``label`` of the step, ``date`` (text in UTC, or False),
        ``state`` (``done``, ``open``, ``waiting`` or ``failed``) and ``note`` (a sentence, or False).
        """
        for email in self:
            labels = email._get_step_labels()
            steps = [
                ("sent", email.sent_date),
                ("processed", email.processed_date),
                ("delivered", email.delivered_date),
            ]
            if not email._is_unmeasured():
                clicks = email._get_people_clicks().mapped("timestamp")
                steps += [("opened", email.first_open_date), ("clicked", min(clicks, default=None))]
            steps.append(("replied", email.reply_date))
            notes = email._get_step_notes()
            journey = [
                {
                    "status": status,
                    "label": labels[status],
                    "date": fields.Datetime.to_string(date) or False,
                    "state": "done" if date else "open",
                    "note": not date and notes.get(status),
                }
                for status, date in steps
            ]
            email.journey = email._add_failure(journey, labels)

    def _get_step_labels(self):
        """Return {status: its name as a step of this e-mail}. The name says so if nobody can tell who was there."""
        labels = self._get_status_labels(
            self.unknown_open_count and not self.person_open_date,
            self.unknown_click_count and not self.person_click_date,
        )
        if self.is_unsubscribed_by_machine:
            wishes = self.event_ids.filtered(lambda event: event.event in WISHES)
            labels["unsubscribed"] = (
                self.env._("Unsubscribed by a colleague")
                if wishes and all(wish.is_colleague for wish in wishes)
                else self.env._("Unsubscribed, it seems by a scanner")
            )
        return labels

    @api.model
    def _get_status_labels(self, is_opener_unknown, is_clicker_unknown):
        """Return {status: its name}, where nobody can tell of all opens, or of all clicks, who was there."""
        labels = dict(self._fields["status"]._description_selection(self.env))
        if is_opener_unknown:
            labels["opened"] = self.env._("Opened, by whom cannot be told")
        if is_clicker_unknown:
            labels["clicked"] = self.env._("Clicked, by whom cannot be told")
        return labels

    def _get_step_notes(self):
        """Return {status: why the step may stay open although it happened}: what is not tracked cannot be seen."""
        account = self.sudo().account_id
        notes = {}
        if account.tracking_settings_date and not account.open_tracking:
            notes["opened"] = self.env._("The SendGrid account does not track opens.")
        if account.tracking_settings_date and not account.click_tracking:
            notes["clicked"] = self.env._("The SendGrid account does not track clicks.")
        elif self.has_secret_links:
            notes["clicked"] = self.env._("Links with a token, which only the recipient may use, are not tracked.")
        return notes

    def _get_people_clicks(self):
        return self.event_ids.filtered(
            lambda event: event.event == "click" and not event.is_machine and not event.is_colleague
        )

    def _add_failure(self, journey, labels):
        """Put the failure or delay, if there is one, behind the last step that the e-mail reached.

        :param journey: list of steps, see `_compute_journey`
        :param labels: {status: its name for people}
        :return: list of steps
        """
        if self.status == "failed":
            return [
                {
                    "status": "failed",
                    "label": labels["failed"],
                    "date": fields.Datetime.to_string(self.date),
                    "state": "failed",
                }
            ]
        if self.status in ("sent", "processed", "delivered", "opened", "clicked", "replied"):
            # Who wrote in the portal need not have got the e-mail.
            has_answered = any(event.answer in PROOFS for event in self.event_ids)
            last = max(
                index
                for index, step in enumerate(journey)
                if step["state"] == "done" and (step["status"] != "replied" or has_answered)
            )
            for step in journey[:last]:
                # Whoever answered has seen the e-mail, and need not have clicked.
                if step["status"] != "clicked":
                    step["state"] = "done"
            return journey
        names = {
            "deferred": ("deferred",),
            "blocked": ("bounce",),
            "dropped": ("dropped",),
            "bounced": ("bounce",),
            "unsubscribed": ("unsubscribe", "group_unsubscribe"),
            "spam": ("spamreport",),
        }[self.status]
        dates = self.event_ids.filtered(lambda event: event.event in names).mapped("timestamp")
        wrong = {
            "status": self.status,
            "label": labels[self.status],
            "date": fields.Datetime.to_string(max(dates, default=None)) or False,
            "note": False,
            "state": {"deferred": "waiting", "unsubscribed": "done"}.get(self.status, "failed"),
        }
        reached = [step for step in journey if step["state"] == "done"]
        if self.status in FAILURES and reached[-1]["status"] == "replied":
            # It was refused by one address, and answered from another one.
            return [*reached[:-1], wrong, reached[-1]]
        # Only a deferred e-mail has steps ahead. A refused one goes no further, and a recipient who complained or
        # unsubscribed has it already.
        ahead = [step for step in journey if step["state"] == "open"] if self.status == "deferred" else []
        return reached + [wrong] + ahead

    def _may_have_arrived(self):
        """Tell whether the recipient may have got the e-mail: it was delivered, or at least nobody refused it."""
        if self.delivered_date or self.first_open_date:
            return True
        return not any(event.event in ("dropped", "bounce") for event in self.sudo().event_ids)

    # ------------------------------------------------------------
    # WORDS
    # ------------------------------------------------------------

    @api.depends("status", "status_reason", "refusal_cause")
    @api.depends_context("lang")
    def _compute_status_explanation(self):
        Event = self.env["sendgrid.event"]
        for email in self:
            reason = email.status_reason or ""
            if email.status == "failed":
                email.status_explanation = self.env._("Odoo could not hand the e-mail to SendGrid: it was not sent.")
            elif email.status == "deferred":
                email.status_explanation = self.env._(
                    "The recipient's server puts the e-mail off. SendGrid goes on trying for up to 72 hours."
                )
            elif email.status == "dropped":
                email.status_explanation = Event._explain_drop(email.refusal_cause or drop_cause(reason), reason)
            elif email.status in ("bounced", "blocked"):
                # Documents that are older than the cause tell it by the server's words.
                kind = "bounce" if email.status == "bounced" else "blocked"
                cause = email.refusal_cause or refusal_cause(reason, bounce_type=kind)
                email.status_explanation = Event._explain_refusal(cause, reason)
            else:
                email.status_explanation = False

    @api.depends("sent_count")
    @api.depends_context("lang")
    def _compute_sent_again_explanation(self):
        for email in self:
            email.sent_again_explanation = email.sent_count > 1 and self.env._(
                "Odoo sent this e-mail %s×, because the mail was retried: the recipient may have it as often.",
                email.sent_count,
            )

    @api.depends(
        "status",
        "delivered_date",
        "open_count",
        "click_count",
        "unknown_open_count",
        "unknown_click_count",
        "machine_open_count",
        "machine_click_count",
        "event_ids.is_colleague",
        "measured",
        "unmeasured_note",
    )
    @api.depends_context("lang")
    def _compute_engagement_summary(self):
        for email in self:
            if email._is_unmeasured():
                email.engagement_summary = email._describe_unmeasured()
                continue
            has_people = email.open_count or email.click_count
            if email.status in FAILURES and not email.delivered_date and not has_people:
                email.engagement_summary = email._describe_scans()
                continue
            sentences = [
                email._describe_opens(email.open_count, email.unknown_open_count, email.machine_open_count),
                email._describe_clicks(email.click_count, email.unknown_click_count, email.machine_click_count),
                email._describe_colleagues(),
            ]
            email.engagement_summary = " ".join(filter(None, sentences))

    def _describe_unmeasured(self):
        if self.status in ("failed", *FAILURES) and not self.delivered_date:
            return ""
        return f"{self.unmeasured_note} " + self.env._("Whether it was opened or clicked is not known.")

    def _describe_scans(self):
        if not (self.machine_open_count or self.machine_click_count):
            return ""
        return self.env._("Opened or clicked by a security scanner on the way, and refused: it did not arrive.")

    def _describe_opens(self, people, unknown, machines):
        """Return sentences about the opens.

        :param int people: how many are counted as people's
        :param int unknown: of how many of these it cannot be told whether they are
        :param int machines: how many are machines'
        """
        total = people + machines
        if not total:
            return self._describe_unopened() if self.status == "delivered" else ""
        if not people and total == 1:
            return self.env._("Opened once, by a machine: whether anybody has read it is not known.")
        if not people:
            return self.env._("Opened %s×, by machines only: whether anybody has read it is not known.", total)
        if unknown == people:
            return self._describe_unknown_opens(total, machines)
        sentence = self._describe_known_opens(total, machines)
        return f"{sentence} {self._describe_doubt(unknown)}".strip()

    def _describe_unopened(self):
        if "opened" in self._get_step_notes():
            return self.env._("The SendGrid account does not track opens: whether it was opened is not known.")
        if len((self.content or "").encode()) > CLIPPED_FROM:
            return self.env._(
                "Not opened yet, as far as can be seen. It is so long that Gmail cuts it: an open may not be noticed."
            )
        return self.env._("Not opened yet, as far as can be seen.")

    def _describe_doubt(self, unknown):
        if unknown == 1:
            return self.env._("Of one it cannot be told whether it was a person.")
        return self.env._("It cannot be told of each whether it was a person. Unknown: %s.", unknown) if unknown else ""

    def _describe_known_opens(self, total, machines):
        if total == 1:
            return self.env._("Opened once.")
        if not machines:
            return self.env._("Opened %s×.", total)
        if machines == 1:
            return self.env._("Opened %s×, once by a machine.", total)
        return self.env._("Opened %(total)s×, %(machines)s× of these by machines.", total=total, machines=machines)

    def _describe_unknown_opens(self, total, machines):
        if total == 1:
            return self.env._("Opened once, by whom cannot be told.")
        if not machines:
            return self.env._("Opened %s×, by whom cannot be told.", total)
        if machines == 1:
            return self.env._("Opened %s×, once by a machine, by whom else cannot be told.", total)
        return self.env._(
            "Opened %(total)s×, %(machines)s× of these by machines, by whom else cannot be told.",
            total=total,
            machines=machines,
        )

    def _describe_clicks(self, people, unknown, machines):
        """Return sentences about the clicks; the parameters are those of `_describe_opens`."""
        total = people + machines
        if not total:
            return ""
        if not people:
            return self.env._("Links were followed by machines only.")
        if unknown == people:
            return self._describe_unknown_clicks(total, machines)
        sentence = self._describe_known_clicks(total, machines)
        return f"{sentence} {self._describe_doubt(unknown)}".strip()

    def _describe_known_clicks(self, total, machines):
        if total == 1:
            return self.env._("Clicked once.")
        if not machines:
            return self.env._("Clicked %s×.", total)
        if machines == 1:
            return self.env._("Clicked %s×, once by a machine.", total)
        return self.env._("Clicked %(total)s×, %(machines)s× of these by machines.", total=total, machines=machines)

    def _describe_unknown_clicks(self, total, machines):
        if total == 1:
            return self.env._("Clicked once, by whom cannot be told.")
        if not machines:
            return self.env._("Clicked %s×, by whom cannot be told.", total)
        if machines == 1:
            return self.env._("Clicked %s×, once by a machine, by whom else cannot be told.", total)
        return self.env._(
            "Clicked %(total)s×, %(machines)s× of these by machines, by whom else cannot be told.",
            total=total,
            machines=machines,
        )

    def _describe_colleagues(self):
        names = Counter(self.event_ids.filtered("is_colleague").mapped("event"))
        sentences = []
        if names["open"] == 1:
            sentences.append(self.env._("Opened once by a colleague, which does not count."))
        elif names["open"]:
            sentences.append(self.env._("Opened %s× by colleagues, which does not count.", names["open"]))
        if names["click"] == 1:
            sentences.append(self.env._("Clicked once by a colleague, which does not count."))
        elif names["click"]:
            sentences.append(self.env._("Clicked %s× by colleagues, which does not count.", names["click"]))
        return " ".join(sentences)

    @api.model
    def get_empty_list_help(self, help_message):
        """Show administrators links to the mail servers and accounts, without which no e-mail is tracked.

        Other users may not set them up, so they see no links.
        """
        if self.env.user.has_group("base.group_system"):
            link = Markup('<a type="action" class="text-primary mx-2" name="%s">%s</a>')
            help_message = Markup("%s<p>%s</p><p>%s%s</p>") % (
                Markup(help_message or ""),
                self.env._(
                    "Only what leaves through an outgoing mail server with a SendGrid account is tracked. Set these up "
                    "first."
                ),
                link % ("base.action_ir_mail_server_list", self.env._("Outgoing Mail Servers")),
                link % ("sendgrid_tracking.sendgrid_account_action", self.env._("SendGrid Accounts")),
            )
        return super().get_empty_list_help(help_message)

    # ------------------------------------------------------------
    # BUTTONS
    # ------------------------------------------------------------

    @api.model
    def _get_action_about(self, record, domain, path):
        """Return the action that lists the documents of a record, such as a contact or lead, newest first.

        :param record: the record; the title of the list names it
        :param domain: the domain of its documents
        :param str path: the last part of the list's address, see `_open_list`
        """
        action = self.env["ir.actions.act_window"]._for_xml_id("sendgrid_tracking.sendgrid_email_action")
        return {
            **action,
            "display_name": self.env._("Documents of %s", record.display_name),
            "domain": list(domain),
            "path": path,
            "context": {"active_id": record.id, "active_ids": record.ids, "active_model": record._name},
        }

    @api.model
    def _open_list(self, model, method, action):
        """Return the action of a list that was opened from a record, again from the list's address alone.

        The browser's address of such a list is for instance ``/odoo/contacts/7/sendgrid-contact-documents``. In a new
        session nothing else is known of it. So the path belongs to a server action, which gets the id and calls this.

        :param str model: the name of the record's model
        :param str method: the name of the method of the record that returns the list's action
        :param str action: the XML id of an action whose title core shows while it does not tell the id
        :raise MissingError: if the record is gone
        """
        res_id = self.env.context.get("active_id")
        if not isinstance(res_id, int):
            return self.env["ir.actions.act_window"]._for_xml_id(action)
        return getattr(self.env[model].browse(res_id), method)()

    def action_send_again(self):
        """Open the composer with the content of the e-mail, addressed to the contact with its present address.

        If the user sends it, that is a new mail with a new document. If the recipient may have the e-mail, the new one
        answers it (see `mail_mail_again.py`). A mail of which nothing has left is retried instead, and keeps its
        documents.

        :raise UserError: if the e-mail belongs to a mass mailing, is about no record that can send mails, or its
            recipient wants no further one
        """
        self.ensure_one()
        self.check_access("read")
        if mail_sudo := self._get_mail_to_retry():
            mail_sudo.action_retry()
            mail_sudo.send_after_commit()
            return {
                "type": "ir.actions.client",
                "tag": "display_notification",
                "params": {"type": "info", "message": self.env._("Odoo tries to send the e-mail again.")},
            }
        record = self.resource_ref
        if self.mailing_res_id:
            raise UserError(self.env._("This e-mail is part of a mass mailing: it is sent again from there."))
        self._check_wanted()
        if not record or not isinstance(record, self.env.registry["mail.thread"]):
            raise UserError(
                self.env._("The e-mail is about no record from which it could be sent again. Write a new one.")
            )
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Send Again"),
            "res_model": "mail.compose.message",
            "views": [[False, "form"]],
            "target": "new",
            "context": {
                "default_composition_mode": "comment",
                "default_model": record._name,
                "default_res_ids": record.ids,
                "default_partner_ids": self.partner_id.ids,
                "default_subject": self.subject,
                "default_body": self._get_body_to_send_again(),
                "default_attachment_ids": self.attachment_ids.ids,
                "default_sendgrid_resent_id": self.id,
                "default_sendgrid_is_tracked": not self._is_switched_off(),
                "default_template_id": False,
                # If the recipient may have it, the new one stands below it in his conversation.
                **({"default_parent_id": self.mail_message_id.id} if self.can_follow_up else {}),
            },
        }

    def _is_switched_off(self):
        """Tell whether the e-mail's own switch was off. Of somebody who declined as well, only that is told."""
        return self.unmeasured_reason == "mail" or self.mail_message_id.sudo().sendgrid_is_unmeasured

    def _get_mail_to_retry(self):
        """Return the failed mail of this document as administrator, if the user may retry it and none of it has left.

        A retry sends all copies of a mail again, in its author's name. So it is for him and for administrators.
        """
        mail_sudo = self.sudo().mail_id
        is_allowed = self.author_id == self.env.user.partner_id or self.env.user.has_group("base.group_system")
        has_left = any(email.status != "failed" for email in mail_sudo.sendgrid_email_ids) or (
            # Colleagues have no document.
            mail_sudo.env["mail.notification"].search_count(
                [("mail_mail_id", "in", mail_sudo.ids), ("notification_status", "=", "sent")], limit=1
            )
        )
        return mail_sudo if mail_sudo.state == "exception" and is_allowed and not has_left else mail_sudo.browse()

    def action_ask_sendgrid(self):
        """Ask SendGrid what happened to the e-mail. Events that the webhook missed appear a moment later.

        :raise AccessError: if the user is no administrator
        """
        self.ensure_one()
        self.check_access("read")
        if not self.env.user.has_group("base.group_system"):
            raise AccessError(self.env._("Only administrators can ask SendGrid."))
        backfill = self.env["sendgrid.backfill"].sudo()._ask_about(self.sudo())
        if backfill.state == "running":
            message = self.env._("Odoo goes on asking SendGrid, and what it tells appears here.")
        elif backfill.event_count:
            message = self.env._(
                "What is new of what SendGrid told appears here in a moment. Events: %s.", backfill.event_count
            )
        elif backfill.is_incomplete:
            message = self.env._("SendGrid's answer could not be read. Please try again later.")
        else:
            message = self.env._(
                "SendGrid does not know this e-mail, or no longer: it keeps messages for some days only."
            )
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {"type": "info" if backfill.event_count else "warning", "message": message},
        }

    def action_run_again(self):
        """Run failed consequences again, but for accounts that have switched consequences off (`act_on_events`).

        :raise AccessError: if the user is no administrator
        """
        self.check_access("read")
        if not self.env.user.has_group("base.group_system"):
            raise AccessError(self.env._("Only administrators can run consequences again."))
        emails = self.sudo().filtered("failed_consequences").filtered("account_id.act_on_events")
        states, _stored = emails._fold_events({})
        self.env["sendgrid.consequence"].sudo()._run_again({email: states[email.id] for email in emails})

    def action_open_record(self):
        """Open the record that the e-mail is about."""
        self.ensure_one()
        return self.resource_ref.get_formview_action() if self.resource_ref else False
