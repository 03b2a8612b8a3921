import secrets
from datetime import timedelta

import psycopg2
from markupsafe import Markup

from odoo import api, fields, models
from odoo.exceptions import ConcurrencyError
from odoo.tools import format_date, html2plaintext

from ..tools.sending import notice, notice_token
from ..tools.times import to_datetime
from .said import isolate

# How long the link works that confirms a word.
CONFIRM_WITHIN = timedelta(days=7)
# Whoever presses the button again gets no second mail within this time: others hold the link as well.
ASK_AGAIN_AFTER = timedelta(minutes=15)
CONFIRM_PREFIX = notice.CONFIRMATION.removeprefix(f"{notice.ADDRESS}/") + "/"


class SendgridNotice(models.AbstractModel):
    """The page that tells how an e-mail is measured, where its recipient declines or agrees without a login.

    The controller calls `_get_general_page`, `_look` and `_decide`. What a token does not prove costs no query.
    """

    _inherit = "sendgrid.notice"

    # ------------------------------------------------------------
    # ANSWERS
    # ------------------------------------------------------------

    @api.model
    def _get_general_page(self, languages):
        """Return the page for everybody: HTML, and the nonce of its style.

        :param languages: codes of languages that the browser asks for, the best one first
        """
        lang = self._choose_language(languages, self.env.company)
        return self._render("sendgrid_tracking.notice_general_page", lang)

    @api.model
    def _look(self, token, languages):
        """Return the page of a token: HTML, the nonce of its style, and the HTTP status. Nothing is changed.

        :param token: what stands in the address behind that of the general page
        :param languages: see `_get_general_page`
        """
        holder = self._read_path(token)
        return self._show(holder, languages) if holder else self._refuse(languages)

    @api.model
    def _decide(self, token, word, languages):
        """Do what the holder of a token has decided, and return the page as `_look` does.

        :param word: "declined" or "agreed"; with any other nothing is done
        """
        holder = self._read_path(token)
        if not holder:
            return self._refuse(languages)
        done = None
        if word == "declined":
            done = self._decline(holder, languages)
        elif word == "agreed" and holder.address:
            done = self._agree(holder, languages)
        return self._show(holder, languages, done)

    @api.model
    def _read_path(self, path):
        """Return the holder of the token in an address, or None if it is none or stands at the wrong place."""
        is_confirmation = path.startswith(CONFIRM_PREFIX)
        holder = self._read(path.removeprefix(CONFIRM_PREFIX) if is_confirmation else path)
        return holder if holder and is_confirmation == (holder.kind == notice_token.CONFIRM) else None

    @api.model
    def _refuse(self, languages):
        """Return the answer to every token that is none: it does not tell why."""
        return *self._render("sendgrid_tracking.notice_bad_page", self._choose_language(languages)), 404

    @api.model
    def _show(self, holder, languages, done=None):
        """Return the page of a holder.

        :param done: what was just done: "declined", "agreed", "asked" or "unknown"; None for nothing
        """
        company, lang = self._get_company(holder), self._get_language(holder, languages)
        address = self._find_address(holder)
        word = self._get_word(holder, address)
        path = None
        is_question = holder.kind == notice_token.CONFIRM and not done and word != "agreed"
        if is_question and (outdated := self._get_outdated(holder, address)):
            is_question, done = False, outdated
            # The link in the mail does nothing any more, so that the buttons need another.
            path = f"{notice.ADDRESS}/{self._seal(notice_token.LOOK, company.id, address=holder.address)}"
        since = address.email_tracking_date and format_date(
            self.env, address.email_tracking_date, lang_code=lang, date_format="long"
        )
        values = {
            "address": holder.address,
            "asked": holder.address and self.with_context(lang=lang)._say_asked(holder.address),
            "choice": holder.address
            and self.with_context(lang=lang)._say_choice(
                company, holder.address, "asked" if is_question else word, since
            ),
            "done": done,
            "form_path": path,
            "is_question": is_question,
            "sender": self.with_context(lang=lang)._say_sender(company),
            "word": word,
            "wording": self._get_wording(company, lang),
        }
        return *self._render("sendgrid_tracking.notice_page", lang, **values), 200

    # ------------------------------------------------------------
    # WHAT IS KNOWN
    # ------------------------------------------------------------

    @api.model
    def _get_company(self, holder):
        return self.env["res.company"].browse(holder.company_id).exists() or self.env.company

    @api.model
    def _find_address(self, holder):
        Address = self.env["sendgrid.address"]
        return Address.search([("email", "=", holder.address)]) if holder.address else Address

    @api.model
    def _find_emails(self, holder):
        """Return the documents of a copy with several recipients."""
        Email = self.env["sendgrid.email"]
        return Email.search([("odoo_id", "=", holder.odoo_id)]) if holder.odoo_id else Email

    @api.model
    def _get_word(self, holder, address):
        """Return the present word: "agreed" or "declined", or False if nobody has said any.

        Of several recipients nobody learns who has declined, but only that their copy is not measured.
        """
        if holder.address:
            return address.email_tracking
        emails = self._find_emails(holder)
        return "declined" if emails and set(emails.mapped("measured")) == {"none"} else False

    @api.model
    def _get_outdated(self, holder, address):
        """Return why the link that confirms a word does nothing any more: "expired" or "changed"; None if it does."""
        moment = to_datetime(holder.time)
        if moment < fields.Datetime.now() - CONFIRM_WITHIN:
            return "expired"
        if address.email_tracking == "declined" and address.email_tracking_date > moment:
            return "changed"
        return None

    @api.model
    def _get_wording(self, company, lang):
        """Return what the page tells everybody about measuring, as HTML. It is kept with what somebody decided."""
        return self.env["ir.qweb"]._render(
            "sendgrid_tracking.notice_wording",
            {"details": self.with_context(lang=lang)._say_details(company)},
            lang=lang,
            minimal_qcontext=True,
        )

    # ------------------------------------------------------------
    # WHOLE SENTENCES
    # ------------------------------------------------------------
    # What has a name in it is put into words here, in the language of the context: a translator needs the whole
    # sentence, and a template would cut it.

    @api.model
    def _say_sender(self, company):
        """Return who has sent the e-mail, as HTML with a link if there is an address to write to."""
        if not company.email:
            return self.env._("Sent by %(company)s", company=company.name)
        return self.env._(
            "Sent by %(company)s (%(email)s)",
            company=company.name,
            email=Markup('<a href="mailto:%(email)s" dir="auto">%(email)s</a>') % {"email": company.email},
        )

    @api.model
    def _say_choice(self, company, address, state, since):
        """Return what is asked, or what holds for an address, as HTML.

        :param state: "asked", the present word, or False if nobody has said any
        :param since: the date of the word, as text
        """
        words = {"address": self._emphasize(address), "company": company.name, "date": since}
        sentences = {
            "asked": self.env._("Do you agree that %(company)s measures its e-mails to %(address)s?", **words),
            "declined": self.env._("E-mails to %(address)s are not measured: you declined on %(date)s.", **words),
            "agreed": self.env._("E-mails to %(address)s may be measured: you agreed on %(date)s.", **words),
            False: self.env._(
                "You have not said yet whether e-mails to %(address)s may be measured. Until you do, %(company)s "
                "decides.",
                **words,
            ),
        }
        return sentences[state]

    @api.model
    def _say_asked(self, address):
        return self.env._(
            "One step is left: we have sent an e-mail to %(address)s. Please follow the link in it to confirm that you "
            "agree. Until then, nothing changes.",
            address=self._emphasize(address),
        )

    @api.model
    def _say_details(self, company):
        """Return what the company sees of each open and click, and how long it keeps this."""
        if not company.sendgrid_keeps_details:
            return self.env._(
                "%(company)s sees the time of each of these. The program and its IP address are not kept.",
                company=company.name,
            )
        if not company.sendgrid_detail_months:
            return self.env._(
                "%(company)s sees the time of each of these, the program and its IP address.", company=company.name
            )
        return self.env._(
            "%(company)s sees the time of each of these, the program and its IP address. The program and the IP "
            "address are forgotten after some time (in months: %(months)s).",
            company=company.name,
            months=company.sendgrid_detail_months,
        )

    @api.model
    def _emphasize(self, text):
        # On a page that is read from right to left, an address stands as it is written.
        return Markup('<b dir="auto">%s</b>') % text

    # ------------------------------------------------------------
    # WHAT IS DONE
    # ------------------------------------------------------------

    @api.model
    def _decline(self, holder, languages):
        """Stop measuring the address, or a copy with several recipients, at once. Return what was done.

        :return: "declined", or "unknown" if nothing was done: the copy may have left a moment ago, so that its
            documents are not committed yet, or these were deleted
        """
        if holder.address:
            self._set_word(holder, "declined", languages)
            return "declined"
        emails = self._find_emails(holder)
        if measured := emails.filtered(lambda email: email.measured != "none"):
            self.env["sendgrid.reduction"]._begin("others", email_ids=measured.ids)
        return "declined" if emails else "unknown"

    @api.model
    def _agree(self, holder, languages):
        """Note that the owner of the address agrees if the token proves that it is he, else ask him by a mail.

        :return: "agreed", "asked", or None if nothing was done
        """
        [address] = self.env["sendgrid.address"]._hold([holder.address])
        if address.email_tracking == "agreed":
            return "agreed"
        if holder.kind == notice_token.LOOK:
            self._ask(holder, address, languages)
            return "asked"
        if self._get_outdated(holder, address):
            return None
        self._set_word(holder, "agreed", languages)
        return "agreed"

    @api.model
    def _set_word(self, holder, word, languages):
        if self._find_address(holder).email_tracking == word:
            return  # the first word, its time and its wording hold
        company, lang = self._get_company(holder), self._get_language(holder, languages)
        # What colleagues read about it is not in the recipient's language.
        Address = self.env["sendgrid.address"].with_company(company).with_context(lang=self.env.user.lang)
        Address.set_email_tracking(
            [holder.address],
            word,
            "page",
            form=notice.ADDRESS,
            wording=self._keep_wording(company, lang),
        )

    @api.model
    def _keep_wording(self, company, lang):
        """Return the `sendgrid.wording` record of what the page tells. Another text is a new version.

        :raise ConcurrencyError: if somebody else is just storing the first one; Odoo then does all again
        """
        values = {"name": f"{notice.ADDRESS} ({lang})", "text": html2plaintext(self._get_wording(company, lang))}
        Wording = self.env["sendgrid.wording"]
        if known := Wording.search([(name, "=", value) for name, value in values.items()], limit=1):
            return known
        try:
            with self.env.cr.savepoint():
                return Wording.create(values)
        except psycopg2.errors.UniqueViolation as error:
            raise ConcurrencyError(str(error)) from error

    @api.model
    def _ask(self, holder, address, languages):
        """Send a mail to the address with a link by which its owner confirms that he agrees, if none was sent just now.

        :param address: the `sendgrid.address` record, which is locked
        """
        now = fields.Datetime.now()
        if address.confirmation_date and address.confirmation_date > now - ASK_AGAIN_AFTER:
            return
        address.confirmation_date = now
        company, lang = self._get_company(holder), self._get_language(holder, languages)
        token = self._seal(notice_token.CONFIRM, company.id, address=holder.address)
        notice_in_lang = self.with_context(lang=lang)
        until = format_date(self.env, now + CONFIRM_WITHIN, lang_code=lang, date_format="long")
        values = {
            "claim": notice_in_lang.env._(
                "Somebody has said that %(company)s may measure its e-mails to %(address)s: whether they are opened, "
                "and which of their links are followed.",
                company=company.name,
                address=isolate(holder.address),
            ),
            "end": notice_in_lang.env._(
                "The link works until %(date)s. If it was not you, there is nothing to do: nothing changes. This "
                "e-mail itself is not measured.",
                date=until,
            ),
            **self._get_html_language(lang),
            "link": self._get_address(notice.CONFIRMATION, token),
        }
        self.env["mail.mail"].create(
            {
                "subject": notice_in_lang.env._("Please confirm that %s may measure its e-mails to you", company.name),
                "body_html": self.env["ir.qweb"]._render(
                    "sendgrid_tracking.notice_confirmation_mail", values, lang=lang, minimal_qcontext=True
                ),
                "email_from": company.email_formatted or self.env.user.email_formatted,
                "email_to": holder.address,
                # It asks whether measuring is wanted.
                "sendgrid_is_unmeasured": True,
                "auto_delete": True,
            }
        )
        # Sent by the queue: what has left cannot be taken back if this transaction has to be tried again.
        self.env.ref("mail.ir_cron_mail_scheduler_action")._trigger()

    # ------------------------------------------------------------
    # LANGUAGE AND LOOKS
    # ------------------------------------------------------------

    @api.model
    def _get_language(self, holder, languages):
        """Return the code of the language of the recipient's contact, else as `_choose_language` does."""
        known = self._get_languages([holder.address]).get(holder.address) if holder.address else None
        return known or self._choose_language(languages, self._get_company(holder))

    @api.model
    def _choose_language(self, languages, company=None):
        """Return the code of the installed language that a browser asks for, else the company's, else any.

        Without a company it costs no query.
        """
        installed = self._get_installed()
        codes = {code.lower(): code for code in installed}
        for language in languages:
            wanted = language.replace("-", "_").lower()
            if wanted in codes:
                return codes[wanted]
            name = wanted.partition("_")[0]
            if found := [code for code in installed if code.lower().partition("_")[0] == name]:
                return found[0]
        if company and company.partner_id.lang in installed:
            return company.partner_id.lang
        return "en_US" if "en_US" in installed else installed[0]

    @api.model
    def _get_html_language(self, lang):
        """Return what HTML says of a language: its name (BCP 47, such as fr-FR), and the direction of its texts."""
        return {
            "lang": lang.partition("@")[0].replace("_", "-"),
            "direction": self.env["res.lang"]._get_data(code=lang).direction,
        }

    @api.model
    def _render(self, template, lang, **values):
        """Return a page in a language, and the nonce without which a browser applies no style to it."""
        nonce = secrets.token_urlsafe(16)
        values |= {**self._get_html_language(lang), "nonce": nonce}
        page = self.env["ir.qweb"]._render(template, values, lang=lang, minimal_qcontext=True)
        return Markup("<!DOCTYPE html>\n") + page, nonce
