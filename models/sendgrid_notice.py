import time

from markupsafe import Markup

from odoo import api, models
from odoo.tools import SQL, email_normalize_all
from odoo.tools.mail import append_content_to_html
from odoo.tools.urls import urljoin

from ..tools.address_form import all_spellings, comparable
from ..tools.sending import notice, notice_token


class SendgridNotice(models.AbstractModel):
    """The link in each mail to the page that tells how it is measured, and the footer that has it.

    `ir.mail_server` calls `_put_into` for each message that it builds, and `mail.mail` calls `_learn` before, so that
    nothing is looked up mail by mail. `sendgrid_notice_page.py` is the page behind the link.
    """

    _name = "sendgrid.notice"
    _description = "How E-mails Are Measured"

    # ------------------------------------------------------------
    # LINK
    # ------------------------------------------------------------

    @api.model
    def _get_link(self, token=""):
        """Return the address of the page, for the holder of a token or for everybody."""
        return self._get_address(notice.ADDRESS, token)

    @api.model
    def _get_address(self, path, token):
        base_url = self.env["ir.config_parameter"].sudo().get_param("web.base.url")
        return urljoin(base_url, f"{path}/{token}" if token else path)

    @api.model
    def _get_secret(self):
        # Odoo caches it. A changed secret empties the caches of all processes, and with it all links lose their effect.
        return self.env["ir.config_parameter"].sudo().get_param("database.secret")

    @api.model
    def _seal(self, kind, company_id, address="", odoo_id=""):
        """Return the token of a `tools.sending.notice_token.Holder`."""
        holder = notice_token.Holder(kind, company_id, int(time.time()), address, odoo_id)
        return notice_token.seal(holder, self._get_secret())

    @api.model
    def _read(self, token):
        """Return the `tools.sending.notice_token.Holder` of a token, or None. Costs no query, whatever the token is."""
        return notice_token.read(token, self._get_secret())

    # ------------------------------------------------------------
    # QUOTED
    # ------------------------------------------------------------

    @api.model
    def _withdraw(self, text, message=None, email_to=None):
        """Return a text in which links of mails that were sent before lead to the page for everybody.

        An answer quotes them, and its reader is somebody else. Links to the pages of other Odoos stay as they are, if
        their tokens are not ours.

        :param text: HTML or plain
        :param message: as for `_put_into` if the text is about to leave: the link with which its only recipient
            confirms his word stays
        :param email_to: see `_put_into`
        :return: of the same type as ``text``
        """

        def stays(host, confirms, token):
            holder = self._read(token)
            if holder and confirms and message is not None:
                return self._get_recipients(message, email_to) == [holder.address]
            return not holder and bool(host) and host.lower() not in self.env["ir.http"]._get_sendgrid_site().hosts

        return type(text)(notice.withdraw(text, stays))

    # ------------------------------------------------------------
    # SENDING
    # ------------------------------------------------------------

    @api.model
    def _learn(self, outbox, addresses):
        """Look up what the footers of mails need, for all their recipients at once.

        :param outbox: `tools.sending.outbox.Outbox`
        :param addresses: set of comparable addresses
        """
        if outbox.notice_companies is None:
            companies = (
                self.env["res.company"]
                .sudo()
                .search_fetch([("sendgrid_has_notice", "=", True)], ["sendgrid_has_notice"])
            )
            outbox.notice_companies = frozenset(companies.ids)
        addresses = addresses - outbox.languages.keys()
        if addresses and outbox.notice_companies:
            outbox.languages |= dict.fromkeys(addresses, None) | self._get_languages(addresses)

    @api.model
    def _get_languages(self, addresses):
        """Return {comparable address: code of its contact's language}, as far as contacts have one that is installed.

        :param addresses: iterable of comparable addresses
        """
        self.env["res.partner"].flush_model(["active", "email_normalized", "lang"])
        rows = self.env.execute_query(
            SQL(
                """SELECT email_normalized, lang FROM res_partner
                    WHERE email_normalized = ANY(%s) AND active AND lang IS NOT NULL
                 ORDER BY id DESC""",
                all_spellings(addresses),
            )
        )
        installed = self._get_installed()
        return {comparable(address): lang for address, lang in rows if lang in installed}

    @api.model
    def _get_installed(self):
        return [code for code, _name in self.env["res.lang"].get_installed()]

    @api.model
    def _put_into(self, body, message, email_to):
        """Put the recipients' own link in the place of each placeholder of a message, and the footer below it.

        In a mail that does not leave through SendGrid, and in one to colleagues, the link leads to the general page.

        :param body: the text, HTML or plain, as ``message["subtype"]`` says
        :param message: dict of the further arguments of core's `_build_email__`. Its ``body_alternative`` is changed
        :param email_to: the recipients, as core's `_build_email__` gets them
        :return: the text
        """
        if body:
            body = self._withdraw(body, message, email_to)
        if alternative := message.get("body_alternative"):
            alternative = message["body_alternative"] = self._withdraw(alternative, message, email_to)
        outbox = self.env.context.get("sendgrid_outbox")
        has_placeholder = any(map(notice.contains_placeholder, filter(None, (body, alternative))))
        recipients = self._get_recipients(message, email_to) if outbox else []
        outsiders = outbox.get_outsiders(recipients) if outbox else []
        needs_footer = bool(outsiders) and not has_placeholder and self._needs_footer(outbox, recipients)
        if not (has_placeholder or needs_footer):
            return body
        if needs_footer:
            html, text = self._get_footer(outbox, outsiders[0])
            if message.get("subtype") == "html":
                body = append_content_to_html(body or "", html, plaintext=False)
            else:
                body = f"{body or ''}\n\n{text}\n"
            if alternative:
                alternative = f"{alternative}\n\n{text}\n"
        token = self._get_token(outbox, recipients, message.get("message_id")) if outsiders else ""
        link, site = self._get_link(token), self.env["ir.http"]._get_sendgrid_site()
        if alternative:
            message["body_alternative"] = notice.fill(alternative, link, site)
        return notice.fill(body, link, site) if body else body

    @api.model
    def _get_recipients(self, message, email_to):
        """Return the list of the comparable addresses that a message goes to.

        What it shows may be others: core shows all recipients of a message in each copy, and knows better.
        """
        addresses = self.env.context.get("send_validated_to")
        if not addresses:
            texts = [email_to, message.get("email_cc"), message.get("email_bcc")]
            texts = [text for some in texts if some for text in ([some] if isinstance(some, str) else some)]
            addresses = [address for text in texts for address in email_normalize_all(text)]
        skipped = set(map(comparable, self.env.context.get("send_smtp_skip_to") or ()))
        return [address for address in dict.fromkeys(map(comparable, addresses)) if address not in skipped]

    @api.model
    def _get_token(self, outbox, recipients, message_id):
        """Return the token of a copy's recipients; ``""`` if nothing tells which copy it is."""
        company_id = outbox.about.get("company_id") or self.env.company.id
        if len(recipients) == 1:
            return self._seal(notice_token.LOOK, company_id, address=recipients[0])
        odoo_id = message_id and outbox.foresee(message_id, recipients)
        return self._seal(notice_token.LOOK, company_id, odoo_id=odoo_id) if odoo_id else ""

    @api.model
    def _needs_footer(self, outbox, recipients):
        """Tell whether the company says in a footer how it measures the copy, and measures it.

        :param recipients: the comparable addresses of the copy
        """
        has_notice = outbox.about.get("company_id") in (outbox.notice_companies or ())
        return has_notice and not outbox.get_unmeasured(recipients)

    @api.model
    def _get_footer(self, outbox, address):
        """Return the footer with its placeholder, as HTML and as plain text, in the language of a recipient."""
        key = company_id, lang = outbox.about["company_id"], outbox.languages.get(address)
        if key not in outbox.footers:
            lang = lang or self._choose_language((), self.env["res.company"].sudo().browse(company_id))
            words = self.with_context(lang=lang).env._("How this e-mail is measured")
            html = Markup(
                '<p style="margin:16px 0;text-align:center;font-size:12px;color:#595959"><a href="%s" '
                'style="color:#595959">%s</a></p>'
            )
            outbox.footers[key] = html % (notice.ADDRESS, words), f"{words}: {notice.ADDRESS}"
        return outbox.footers[key]
