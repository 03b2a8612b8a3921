from odoo import api, fields, models

from ..tools.events import device


class SendgridEvent(models.Model):
    """The verdict on an event in words: the program that opened or clicked, and why no person did so."""

    _inherit = "sendgrid.event"

    device = fields.Char(
        compute="_compute_device", help="The program that opened or clicked, as far as it names itself."
    )
    machine_explanation = fields.Char(
        compute="_compute_machine_explanation", help="Why a machine did it, or why that cannot be told."
    )

    @api.depends("user_agent")
    @api.depends_context("lang")
    def _compute_device(self):
        for event in self:
            program, system = device.identify(event.user_agent or "")
            event.device = (
                self.env._("%(program)s on %(system)s", program=program, system=system)
                if program and system
                else program or system
            )

    @api.depends("machine_reason")
    @api.depends_context("lang")
    def _compute_machine_explanation(self):
        explanations = self._get_machine_explanations()
        for event in self:
            event.machine_explanation = explanations.get(event.machine_reason, "")

    @api.model
    def _get_machine_explanations(self):
        """Return {reason, as in `tools.events.engagement_rules.REASONS`: its words}."""
        return {
            "apple_privacy": self.env._(
                "Apple Mail fetched the images in advance (Mail Privacy Protection): no sign that it was read."
            ),
            "gmail_prefetch": self.env._(
                "Gmail fetched the images in advance while its app was open: no sign that it was read."
            ),
            "scanner": self.env._("A security scanner that names itself inspected the e-mail."),
            "program": self.env._("A program that names itself fetched it: a link preview, a crawler or a script."),
            "burst": self.env._("Several different links were followed within two seconds: faster than a person can."),
            "sweep": self.env._("The links were followed one after the other on arrival, before the e-mail was shown."),
            "at_once": self.env._("It came within two seconds of the delivery: nobody reads that fast."),
            "same_second": self.env._(
                "The mailbox provider fetched the images at the moment of delivery: nobody can tell whether anybody "
                "looked."
            ),
            "with_scanner": self.env._("It came together with a machine's clicks on arrival."),
            "before_delivery": self.env._(
                "It came before the recipient's server had accepted the e-mail: its gateway was looking into it."
            ),
            "before_delivery_report": self.env._(
                "It came before the report of the delivery: nobody can tell whether it was a person or a gateway."
            ),
            "no_agent": self.env._("The program that fetched it did not say what it is."),
            "soon": self.env._("It came seconds after the delivery: a person with the mailbox open, or an inspection."),
            "same_moment": self.env._(
                "It was opened and clicked in the same second: a person whose program loads images late, or a tool."
            ),
            "pair": self.env._(
                "Two different links were followed within moments: a person opening both, or a checking program."
            ),
            "header_link": self.env._(
                "The header's unsubscribe link was fetched: by the mail program's button, or by a checking program."
            ),
            "click_without_open": self.env._(
                "It was clicked on arrival without having been shown: a link check, or a quick reader without images."
            ),
        }
