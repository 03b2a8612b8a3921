import logging
import smtplib
from typing import NamedTuple

from odoo import api, fields, models
from odoo.exceptions import UserError, ValidationError
from odoo.tools import plaintext2html

from odoo.addons.base.models.ir_mail_server import IrMail_Server, MailDeliveryException, extract_rfc2822_addresses

from ..tools.address_form import comparable
from ..tools.api import hosts, scopes
from ..tools.api.client import ApiError
from ..tools.sending import addresses, attached, links, pixels, smtpapi
from ..tools.sending.api_session import ApiSession, NothingHandedOver
from ..tools.sending.errors import AllRefusedError, RecipientError
from ..tools.sending.v3_mail import V3MailError
from ..tools.sending.watched_session import WatchedSession, hide_bcc, is_before_data, read_answer
from .company_language import in_company_language
from .said import isolate
from .sender import read_sender

_logger = logging.getLogger(__name__)

# "Detect Max Limit" finds this limit for the Web API, in MB. It is a little below SendGrid's own limit, because core's
# estimate of a mail's size leaves something out.
API_MAX_EMAIL_SIZE = 29
HANGS_UP = 421  # SMTP's "service not available, closing transmission channel" (RFC 5321, 4.2.3)


class Found(NamedTuple):
    """Which server core finds for a sender. A context that comes from a browser has no such object."""

    email_from: str
    server_and_from: tuple


class NoValidRecipientError(AssertionError):
    """Every recipient of a copy was refused; the argument says why, in words.

    Core goes on with the other copies of a mail after an `AssertionError` that reads as its own. It shows the argument.
    """

    def __str__(self):
        return IrMail_Server.NO_VALID_RECIPIENT


