from datetime import timedelta

from odoo import api, fields, models
from odoo.fields import Domain

# What is older is seldom worth sending again.
OFFERED_FOR = timedelta(days=30)
# The e-mail bounced, or SendGrid held it back because the address had bounced or was not valid.
LOST = {"bounced", "dropped_bounced", "dropped_held"}


class ResPartner(models.Model):
    """A contact whose address was corrected offers to send again what had bounced at the former address.

    An e-mail counts as sent again once its button *Send Again* has sent one, whatever became of that, or
    an e-mail with the same subject about the same record has gone to a present address. The offer ends as well if
    somebody dismisses it, and after 30 days.
    """

    _inherit = "res.partner"

    # This depends on no field, so that nothing is offered while an address is being typed: only once it is saved.
    sendgrid_resend_offer = fields.Char(
        compute="_compute_sendgrid_resend_offer",
        groups="base.group_user",
        help="Tells of the e-mails that bounced at the contact's former address.",
    )
    sendgrid_resend_dismissed = fields.Datetime(
        prefetch="sendgrid_resend",
        string="Sending Again Dismissed On",
        copy=False,
        readonly=True,
        groups="base.group_user",
        help="E-mails that were sent before are not offered to be sent again.",
    )

    @api.depends_context("uid", "lang")
    def _compute_sendgrid_resend_offer(self):
        for partner in self:
            emails = partner._get_emails_to_resend()
            addresses = sorted(set(emails.mapped("recipient")))
            if not emails:
                partner.sendgrid_resend_offer = False
            elif len(emails) == 1:
                partner.sendgrid_resend_offer = self.env._(
                    "An e-mail to the former address %s did not arrive.", addresses
                )
            else:
                partner.sendgrid_resend_offer = self.env._(
                    "E-mails to the former address %(addresses)s did not arrive. Number: %(count)s",
                    count=len(emails),
                    addresses=addresses,
                )

    def _get_emails_to_resend(self):
        """Return the documents that bounced at a former address of the contact and were not sent again, newest first.

        Only documents that the user sees count, and none of mass mailings: these are sent again from there.
        """
        partner = self._origin
        none = self.env["sendgrid.email"]
        addresses = self.env["sendgrid.address"]._split(partner.email)
        # Nothing is gained by sending to an address that bounces too.
        if not partner or not addresses or partner.email_bounced:
            return none
        since = fields.Datetime.now() - OFFERED_FOR
        emails = none.search(
            [
                ("partner_id", "=", partner.id),
                ("recipient", "not in", addresses),
                ("sent_date", ">", max(since, partner.sendgrid_resend_dismissed or since)),
                ("status", "in", ("bounced", "dropped")),
            ],
            order="sent_date desc, id desc",
        ).filtered(lambda email: not email.mailing_res_id and LOST & set(email.sudo().facts or ()))
        if not emails:
            return none
        to_present = Domain("partner_id", "=", partner.id) & Domain("recipient", "in", addresses)
        sent = none.sudo().search(
            Domain("sent_date", ">=", min(emails.mapped("sent_date")))
            & (to_present | Domain("again_of_id", "in", emails.ids)),
            order="sent_date",
        )
        sent_to_present = sent.filtered(lambda email: email.partner_id == partner and email.recipient in addresses)
        last = {(email.model, email.res_id, email.subject): email.sent_date for email in sent_to_present}

        def was_sent_again(email):
            again = last.get((email.model, email.res_id, email.subject))
            return bool(again) and again >= email.sent_date

        return (emails - sent.again_of_id).filtered(lambda email: not was_sent_again(email))

    def action_view_sendgrid_resend(self):
        """Open the list of the documents that did not arrive. Each has a button to send it again."""
        self.ensure_one()
        emails = self._get_emails_to_resend()
        name = self.env._("Send Again to %s", self.display_name)
        return {
            **self.env["sendgrid.email"]._get_action_about(self, [("id", "in", emails.ids)], "sendgrid-contact-resend"),
            "name": name,
            "display_name": name,
            "views": [
                (self.env.ref("sendgrid_tracking.sendgrid_email_view_list_resend").id, "list"),
                (False, "form"),
            ],
        }

    def action_dismiss_sendgrid_resend(self):
        """Do not offer any more to send again what was sent until now.

        :raise AccessError: if the user may not write the contact
        """
        self.check_access("write")
        self.sendgrid_resend_dismissed = fields.Datetime.now()
