import logging
import re
import smtplib
from collections import defaultdict
from datetime import timedelta

import psycopg2

from odoo import fields, models
from odoo.tools import SQL, exception_to_unicode
from odoo.tools.mail import email_normalize_all

from odoo.addons.base.models.ir_mail_server import MailDeliveryException

from ..tools.address_form import all_spellings, comparable
from ..tools.events.refusal import refusal_cause
from ..tools.sending.api_session import NothingHandedOver
from ..tools.sending.outbox import Outbox
from .sender import read_sender

_logger = logging.getLogger(__name__)

# After these nothing can be sent any more: the transaction is lost, or the process is about to end.
STOPS = (psycopg2.Error, MemoryError)

# When a mail goes again that could not be handed over because SendGrid could not be reached.
TRY_AGAIN_AFTER = timedelta(minutes=5)
# How long it may do so. Afterwards it fails, so that people learn of a blocked port or a bad certificate.
TRY_AGAIN_FOR = timedelta(days=1)
# The answer of an SMTP server that may take the mail at another time begins so.
TEMPORARY = re.compile(r"4\d\d\b")
# Core has given up these before they were tried, because somebody does not want them or gets another.
GIVEN_UP = ("mail_bl", "mail_optout", "mail_dup")
# Whose a record is, and so the documents about it.
OWNERS = {"company_id": "res.company", "team_id": "crm.team"}


class Connecting:
    """Which mails core is about to connect for, and to which server; both are empty once it is connected."""

    mails = server = None


