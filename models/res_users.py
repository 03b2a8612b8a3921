from odoo import models


class ResUsers(models.Model):
    """Mails about somebody's login are never measured. They name no record, so mark them where core sends them.

    The others of core's are about a user, such as a code for the login, or have a link to sign up: see
    `sendgrid.email`, `_opens_account`.
    """

    _inherit = "res.users"

    def _action_reset_password(self, *args, **kwargs):
        # A method of `auth_signup`. Nobody calls it where that is not installed.
        marked = self.with_context(sendgrid_is_about_access=True)
        return super(ResUsers, marked)._action_reset_password(*args, **kwargs)

    def _notify_security_setting_update(self, *args, **kwargs):
        marked = self.with_context(sendgrid_is_about_access=True)
        return super(ResUsers, marked)._notify_security_setting_update(*args, **kwargs)
