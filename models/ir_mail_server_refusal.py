from odoo import api, models
from odoo.tools.misc import get_lang

from .company_language import in_company_language

MEGABYTE = 1024 * 1024


class IrMailServer(models.Model):
    """The words that say why SendGrid would not take a message, for the codes of `tools.sending.errors`."""

    _inherit = "ir.mail_server"

    @api.model
    @in_company_language
    def _explain_sendgrid_refusal(self, error):
        """Return the words of a `V3MailError`, `SmtpapiError` or `RecipientError`. They are stored with the mail."""
        code, parameters = error.reason
        message = self._get_sendgrid_refusal_messages().get(code)
        if not message:
            return str(error)
        if code == "too_large":
            language = self.env["res.lang"].browse(get_lang(self.env).id)
            parameters = {
                "size": language.format("%.1f", parameters["size"] / MEGABYTE),
                "limit": parameters["limit"] // MEGABYTE,
            }
        return message % parameters

    @api.model
    def _get_sendgrid_refusal_messages(self):
        """Return {code of `tools.sending.errors`: its words, with a place for each parameter}."""
        return {
            # The header is wrong.
            "not_json": self.env._("%(header)s is not JSON from its character %(position)s on."),
            "absurd": self.env._(
                "%(header)s is not JSON: it is nested too deeply, or holds a number that no program reads."
            ),
            "not_a_json_object": self.env._("%(header)s is not a JSON object."),
            "long_word": self.env._("%(header)s has a word of more than %(limit)s characters, which no line can hold."),
            "names_recipients": self.env._(
                "%(header)s names recipients itself, in “%(name)s”. Odoo would not know who gets the message: name "
                "them as the e-mail's recipients."
            ),
            # The message is wrong.
            "too_large": self.env._(
                "It is too large: %(size)s MB with its attachments encoded, and %(limit)s MB is the limit."
            ),
            "long_args": self.env._("Its unique_args are too large: %(size)s bytes, and %(limit)s is the limit."),
            "many_categories": self.env._("It has too many categories: %(count)s, and %(limit)s is the limit."),
            "long_category": self.env._("The category “%(category)s…” has more than %(limit)s characters."),
            "no_sender": self.env._("It has no sender."),
            "sender_not_ascii": self.env._(
                "The sender's address %(address)s has letters before the @ that are not ASCII."
            ),
            "recipient_not_ascii": self.env._(
                "The address %(address)s has letters before the @ that are not ASCII. SendGrid does not deliver there."
            ),
            "malformed_recipient": self.env._("%(address)s is not an e-mail address."),
            "unserved_recipient": self.env._("SendGrid does not deliver to addresses like %(address)s."),
            "no_recipient": self.env._("It has no recipient."),
            "many_recipients": self.env._("It has too many recipients: %(count)s, and %(limit)s is the limit."),
            "no_domain": self.env._("%(domain)s is not a domain."),
            "forbidden_header": self.env._("It has the header %(name)s, which only SendGrid may set."),
            "empty_attachment": self.env._("The attachment “%(name)s” is empty."),
            # The settings in the header are wrong.
            "unknown_settings": self.env._("%(header)s asks for %(names)s, which the Web API cannot do for it."),
            "unknown_filter": self.env._("%(header)s asks for the filter %(name)s, which the Web API does not have."),
            "not_said_whether": self.env._("%(header)s does not say whether the filter %(name)s is enabled."),
            "not_an_object": self.env._("%(header)s: %(name)s is not an object."),
            "not_a_list": self.env._("%(header)s: %(name)s is not a list."),
            "not_a_number": self.env._("%(header)s: %(name)s is not a number."),
            "too_many_groups": self.env._(
                "It shows too many unsubscribe groups to choose from: %(count)s, and %(limit)s is the limit."
            ),
            "ip_pool": self.env._("The name of an IP pool has %(minimum)s to %(maximum)s characters."),
        }
