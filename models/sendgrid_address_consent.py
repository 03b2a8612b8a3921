from markupsafe import Markup

from odoo import api, fields, models
from odoo.exceptions import AccessError, ValidationError
from odoo.tools import email_normalize

from ..tools.address_form import comparable
from ..tools.sending.addresses import find_impossible
from . import bulk
from .company_language import in_company_language
from .durations import describe_time
from .lists import join_words
from .mail_thread_blacklist_consent import WORD_FACES

SOURCES = [
    ("hand", "By hand"),
    ("import", "By an import"),
    ("page", "On the page that tells how e-mails are measured"),
    ("form", "On a form"),
]
# Somebody of ours says it for the owner of the address. All other words are the owner's own.
SAID_BY_USERS = ("hand", "import")
# So many malformed addresses are named.
NAMED = 5


class SendgridAddress(models.Model):
    """The word of an address' owner on being measured: whether opens and clicks may be kept.

    It belongs to the address, so that guests, leads and mailing contacts have one too. A new address has none. The last
    word counts; `sendgrid.consent` keeps all of them as proof. Whoever has heard a word calls `set_email_tracking`.
    """

    _inherit = "sendgrid.address"

    email_tracking = fields.Selection(
        [("agreed", "Agreed"), ("declined", "Declined")],
        string="E-mail Tracking",
        readonly=True,
        help="Whether the owner of the address agreed that opens and clicks are measured. Empty: not asked, so that "
        "the company's setting decides.",
    )
    email_tracking_date = fields.Datetime(string="Said On", readonly=True, help="When the owner last said so.")
    email_tracking_source = fields.Selection(
        SOURCES, string="Said How", readonly=True, help="How Odoo learned of the word."
    )
    email_tracking_uid = fields.Many2one(
        "res.users",
        string="Noted By",
        readonly=True,
        ondelete="set null",
        help="Who noted it by hand or by an import. Empty: the owner said it.",
    )
    email_tracking_form = fields.Char(
        string="Said Where", readonly=True, help="The name of the form or page, or the occasion on which it was said."
    )
    email_tracking_wording_id = fields.Many2one(
        "sendgrid.wording", string="Wording", readonly=True, ondelete="restrict", help="The text that was shown."
    )
    consent_ids = fields.One2many("sendgrid.consent", "address_id", string="History of Words", readonly=True)
    unmeasured_until = fields.Datetime(
        string="Not Measured Until",
        readonly=True,
        help="Opens and clicks up to this moment are not kept, whenever they are reported: the tracking was forgotten "
        "then, or the owner declined until then.",
    )

    # Contacts, leads and mailing contacts are searched by the word.
    _email_tracking_idx = models.Index("(email_tracking, email) WHERE email_tracking IS NOT NULL")

    # ------------------------------------------------------------
    # THE WORD
    # ------------------------------------------------------------

    @api.model
    def set_email_tracking(self, emails, word, source, form=None, wording=None):
        """Note what the owners of some addresses say about being measured. Websites and mailing-list forms call it.

        A word counts at once. Whoever declines is no longer measured, not even in mails that were sent already. Whoever
        agrees after having declined is measured in the mails that leave from now on. A word that is repeated changes
        only when and where it was said.

        Do not call it for each of many addresses: the number of queries does not depend on how many there are, but for
        the lines in the chatters, which core inserts in lots of 100, and for what declining takes back, which is worked
        off in lots too.

        Only administrators may call it as themselves. The code of a form checks that the address is its visitor's, for
        example by a link in a mail to it, and then calls it on ``env["sendgrid.address"].sudo()``.

        :param emails: list of addresses, each with or without a name
        :param word: ``"agreed"``, ``"declined"``, or False to forget what was said by mistake
        :param source: how it was said: ``"hand"`` and ``"import"`` if the present user says it for the owner,
            ``"page"`` if the owner said it on the addon's own page, ``"form"`` on any other form or page
        :param form: the name of the form or page, or the occasion, for people to read
        :param wording: the text that was shown, a `sendgrid.wording` record or its id
        :return: the `sendgrid.address` records of those addresses of which a word is known, in no certain order
        :raise AccessError: if the user may not
        :raise ValidationError: if something is no address; then nothing is noted
        :raise ValueError: if word, source, form or wording are none of these
        """
        self._check_may_set()
        if word not in ("agreed", "declined", False, None):
            raise ValueError(f"Not a word about measuring: {word!r}")
        if source not in dict(SOURCES):
            raise ValueError(f"Not a way in which a word is said: {source!r}")
        wording_id = getattr(wording, "id", wording)
        # A number only: of whatever else comes by a call, `exists` would make an error of the database.
        shown = self.env["sendgrid.wording"].sudo().browse(wording_id if type(wording_id) is int else ()).exists()
        if wording and not shown:
            raise ValueError(f"Not a wording: {wording!r}")
        if form and not (isinstance(form, str) and "\0" not in form):
            raise ValueError(f"Not a name of a form: {form!r}")
        return self.sudo()._set_word(self._normalize(emails), word, source, form, shown)

    @api.model
    def _set_word(self, emails, word, source, form=None, wording=None):
        """Do what `set_email_tracking` does, for addresses in their comparable form. Call it as superuser."""
        if not word:
            # Do not keep a record of an address of which nothing is known.
            emails = self.search([("email", "in", list(emails)), ("email_tracking", "!=", False)]).mapped("email")
        addresses = self._hold(emails)
        if not addresses:
            return addresses
        addresses.fetch(["email", "email_tracking"])
        changed = addresses.filtered(lambda address: address.email_tracking != (word or False))
        were_declined = changed.filtered(lambda address: address.email_tracking == "declined")
        said = {
            # Not the time of the transaction's begin: until the addresses were locked, somebody may have said a word.
            "date": fields.Datetime.now(),
            "source": source,
            "uid": self.env.uid if source in SAID_BY_USERS else None,
            "form": form or None,
            "wording_id": (wording and wording.id) or None,
        }
        addresses._write_word(word, said, were_declined)
        self.env["sendgrid.consent"]._keep(addresses, word, said)
        self._forget_word_faces()
        changed._tell_word()
        if word == "declined" and changed:
            self.env["sendgrid.reduction"]._begin("wish", addresses=changed.mapped("email"))
        return addresses

    def action_set_email_tracking(self):
        """Open the dialog that asks what the owners of the addresses said about being measured.

        :raise AccessError: as `set_email_tracking` does
        """
        self._check_may_set()
        return self.env["sendgrid.consent.ask"]._get_action(self)

    @api.model
    def _check_may_set(self):
        if not (self.env.su or self.env.user.has_group("base.group_system")):
            raise AccessError(self.env._("Only administrators can set the word of any address."))

    def _get_addresses(self):
        """Return {address: list of its own name}, as records with addresses do."""
        return {address: [address.email] for address in self}

    def _get_emails(self):
        return set(self.mapped("email"))

    @api.model
    def _normalize(self, emails):
        """Return the comparable forms of addresses, each once.

        :raise ValidationError: if one of them is no single address
        """
        normalized, malformed = {}, []
        for email in [emails] if isinstance(emails, str) else emails:
            address = comparable(email_normalize(email) or "") if isinstance(email, str) and "\0" not in email else ""
            error = find_impossible([address]).get(address)
            # Nobody sends through SendGrid to letters before the @ that are not ASCII. But a word is a word.
            if not address or (error and error.reason.code == "malformed_recipient"):
                malformed.append(email)
            normalized[address] = True
        if malformed:
            raise ValidationError(
                self.env._(
                    "Nothing was noted, because these are no e-mail addresses: %s",
                    ", ".join(str(email)[:100] for email in malformed[:NAMED]) + (", …" if malformed[NAMED:] else ""),
                )
            )
        return list(normalized)

    def _write_word(self, word, said, were_declined):
        """Write the word to the addresses, which `_hold` has returned.

        :param said: dict of when, how, by whom, where and in which wording it was said
        :param were_declined: those of the addresses whose owners declined until now
        """
        written = {"write_uid": self.env.uid, "write_date": self.env.cr.now()}
        values = {
            "email_tracking": word or None,
            **{f"email_tracking_{name}": value for name, value in said.items()},
            **written,
        }
        bulk.update(self, dict.fromkeys(self.ids, values))
        # What was sent before stays unmeasured.
        bulk.update(self, dict.fromkeys(were_declined.ids, {"unmeasured_until": said["date"], **written}))

    @api.model
    def _forget_word_faces(self):
        """Have contacts and other records with addresses compute anew what they show of the words."""
        for Model in self._get_models_with_addresses():
            Model.invalidate_model(WORD_FACES)

    def _tell_word(self):
        """Note the word about the addresses in the chatters of all records that have one of them."""
        if not self:
            return
        is_by_user = self[0].email_tracking_source in SAID_BY_USERS
        author = self.env.user.partner_id if is_by_user else self.env.ref("base.partner_root")
        # All of them were said at once.
        lines = self[0]._describe_note(self.mapped("email"))
        for Model in self._get_models_with_addresses():
            records = Model._get_by_addresses(lines)
            records.fetch([Model._primary_email])
            records._message_log_batch(
                {
                    record.id: Markup("<br/>").join(lines[email] for email in own if email in lines)
                    for record, own in records._get_addresses().items()
                },
                author_id=author.id,
            )

    # ------------------------------------------------------------
    # IN WORDS
    # ------------------------------------------------------------

    @in_company_language
    def _describe_note(self, emails):
        """Return {address: what is noted of the word, which was said about all of some addresses}."""
        words = join_words(self.env, [self._describe_word(), *self._describe_saying()])
        return {
            email: self.env._("E-mail tracking of %(email)s: %(words)s", email=email, words=words) for email in emails
        }

    def _describe_word(self):
        if not self.email_tracking:
            return self.env._("Not asked")
        return dict(self._fields["email_tracking"]._description_selection(self.env))[self.email_tracking]

    def _describe_saying(self):
        """Return by whom, where and in which wording the word was said, as a list of texts. Call it as superuser."""
        source, form, user = self.email_tracking_source, self.email_tracking_form, self.email_tracking_uid
        if source == "form":
            told = [self.env._("form %s", form) if form else self.env._("on a form")]
        elif source == "page":
            told = [self.env._("on the page that tells how e-mails are measured"), form]
        elif source == "import":
            told = [self.env._("by an import of %s", user.name) if user else self.env._("by an import"), form]
        else:
            told = [self.env._("noted by %s", user.name) if user else self.env._("noted by hand"), form]
        if wording := self.email_tracking_wording_id:
            told.append(self.env._("wording %s", wording.display_name))
        return list(filter(None, told))

    def _describe_tracking(self):
        """Say the word about an address that has one, when, by whom, where and how. Call it as superuser."""
        date = describe_time(self.env, self.email_tracking_date)
        words = {"agreed": self.env._("Agreed on %s", date), "declined": self.env._("Declined on %s", date)}
        return join_words(self.env, [words[self.email_tracking], *self._describe_saying()])