class IrMailServer(models.Model):
    """A mail server may belong to a SendGrid account. It then sends by SMTP or the Web API, and its mails are tracked.

    `mail.mail` hands the context key ``sendgrid_outbox`` (`tools.sending.outbox.Outbox`) to the methods of SEND. Mails
    without it are not tracked.
    """

    _inherit = "ir.mail_server"

    sendgrid_account_id = fields.Many2one(
        "sendgrid.account",
        string="SendGrid Account",
        ondelete="restrict",
        index="btree_not_null",
        help="Set it if the server is SendGrid's. Mails that are sent through it are tracked.",
    )
    smtp_authentication = fields.Selection(
        selection_add=[("sendgrid_api", "SendGrid Web API")],
        ondelete={"sendgrid_api": "set default"},
    )

    sendgrid_connection = fields.Selection(
        [("created", "Made by connecting"), ("adopted", "Taken over by connecting")],
        readonly=True,
        copy=False,
        help="How connecting the account changed the server. Disconnecting undoes this. If it is empty, the account "
        "was chosen by hand.",
    )

    _sendgrid_created_uniq = models.UniqueIndex(
        "(sendgrid_account_id) WHERE sendgrid_connection = 'created'",
        "Connecting makes one mail server for an account.",
    )

    @api.onchange("smtp_host")
    def _onchange_smtp_host_sendgrid(self):
        if (self.smtp_host or "").strip().lower() in hosts.RELAY.values():
            self._suggest_sendgrid_account()

    @api.onchange("smtp_authentication")
    def _onchange_smtp_authentication_sendgrid(self):
        if self.smtp_authentication == "sendgrid_api":
            self._suggest_sendgrid_account()

    def _suggest_sendgrid_account(self):
        """Set the first account, because most databases have only one."""
        if not self.sendgrid_account_id:
            self.sendgrid_account_id = self.env["sendgrid.account"].search([], limit=1)

    @api.constrains("smtp_authentication", "sendgrid_account_id")
    def _check_sendgrid_account(self):
        for server in self._filter_sendgrid_api():
            if not server.sendgrid_account_id:
                raise ValidationError(
                    self.env._("Choose the SendGrid account whose API key “%s” is to send with.", server.name)
                )

    @api.depends("smtp_authentication")
    def _compute_smtp_authentication_info(self):
        servers = self._filter_sendgrid_api()
        servers.smtp_authentication_info = self.env._(
            "Send by HTTPS instead of SMTP, with the API key of the SendGrid account. \n"
            "The way for hosts where SMTP is blocked. The key needs the permission Mail Send. \n"
            "Prefer SMTP where it works: by the Web API each recipient of a message sees only himself in its To. Who "
            "then answers to all does not reach the others, unless they follow the record in Odoo."
        )
        return super(IrMailServer, self - servers)._compute_smtp_authentication_info()

    def _uses_sendgrid_relay(self):
        """Tell whether the server sends through SendGrid's relay, so that its password is an API key."""
        self.ensure_one()
        stand_in = self.env["ir.config_parameter"].sudo().get_param("sendgrid_tracking.smtp_host", "")
        host = (self.smtp_host or "").strip().lower()
        return (
            self.smtp_authentication == "login"
            and self.smtp_user == hosts.RELAY_USER
            and bool(host)
            and host in {*hosts.RELAY.values(), stand_in.rpartition(":")[0]}
        )

    def _filter_sendgrid_api(self):
        return self.filtered(lambda server: server.smtp_authentication == "sendgrid_api")

    # ------------------------------------------------------------
    # CONNECT
    # ------------------------------------------------------------

    def _connect__(self, host=None, *args, smtp_from=None, mail_server_id=None, allow_archived=False, **kwargs):  # noqa: PLW3201
        session = None
        if not self._disable_send():
            if not mail_server_id and not host:
                # Core looks for the server too: it gets what we found, because looking costs a query.
                found = Found(smtp_from, self.sudo()._find_mail_server(smtp_from))
                self = self.with_context(sendgrid_found_server=found)
            session = self._connect_sendgrid_api(host, smtp_from, mail_server_id, allow_archived)
        return session or super()._connect__(
            host,
            *args,
            smtp_from=smtp_from,
            mail_server_id=mail_server_id,
            allow_archived=allow_archived,
            **kwargs,
        )

    def _find_mail_server(self, email_from, mail_servers=None):
        found = self.env.context.get("sendgrid_found_server")
        if isinstance(found, Found) and mail_servers is None and email_from == found.email_from:
            return found.server_and_from
        return super()._find_mail_server(email_from, mail_servers)

    def _connect_sendgrid_api(self, host, smtp_from, mail_server_id, allow_archived):
        """Return an `ApiSession` if the server that core would choose sends by the Web API, else None.

        The parameters are those of core's `_connect__`.
        """
        server = None
        if mail_server_id:
            server = self.sudo().browse(mail_server_id)
        elif not host:
            server, smtp_from = self.sudo()._find_mail_server(smtp_from)
        if not server or server.smtp_authentication != "sendgrid_api":
            return None
        if mail_server_id:
            self._check_forced_mail_server(server, allow_archived, smtp_from)
        return ApiSession(server.sendgrid_account_id._get_client(), server.from_filter, smtp_from)

    def test_smtp_connection(self, autodetect_max_email_size=False):
        servers = self._filter_sendgrid_api()
        for server in servers:
            server._test_sendgrid_api()
        result = super(IrMailServer, self - servers).test_smtp_connection(autodetect_max_email_size)
        if servers and autodetect_max_email_size:
            servers.max_email_size = API_MAX_EMAIL_SIZE
            result["params"]["message"] = self.env._("Email maximum size updated: %s MB.", API_MAX_EMAIL_SIZE)
        return result

    def _test_sendgrid_api(self):
        """Check that the account's API key may send.

        :raise UserError: if it may not, or if SendGrid does not answer
        """
        account = self.sendgrid_account_id
        with account._telling_api_errors():
            allowed, _date = scopes.read(account._get_client())
        if scopes.MAIL_SEND not in allowed:
            raise UserError(
                self.env._(
                    "The API key of “%s” may not send. At SendGrid, give it the permission Mail Send, or use another.",
                    account.name,
                )
            )

    def _archive_after_sendgrid(self):
        """Archive a server of the Web API that cannot send by SMTP, when the addon goes.

        Not by `write`: core refuses to archive a server that a template names. Active, it would make all mails fail
        that core sends through the first server.
        """
        self.flush_recordset()
        self.env.cr.execute(
            """
            UPDATE ir_mail_server SET active = FALSE, smtp_authentication = 'login' WHERE id = ANY(%s)
            """,
            [self.ids],
        )
        self.invalidate_recordset()

    # ------------------------------------------------------------
    # SEND
    # ------------------------------------------------------------

    def _build_email__(self, email_from, email_to, subject, body, *args, **kwargs):  # noqa: PLW3201
        """Let nothing leave that counts another mail's looks, and keep secret links out of click tracking. Before that,
        the link to the page that tells how the mail is measured gets its place.

        This is the first method that sees all links: mass mailing adds its own in `mail.mail`, and there its override
        runs after those of addons that depend on `mail` alone.
        """
        if isinstance(email_to, list):
            # Python stumbles over a nameless address that begins with a dot: then nobody would get the mail.
            email_to = [f"<{address}>" if address.startswith(".") else address for address in email_to]
        outbox = self.env.context.get("sendgrid_outbox")
        if outbox:
            email_from, email_to, subject = map(addresses.on_one_line, (email_from, email_to, subject))
            for name in kwargs.keys() & {"email_cc", "reply_to"}:
                kwargs[name] = addresses.on_one_line(kwargs[name])
            if files := kwargs.get("attachments"):
                kwargs["attachments"] = [(attached.clean_name(name or ""), *file) for name, *file in files]
            if headers := kwargs.get("headers"):
                kwargs["headers"] = {name: addresses.on_one_line(value) for name, value in headers.items()}
        Notice = self.env["sendgrid.notice"]
        body = Notice._put_into(body, kwargs, email_to)
        if kwargs.get("attachments"):
            kwargs["attachments"] = [self._clean_attached_mail(*file) for file in kwargs["attachments"]]
        if not outbox:
            return super()._build_email__(email_from, email_to, subject, body, *args, **kwargs)
        site = self.env["ir.http"]._get_sendgrid_site()
        # Core counts what becomes of a mailing, unless the account's events do.
        own = outbox.mail if outbox.mailing_id and not outbox.acts_on_events else None
        alternative = kwargs.get("body_alternative")
        if outbox.mailing_id and outbox.get_unmeasured(Notice._get_recipients(kwargs, email_to)):
            # Nothing counts the looks and clicks of this copy, neither SendGrid nor core.
            own = None
            targets = self.env["sendgrid.mailing"]._find_targets(outbox, [body, alternative])
            body = body and pixels.replace_short_links(body, targets, site, is_html=kwargs.get("subtype") == "html")
            alternative = alternative and pixels.replace_short_links(alternative, targets, site, is_html=False)
        if alternative:
            alternative = pixels.remove_listed_pixels(alternative, own)
            kwargs["body_alternative"] = alternative if own else pixels.remove_recipient(alternative, site)
        if not body or kwargs.get("subtype") != "html":
            outbox.hold(plaintext2html(body or ""))
            return super()._build_email__(email_from, email_to, subject, body, *args, **kwargs)
        body = pixels.remove_pixels(body, own)
        body = body if own else pixels.remove_recipient(body, site)
        outbox.hold(body)
        body, has_secrets = links.protect(body, site)
        message = super()._build_email__(email_from, email_to, subject, body, *args, **kwargs)
        if has_secrets:
            self._set_smtpapi(message, smtpapi.no_plain_text_tracking())
        return message

    def _alter_message__(self, message, smtp_from, smtp_to_list):  # noqa: PLW3201
        """Write the sender on one line, as `_build_email__` has done with all that the message shows."""
        if self.env.context.get("sendgrid_outbox"):
            smtp_from = addresses.on_one_line(smtp_from)
        return super()._alter_message__(message, smtp_from, smtp_to_list)

    def _clean_attached_mail(self, name, content, mimetype=None):
        """Return an attachment. If it is a mail, nobody can decide for that mail's recipient by it, and looking at it
        counts for nobody.
        """
        if mimetype != attached.MIMETYPE or not content:
            return name, content, mimetype
        site = self.env["ir.http"]._get_sendgrid_site()

        def clean(text, is_html):
            text = self.env["sendgrid.notice"]._withdraw(text)
            text = pixels.remove_pixels(text) if is_html else pixels.remove_listed_pixels(text)
            return pixels.remove_recipient(text, site)

        try:
            content = attached.change_texts(content, clean)
        except Exception:
            # It comes from outside. Whatever is odd about it, the mail that it is attached to leaves.
            _logger.exception("SendGrid: attached mail %s leaves as it is", name)
        return name, content, mimetype

    def _prepare_email_message__(self, message, smtp_session):  # noqa: PLW3201
        """Leave out the recipients to whom SendGrid cannot deliver, and write the others as it understands them."""
        smtp_from, smtp_to_list, message = super()._prepare_email_message__(message, smtp_session)
        if self._leaves_by_sendgrid(smtp_session):
            # Who stands in To and in Cc gets one mail, as by the Web API.
            by_form = {comparable(to): addresses.to_ascii(to) for to in reversed(smtp_to_list)}
            smtp_to_list = list(by_form.values())[::-1]
            smtp_to_list = self._refuse_impossible(message, smtp_to_list)
            addresses.write_in_ascii(message)
            self._check_sender(message)
        return smtp_from, smtp_to_list, message

    def _prepare_smtp_to_list(self, message, smtp_session):
        """Let core find recipients whose domain is not ASCII: it compares their addresses in two spellings."""
        if self._leaves_by_sendgrid(smtp_session):
            context = self.env.context
            listed = {name: context.get(name) or [] for name in ("send_validated_to", "send_smtp_skip_to")}
            # Nearly no address has two spellings, and each other context would slow down the rest of the run.
            if any(address != comparable(address) for them in listed.values() for address in them):
                self = self.with_context(**{name: [*them, *map(comparable, them)] for name, them in listed.items()})
        return super()._prepare_smtp_to_list(message, smtp_session)

    def _leaves_by_sendgrid(self, smtp_session):
        return bool(self.env.context.get("sendgrid_outbox")) or isinstance(smtp_session, ApiSession)

    def _refuse_impossible(self, message, smtp_to_list):
        """Return the recipients to whom SendGrid can deliver. The others get no mail, and their documents say why.

        :raise NoValidRecipientError: if there is none
        """
        errors = addresses.find_impossible(smtp_to_list)
        # Core does not find some addresses in a header, and tells nobody: with a quote, or with no domain in Unicode.
        lost = [
            address
            for address in self.env.context.get("send_validated_to") or ()
            if ('"' in address or not address.isascii()) and not extract_rfc2822_addresses(address)
        ]
        errors |= {address: RecipientError("malformed_recipient", address=address) for address in lost}
        if not errors:
            return smtp_to_list
        refused = {address: self._explain_sendgrid_refusal(error) for address, error in errors.items()}
        outbox = self.env.context.get("sendgrid_outbox")
        if outbox:
            outbox.refuse({comparable(address): words for address, words in refused.items()})
        left = [address for address in smtp_to_list if address not in refused]
        if not left:
            if outbox:
                outbox.stamp(message["Message-Id"], ())
                outbox.fail()
            raise NoValidRecipientError(" ".join(refused.values()))
        return left

    def _check_sender(self, message):
        """Refuse a sender whom SendGrid does not take, with the same words whatever the way."""
        sender = addresses.to_ascii(read_sender(str(message["From"] or ""), strict=False))
        if error := sender and addresses.find_impossible([sender]).get(sender):
            if error.reason.code == "recipient_not_ascii":
                error = V3MailError("sender_not_ascii", address=sender)
            raise self._get_delivery_failure(self._explain_sendgrid_refusal(error)) from error

    def send_email(self, message, *args, **kwargs):
        outbox = self.env.context.get("sendgrid_outbox")
        if outbox and (session := kwargs.get("smtp_session")):
            kwargs["smtp_session"] = WatchedSession(session, self._send_sendgrid_copy)
        try:
            try:
                result = super().send_email(message, *args, **kwargs)
            except Exception:
                if outbox:
                    outbox.interrupt()
                raise
        except MailDeliveryException as error:
            # Core's message speaks of an SMTP server and of the exception's class, so replace it.
            if self._costs_only_its_copy(error.__context__):
                raise NoValidRecipientError(self._explain_all_refused(error.__context__)) from error
            if reason := self._explain_sendgrid_api_failure(error.__context__):
                raise self._get_delivery_failure(reason) from error
            if isinstance(error.__context__, MailDeliveryException):
                raise error.__context__ from None  # it is ours, see `_set_smtpapi`
            raise
        except smtplib.SMTPServerDisconnected as error:
            # The mail can go again by itself, but not if a part of it has left, or if nobody asks core to try again.
            can_go_later = outbox and outbox.can_go_later
            if not isinstance(error, NothingHandedOver):
                if can_go_later and is_before_data(error):
                    raise NothingHandedOver(error) from error
                raise
            if can_go_later:
                raise
            reason = self._explain_sendgrid_api_failure(error.error)
            raise self._get_delivery_failure(reason) from error
        if outbox:
            outbox.confirm(result)
        return result

    @in_company_language
    def _get_delivery_failure(self, reason):
        return MailDeliveryException(self.env._("Mail Delivery Failed"), reason)

    def _costs_only_its_copy(self, error):
        """Tell whether the other copies of the mail can go, although all recipients of this copy were refused.

        :param error: the exception that the session raised
        """
        if isinstance(error, AllRefusedError):
            return True
        outbox = self.env.context.get("sendgrid_outbox")
        if not outbox or not isinstance(error, smtplib.SMTPRecipientsRefused):
            return False
        # After this answer the server hangs up. And who wants an exception gets one if the mail reaches nobody.
        hangs_up = any(code == HANGS_UP for code, _words in error.recipients.values())
        return not hangs_up and not (outbox.raises and outbox.is_over)

    def _send_sendgrid_copy(self, session, msg, from_addr, to_addrs, **options):
        """Hand a copy over, with its name for SendGrid, and note in the outbox what became of it.

        The name depends on the final recipients, so this comes last of all. The parameters and what is returned are
        those of `smtplib.SMTP.send_message`.
        """
        outbox = self.env.context["sendgrid_outbox"]
        hide_bcc(msg)
        del msg["Return-Path"]  # the server that delivers a mail writes it (RFC 5321, 4.4), by the Web API as well
        addresses.write_in_lines(msg)
        # Another module may have changed them.
        to_addrs = [addresses.to_ascii(address) for address in to_addrs]
        recipients = [comparable(address) for address in to_addrs]
        self.env["mail.mail"]._find_reasons(outbox, set(recipients), {outbox.about.get("company_id")})
        copy = outbox.stamp(
            msg["Message-Id"],
            recipients,
            sender=read_sender(str(msg["From"] or ""), strict=False),
            roles=self._get_sendgrid_roles(msg),
        )
        try:
            # A copy without tracked recipients has no document, so it needs no name. The name of the database alone
            # tells that its events are ours.
            settings = smtpapi.unique_args(outbox.odoo_db, copy.tracked and copy.odoo_id)
            self._set_smtpapi(msg, settings | smtpapi.no_tracking() if copy.unmeasured else settings)
            refused = session.send_message(msg, from_addr, to_addrs, **options)
        except Exception as error:
            outbox.fail(self._explain_sendgrid_failure(error))
            raise
        refused = refused if isinstance(refused, dict) else {}
        if refused:
            outbox.refuse({comparable(address): read_answer(answer) for address, answer in refused.items()})
        outbox.take(getattr(session, "sg_message_id", None))
        return refused

    def _get_sendgrid_roles(self, message):
        """Return {comparable address: ``to`` or ``cc``} for whom the headers of a message show."""
        if not message["Cc"]:
            # Reading the header exactly would take longer, and makes no difference.
            return dict.fromkeys(map(comparable, extract_rfc2822_addresses(message["To"])), "to")
        return {address: role for role in ("cc", "to") for address in addresses.get_names(message, role)}

    @in_company_language
    def _explain_sendgrid_failure(self, error):
        """Return in words why a copy was not taken, for all its addresses or as {address: words}; None if unknown.

        :param error: the exception that the session raised
        """
        if isinstance(error, smtplib.SMTPRecipientsRefused):
            return {comparable(address): read_answer(answer) for address, answer in error.recipients.items()}
        if isinstance(error, smtplib.SMTPResponseException):
            return read_answer((error.smtp_code, error.smtp_error))
        if isinstance(error, MailDeliveryException):
            return "\n".join(map(str, error.args))
        if isinstance(error, NothingHandedOver):
            error = error.error
        if isinstance(error, smtplib.SMTPServerDisconnected):
            if is_before_data(error):
                return self.env._("The mail server hung up before it had the message.")
            return self.env._(
                "The mail server hung up. It may have taken the message: if so, its events arrive within minutes. It "
                "is not sent again by itself."
            )
        return self._explain_sendgrid_api_failure(error)

    @in_company_language
    def _explain_not_tried(self):
        return self.env._("It was not tried, because another copy of the message failed.")

    @in_company_language
    def _explain_sendgrid_api_failure(self, error):
        """Return in words why the Web API did not take a message, or None if it was not the Web API.

        :param error: the exception that `ApiSession` raised
        """
        if isinstance(error, V3MailError):
            return self.env._(
                "SendGrid's Web API would not take this message. %s", self._explain_sendgrid_refusal(error)
            )
        if not isinstance(error, ApiError):
            return None
        if error.kind == "timeout":
            return self.env._(
                "SendGrid did not answer in time. It may have taken the message: if so, its events arrive within "
                "minutes. It is not sent again by itself."
            )
        return self.env["sendgrid.account"]._explain_api_error(error)

    @in_company_language
    def _explain_all_refused(self, error):
        """Return in words which addresses were refused.

        :param error: `smtplib.SMTPRecipientsRefused`; the Web API's is `AllRefusedError`
        """
        return " ".join(
            self.env._(
                "SendGrid refused the address %(address)s: “%(words)s”", address=to, words=isolate(read_answer(said))
            )
            for to, said in error.recipients.items()
        )

    @in_company_language
    def _get_drop(self, error):
        title = (
            self.env._("Mail Delivery Failed")
            if error.reason.code == "names_recipients"
            else self.env._("SendGrid would drop this message")
        )
        return MailDeliveryException(title, self._explain_sendgrid_refusal(error))

    def _set_smtpapi(self, message, settings):
        """Add settings to a message's `X-SMTPAPI` header, which may have settings of other modules.

        :param message: `email.message.EmailMessage`
        :param settings: dict, see `tools.sending.smtpapi`
        :raise MailDeliveryException: if the header that is there cannot be understood, or names recipients
        """
        try:
            header = smtpapi.merge(message.get_all(smtpapi.HEADER, []), settings)
        except smtpapi.SmtpapiError as error:
            # SendGrid would accept the message, and then drop it or send it to others. Fail now, so that the sender
            # sees the reason.
            raise self._get_drop(error) from error
        del message[smtpapi.HEADER]
        message[smtpapi.HEADER] = header
