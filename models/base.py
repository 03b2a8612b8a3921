from lxml import etree

from odoo import api, models


class Base(models.AbstractModel):
    _inherit = "base"

    @api.model
    def _get_view(self, view_id=None, view_type="form", **options):
        """Give the form of a mass mailing a button to its documents, and its switch *Track opens and links*.

        And give mailing contacts what contacts have: the word of the address, and the list's button that sets it. The
        addon does not depend on `mass_mailing`, so that no view of its own can inherit these.
        """
        arch, view = super()._get_view(view_id, view_type, **options)
        if self._name == "mailing.contact" and view_type == "form":
            for details in arch.xpath("//div[@name='email_details']")[:1]:
                word = etree.Element("field", {"name": "email_tracking", "required": "1", "invisible": "not email"})
                told = etree.Element(
                    "field", {"name": "email_tracking_details", "invisible": "not email or not email_tracking_details"}
                )
                details.addnext(word)
                word.addnext(told)
        if self._name == "mailing.contact" and view_type == "list":
            for header in arch.xpath("/list/header")[:1]:
                etree.SubElement(
                    header,
                    "button",
                    {
                        "name": "action_set_email_tracking",
                        "type": "object",
                        "string": self.env._("Set e-mail tracking"),
                    },
                )
        if self._name == "mailing.mailing" and view_type == "form":
            for box in arch.xpath("//div[@name='button_box']")[:1]:
                action = self.env.ref("sendgrid_tracking.sendgrid_email_action_of_mailing")
                button = etree.Element(
                    "button",
                    {
                        "name": str(action.id),
                        "type": "action",
                        "class": "oe_stat_button",
                        "icon": "fa-envelope-o",
                        "string": self.env._("Documents"),
                        "invisible": "state in ('draft', 'test') or mailing_type != 'mail'",
                    },
                )
                button.tail = "\n"
                # The last buttons are hidden behind "More" where CRM and sales add theirs.
                box.insert(0, button)
            for user in arch.xpath("//page[@name='settings']//field[@name='user_id']")[:1]:
                user.addnext(
                    etree.Element(
                        "field",
                        {
                            "name": "sendgrid_is_tracked",
                            "invisible": "not has_sendgrid_account or mailing_type != 'mail'",
                            "readonly": "state in ('sending', 'done')",
                        },
                    )
                )
                user.addnext(etree.Element("field", {"name": "has_sendgrid_account", "invisible": "1"}))
        return arch, view
