from ast import literal_eval

from odoo import api, fields, models


class MailMail(models.Model):
    """A mail knows which e-mail it is sent again after, and tells its documents.

    If the recipient may have that e-mail, the mail answers it: his mail program shows both as one conversation.
    """

    _inherit = "mail.mail"

    sendgrid_again_of_id = fields.Many2one(
        "sendgrid.email",
        string="Sent Again After",
        readonly=True,
        copy=False,
        index="btree_not_null",
        ondelete="set null",
        help="The e-mail from whose page this mail was sent again.",
    )

    @api.model_create_multi
    def create(self, vals_list):
        made = mails = super().create(vals_list)
        if again_of_id := self.env.context.get("sendgrid_again_of"):
            # The context comes from a browser: the user has to see the e-mail, and to write where it was written.
            again = self.env["sendgrid.email"].with_user(self.env.uid).search([("id", "=", again_of_id)])
            mails = mails.filtered(lambda mail: (mail.model, mail.res_id) == (again.model, again.res_id))
            mails.sendgrid_again_of_id = again.id
            if again.can_follow_up and again.message_id:
                mails._answer(again.message_id)
        return made

    def _answer(self, message_id):
        """Have the mails answer an e-mail. Core names the latest messages about the record only, and no In-Reply-To."""
        for mail in self:
            try:
                headers = dict(literal_eval(mail.headers or "{}"))
            except (SyntaxError, TypeError, ValueError):
                headers = {}  # another module wrote what core cannot read either, and passes over
            references = (mail.references or "").split()
            mail.write(
                {
                    "headers": repr({**headers, "In-Reply-To": message_id}),
                    # The nearest ancestor is the last one (RFC 5322 3.6.4). Core puts the mail itself behind it.
                    "references": " ".join(
                        [*(one for one in references if one not in (message_id, mail.message_id)), message_id]
                        + [mail.message_id] * (mail.message_id in references)
                    ),
                }
            )
