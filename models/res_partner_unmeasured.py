from odoo import models
from odoo.exceptions import AccessError


class ResPartner(models.Model):
    """The chatter's composer says before it sends whose opens and clicks will not be measured."""

    _inherit = "res.partner"

    def get_sendgrid_unmeasured(self, model, res_id, emails):
        """Return the line that names the contacts, and further recipients, who will not be measured.

        :param model: the name of the model of the record that the message is about
        :param res_id: the record's id; its company decides
        :param emails: addresses of recipients without a contact
        :return: a sentence, "" if all are measured
        :raise AccessError: the user is no employee, or may not read the record
        """
        if not self.env.user._is_internal():
            raise AccessError(self.env._("Only employees see who is measured."))
        record = self.env[model].browse(res_id)
        record.check_access("read")
        # Core's route for the chatter posts in the user's own company, whichever of his companies he has chosen.
        company = record._mail_get_companies(default=self.env.user.company_id)[record.id]
        return self._describe_unmeasured(company, emails)
