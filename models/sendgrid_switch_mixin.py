from markupsafe import Markup

from odoo import fields, models

# Apps render a template and make a message of the text, and nothing else of the template is known then. So the text of
# a template that is not tracked has this at its end, until it becomes a message.
MARK = Markup("<!-- sendgrid_tracking: not measured -->")


def add_mark(rendered, template):
    """Return the texts that were rendered from a template, marked if it is not tracked.

    :param rendered: {record id: HTML text}
    """
    if not template or template.sudo().sendgrid_is_tracked or template.env.context.get("sendgrid_has_switch"):
        return rendered
    return {res_id: text and Markup(text) + MARK for res_id, text in rendered.items()}


def read_mark(vals, name):
    """Return the values of a new message: the mark in its text is taken out and has become its switch.

    :param name: the name of the text's field
    """
    text = vals.get(name)
    if not isinstance(text, str) or MARK not in text:
        return vals
    return {**vals, name: type(text)(str(text).replace(MARK, "")), "sendgrid_is_unmeasured": True}


class SendgridSwitchMixin(models.AbstractModel):
    """The switch *Track opens and links* of what becomes an e-mail: a composer, a template, a mailing, …

    It only lowers what is measured: whoever declined is not measured, whatever it says. The message keeps it, as
    `sendgrid_is_unmeasured`.
    """

    _name = "sendgrid.switch.mixin"
    _description = "Switch for Tracking Opens and Links"

    sendgrid_is_tracked = fields.Boolean(
        string="Track opens and links",
        help="If it is off, nobody's opens and clicks of the e-mail are measured. If it is on, they are measured as "
        "far as the recipient and the company allow.",
    )
    has_sendgrid_account = fields.Boolean(
        compute="_compute_has_sendgrid_account",
        groups="base.group_user",
        help="E-mails can leave through SendGrid, so that the switch matters and is shown.",
    )

    def _compute_has_sendgrid_account(self):
        self.has_sendgrid_account = self.env["sendgrid.account"]._is_used()