class MailMail(models.Model):
    """A mail that leaves through a SendGrid account gets documents for its recipients.

    `_send` opens an outbox (`tools.sending.outbox.Outbox`), `ir.mail_server` notes in it the copies that SendGrid
    accepted, and `_postprocess_sent_message` records their documents.
    """

    _inherit = "mail.mail"

    sendgrid_email_ids = fields.One2many("sendgrid.email", "mail_id", string="Tracked E-mails", readonly=True)
    sendgrid_event_ids = fields.Many2many(
        "sendgrid.event", string="Tracking", compute="_compute_sendgrid_event_ids", groups="base.group_system"
    )
    sendgrid_is_named_by_message = fields.Boolean(
        string="Copies Named by the Message",
        readonly=True,
        help="Version 19.0.1.0.0 may have tried to send the mail. Its copies keep the names that this version gave "
        "them, so that they have one document if the mail is sent again.",
    )

    sendgrid_template_id = fields.Many2one(
        "mail.template",
        string="Made From",
        default=lambda self: self.env.context.get("sendgrid_template_id"),
        readonly=True,
        ondelete="set null",
        help="The template that the mail was made from, for its documents to keep.",
    )
    sendgrid_is_about_access = fields.Boolean(
        string="About Access to Odoo",
        default=lambda self: bool(self.env.context.get("sendgrid_is_about_access")),
        readonly=True,
        help="The mail is about somebody's login, such as a security alert: its opens and clicks are never measured.",
    )

    def _compute_sendgrid_event_ids(self):
        for mail in self:
            mail.sendgrid_event_ids = mail.sendgrid_email_ids.event_ids

    def send(self, auto_commit=False, raise_exception=False, post_send_callback=None):
        # An outbox in the context is that of another run.
        connecting = Connecting()
        self = self.with_context(sendgrid_outbox=None, sendgrid_connecting=connecting)
        try:
            return super().send(
                auto_commit=auto_commit, raise_exception=raise_exception, post_send_callback=post_send_callback
            )
        except MailDeliveryException as error:
            # Core could not connect, and tells nobody but the caller.
            if connecting.mails:
                reason = exception_to_unicode(error.args[-1])
                connecting.mails._record_no_connection(connecting.server, reason, raises=True)
            raise

    def _split_by_mail_configuration(self):
        connecting = self.env.context.get("sendgrid_connecting")
        for configuration in super()._split_by_mail_configuration():
            if connecting:
                connecting.mails = self.browse(configuration[-1])
                connecting.server = self.env["ir.mail_server"].browse(configuration[0] or ())
            yield configuration

    def _split_by_delayed_batch(self, mail_server):
        mails = super()._split_by_delayed_batch(mail_server)
        if connecting := self.env.context.get("sendgrid_connecting"):
            connecting.mails = mails  # core does not connect for those that it puts off
        return mails

    def _send(
        self,
        auto_commit=False,
        raise_exception=False,
        smtp_session=None,
        alias_domain_id=False,
        mail_server=False,
        **kwargs,
    ):
        if connecting := self.env.context.get("sendgrid_connecting"):
            connecting.mails = connecting.server = None
        account = mail_server.sudo().sendgrid_account_id if mail_server else self.env["sendgrid.account"]
        outbox = None
        if account:
            outbox = self._open_outbox(account, commits_each=auto_commit, raises=raise_exception)
        if outbox or self.env.context.get("sendgrid_outbox"):
            self = self.with_context(sendgrid_outbox=outbox)
        try:
            result = super()._send(
                auto_commit=auto_commit,
                raise_exception=raise_exception,
                smtp_session=smtp_session,
                alias_domain_id=alias_domain_id,
                mail_server=mail_server,
                **kwargs,
            )
        except NothingHandedOver as error:
            # SendGrid takes nothing at the moment. Core has marked the mail at hand as failed, and has not touched
            # the next ones. None of them has left, so that all can go later by themselves.
            self.browse(outbox.mail)._put_back(self.env["ir.mail_server"]._explain_sendgrid_failure(error))
            result = True
        except Exception as error:
            # If the connection is lost, core raises at once. The copies that were accepted before have left, so write
            # their documents.
            if outbox:
                Email = self.env["sendgrid.email"]
                copies = outbox.close()
                if isinstance(error, smtplib.SMTPServerDisconnected):
                    # Core says nowhere that the others of the mail did not leave.
                    failed = outbox.close_failed(self.browse(outbox.mail).message_id, has_stopped=True)
                    reason = self.env["ir.mail_server"]._explain_not_tried()
                    copies += [Email._with_reasons(copy, reason) for copy in failed]
                if copies:
                    Email._record_at_once(outbox, copies)
                if not isinstance(error, STOPS):
                    Email.sudo()._record_gathered(outbox)
            raise
        finally:
            # Pages hear of them after the next commit, which is that of whoever sends.
            for ids, rows in outbox.created if outbox else ():
                self.env["sendgrid.email"].with_context(sendgrid_outbox=None)._notify_created(ids, rows)
        if outbox:
            self.env["sendgrid.email"].sudo()._record_gathered(outbox)
        if outbox and outbox.tried:
            self.env["sendgrid.interaction"].sudo()._hear_of_sending(outbox.tried)
        return result

    def _open_outbox(self, account, **options):
        """Return the outbox for a run that sends the mails through a SendGrid account.

        What is looked up here is looked up for all mails at once, because core then prepares the mails one by one.

        :param options: those of `tools.sending.outbox.Outbox`
        """
        site = self.env["ir.http"]._get_sendgrid_site()
        outbox = Outbox(account.id, self.env["sendgrid.email"]._get_odoo_db(), site=site, **options)
        addresses = self._get_recipient_addresses()
        self._find_colleagues(outbox, addresses)
        self.env["sendgrid.notice"]._learn(outbox, addresses)
        outbox.company_id = account.company_id.id or self.env.company.id
        outbox.acts_on_events = account.act_on_events
        outbox.tracks_nothing = account._tracks_nothing()
        outbox.owners = self._find_owners()
        self._find_reasons(outbox, addresses, {mail._find_sendgrid_company_id(outbox) for mail in self})
        self._find_targets(outbox)
        outbox.known_documents = self.env["sendgrid.email"]._get_documents_of_mails(self.ids)
        return outbox

    def _find_sendgrid_company_id(self, outbox):
        """Return the id of the company whose the mail is, or the account's if another module's fault hides it.

        One such mail stops no other of the run. It is not measured, see `_prepare_outgoing_list`.
        """
        try:
            return self.env["sendgrid.email"]._get_company_id(self, outbox)
        except STOPS:
            raise
        except Exception:
            # Another module's method or field may raise anything here, and the other mails shall leave all the same.
            _logger.exception("SendGrid: whose mail %s is", self.id)
            return outbox.company_id

    def _put_back(self, reason):
        """Let a mail that surely has not left go again by itself, in some minutes.

        :param str reason: why it has not left, for people who look at the waiting mail
        """
        self.write({"state": "outgoing", "failure_type": False, "failure_reason": reason})
        notifications = self.env["mail.notification"].search(
            [
                ("notification_type", "=", "email"),
                ("mail_mail_id", "in", self.ids),
                ("notification_status", "=", "exception"),
            ]
        )
        notifications.sudo().write({"notification_status": "ready", "failure_type": False, "failure_reason": False})
        self.env.ref("mail.ir_cron_mail_scheduler_action").sudo()._trigger(fields.Datetime.now() + TRY_AGAIN_AFTER)

    def _prepare_outgoing_list(self, mail_server=False, doc_to_followers=None):
        email_list = super()._prepare_outgoing_list(mail_server=mail_server, doc_to_followers=doc_to_followers)
        if outbox := self.env.context.get("sendgrid_outbox"):
            addresses = {comparable(address) for email in email_list for address in email["email_to_normalized"]}
            self._find_colleagues(outbox, addresses)
            self._find_reasons(outbox, addresses, {self._find_sendgrid_company_id(outbox)})
            self.env["sendgrid.notice"]._learn(outbox, addresses)
            planned = [
                (
                    [comparable(address) for address in email["email_to_normalized"]],
                    email["partner_id"].id if email["partner_id"] else None,
                    email.get("email_to_raw") or "",
                    _read_addresses(*(email["email_cc"] or ())),
                )
                for email in email_list
            ]
            # Modules that write one mail with Cc and Bcc take a message out, and send another one to its recipient.
            there = {contact_id for _addresses, contact_id, *_others in planned}
            planned += self._plan_contacts(self.sudo().recipient_ids.filtered(lambda one: one.id not in there))
            try:
                self._open_in_outbox(outbox, planned)
            except STOPS:
                raise
            except Exception:
                # It leaves nevertheless. What is not known counts as about a login: it is neither measured nor kept.
                _logger.exception("SendGrid: mail %s leaves, and its documents lack what it is about", self.id)
                outbox.open(
                    comparable(read_sender(self.email_from or "")),
                    about={"company_id": outbox.company_id, "subject": self.subject or None},
                    mail_id=self._origin.id,
                    contacts=planned,
                    mail=self._origin.id,
                    opens_account=True,
                    unmeasured="access",
                )
        return email_list

    def _open_in_outbox(self, outbox, planned):
        """Begin the mail in an outbox.

        :param planned: list of the values of `tools.sending.outbox.Planned`
        """
        opens_account = self.env["sendgrid.email"]._opens_account(self)
        outbox.open(
            comparable(read_sender(self.email_from or "")),
            about=self.env["sendgrid.email"]._prepare_about(self, outbox),
            mail_id=None if self.sendgrid_is_named_by_message else self._origin.id,
            contacts=planned,
            mail=self._origin.id,
            mail_message_id=self.mail_message_id.id,
            mailing_id=(self.mailing_id.id or None) if "mailing_id" in self._fields else None,
            opens_account=opens_account,
            unmeasured=(
                "access"
                if opens_account or self.sendgrid_is_about_access
                else "mail"
                if self.mail_message_id.sendgrid_is_unmeasured
                else "account"
                if outbox.tracks_nothing
                else None
            ),
            can_wait=max(self.create_date, self.scheduled_date or self.create_date)
            > fields.Datetime.now() - TRY_AGAIN_FOR,
        )

    def _plan_copies(self):
        """Return what core's `_prepare_outgoing_list` would send, as far as a document needs it.

        That method does more than a mail needs that will not leave.

        :return: list of the values of `tools.sending.outbox.Planned`
        """
        to, cc = _read_addresses(self.email_to), _read_addresses(self.email_cc)
        planned = [([*to, *cc], None, self.email_to or "", cc)] if self.email_to or self.email_cc else []
        return planned + self._plan_contacts(self.recipient_ids)

    def _plan_contacts(self, contacts):
        return [(_read_addresses(contact.email), contact.id, contact.email or "") for contact in contacts]

    def _find_owners(self):
        """Return {(model, record id): (company id, sales team id)} for the records that the mails are about."""
        ids = defaultdict(set)
        for mail in self:
            if mail.model in self.env and mail.res_id:
                ids[mail.model].add(mail.res_id)
        owners = {}
        for model, res_ids in ids.items():
            records = self.env[model].sudo().with_context(active_test=False)
            names = [name for name, comodel in OWNERS.items() if self._is_stored_link(records, name, comodel)]
            try:
                found = records.search_fetch([("id", "in", list(res_ids))], names) if names else ()
            except STOPS:
                raise
            except Exception:
                # Another module's model may raise when it is searched. Its mails leave all the same, and their
                # documents have the account's company.
                _logger.exception("SendGrid: whose records of %s are", model)
                found = ()
            for record in found:
                owners[model, record.id] = tuple(name in names and record[name].id for name in OWNERS)
        return owners

    def _is_stored_link(self, records, name, comodel):
        field = records._fields.get(name)
        return bool(field and field.store and field.type == "many2one" and field.comodel_name == comodel)

    def _record_no_connection(self, server, reason, raises=False):
        """Record that the mails did not leave, because there was no connection to their mail server.

        :param server: the `ir.mail_server`; nothing is recorded if it is not SendGrid's
        :param str reason: why, if the mails do not say it
        :param bool raises: whoever sends gets an exception
        """
        if account := server.sudo().sendgrid_account_id:
            mails = self.filtered(lambda mail: mail.failure_type not in GIVEN_UP)
            outbox = mails._open_outbox(account, raises=raises)
            self.env["sendgrid.email"].sudo()._record_unconnected(mails, outbox, reason)

    def _get_recipient_addresses(self):
        """Return the set of comparable addresses that core will send the mails to. Other modules may add more later."""
        partners = self.sudo().recipient_ids
        partners.fetch(["email"])
        texts = [*self.mapped("email_to"), *self.mapped("email_cc"), *partners.mapped("email")]
        return set(_read_addresses(*texts))

    def _find_colleagues(self, outbox, addresses):
        """Tell the outbox which addresses are internal users', since mails to colleagues are not tracked.

        :param outbox: `tools.sending.outbox.Outbox`; addresses that it knows are not looked up again
        :param addresses: set of comparable addresses
        """
        if not (addresses := addresses - outbox.known):
            return
        if self.env.context.get("sendgrid_tracks_colleagues"):
            outbox.learn(addresses, set())
            return
        self.env["res.partner"].flush_model(["email_normalized"])
        self.env["res.users"].flush_model(["partner_id", "active", "share"])
        rows = self.env.execute_query(
            SQL(
                """SELECT partner.email_normalized
                     FROM res_partner partner
                     JOIN res_users users ON users.partner_id = partner.id AND users.active AND NOT users.share
                    WHERE partner.email_normalized = ANY(%s)""",
                all_spellings(addresses),
            )
        )
        outbox.learn(addresses, {comparable(address) for (address,) in rows})

    def _find_reasons(self, outbox, addresses, company_ids):
        """Tell the outbox whose opens and clicks are not measured.

        :param outbox: `tools.sending.outbox.Outbox`; what it knows is not looked up again
        :param addresses: set of comparable addresses
        :param company_ids: the companies whose mails go to them
        """
        known = [outbox.reasons.get(company_id, {}).keys() for company_id in company_ids]
        if new := {address for address in addresses if not all(address in one for one in known)}:
            outbox.learn_reasons(self.env["sendgrid.measuring"]._get_reasons_of_companies(new, company_ids))

    def _find_targets(self, outbox):
        """Tell the outbox where the short links of mailings lead, if a copy may have to leave without them."""
        if "mailing_id" not in self._fields:
            return
        is_lowered = outbox.tracks_nothing or any(any(known.values()) for known in outbox.reasons.values())
        mails = self.filtered(lambda mail: mail.mailing_id and (is_lowered or mail.sendgrid_is_unmeasured))
        if mails:
            self.env["sendgrid.mailing"]._find_targets(outbox, mails.mapped("body_html"))

    def _postprocess_sent_message(self, success_pids, success_emails, failure_reason=False, failure_type=None):
        # Record the documents before core deletes the mail, and in the transaction that marks it as sent.
        outbox = self.env.context.get("sendgrid_outbox")
        if outbox:
            success_pids, success_emails, failure_reason, failure_type = self._record_in_documents(
                outbox, success_pids, success_emails, failure_reason, failure_type
            )
        elif (connecting := self.env.context.get("sendgrid_connecting")) and connecting.mails:
            try:
                self._record_no_connection(connecting.server, failure_reason)
            except STOPS:
                raise
            except Exception:
                # The mails have failed all the same, and core says so of each.
                _logger.exception("SendGrid: documents of mails for which there was no connection")
            connecting.mails = None
        return super()._postprocess_sent_message(
            success_pids, success_emails, failure_reason=failure_reason, failure_type=failure_type
        )

    def _record_in_documents(self, outbox, success_pids, success_emails, failure_reason, failure_type):
        """Record what left and what did not.

        The parameters but the first are those of core's `_postprocess_sent_message`.

        :param outbox: `tools.sending.outbox.Outbox`
        :return: the same parameters, corrected by what the server said of each recipient
        """
        told = success_pids, success_emails, failure_reason, failure_type
        copies = ()
        try:
            if outbox.mail != self._origin.id:
                self._open_in_outbox(outbox, self._plan_copies())  # the mail failed before core had prepared it
            copies = outbox.close()
            return self._record_copies(outbox, copies, *told)
        except Exception as error:
            # What has left has its document, even if this transaction is lost.
            if copies:
                self.env["sendgrid.email"].sudo()._record_at_once(outbox, copies)
            if isinstance(error, STOPS):
                raise
            # It is sent: core would call it failed, and somebody would send it again.
            _logger.exception("SendGrid: documents of mail %s without their details", self.id)
            return told

    def _record_copies(self, outbox, copies, success_pids, success_emails, failure_reason, failure_type):
        """Record the copies that left, and what of the mail did not leave.

        :param copies: what `tools.sending.outbox.Outbox.close` returned; the others are those of `_record_in_documents`
        """
        failed = outbox.close_failed(self.message_id, has_stopped=bool(failure_type) or self.state == "exception")
        reason = failure_reason or self.failure_reason
        refused = {address: words for copy in (*copies, *failed) for address, words in copy.refused.items()}
        if refused:
            # Core does not know whom the server refused where it took the copy for others, or where another module has
            # hidden an error.
            reached = {
                copy.contacts.get(address) for copy in copies for address in set(copy.recipients) - {*copy.refused}
            }
            success_pids = [partner for partner in success_pids if partner.id in reached]
            success_emails = [text for text in success_emails if refused.keys().isdisjoint(_read_addresses(text))]
        if refused and not failure_type:
            words = [said or self.env["sendgrid.email"]._explain_unconfirmed() for said in refused.values()]
            is_address = all(refusal_cause(said, bounce_type="bounce") == "address" for said in words)
            failure_type = "mail_email_invalid" if is_address else "unknown"
            reason = failure_reason = "\n".join(dict.fromkeys(words))
            if self.state == "exception":
                self.write({"failure_type": failure_type, "failure_reason": failure_reason})
        elif failure_type == "mail_email_invalid" and self.state == "exception":
            # Core deletes a mail to invalid addresses. If these are none, the mail can be sent again.
            said = [words for words in refused.values() if words]
            causes = {refusal_cause(words, bounce_type="bounce") for words in said}
            if causes - {"address", "unknown"} or any(map(TEMPORARY.match, said)):
                failure_type = "unknown"
                self.write({"failure_type": failure_type})
        if copies or failed:
            Email = self.env["sendgrid.email"].sudo()
            copies, failed = Email._keep_contents(outbox, copies), Email._keep_contents(outbox, failed)
            is_kept = bool(failure_type) and failure_type not in ("mail_email_invalid", "mail_email_missing")
            Email._record(self, outbox, copies, failed, reason, is_kept)
        return success_pids, success_emails, failure_reason, failure_type


def _read_addresses(*texts):
    """Return the list of comparable addresses that stand in texts, such as those of To and Cc."""
    return [comparable(address) for text in texts for address in email_normalize_all(text)]
