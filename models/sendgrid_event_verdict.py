from odoo import api, fields, models

from ..tools.events import device


class SendgridEvent(models.Model):
    """The verdict on an event in words: the program that did it, and why no person did, or why nobody can tell."""

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
            "refused": self.env._("The e-mail did not arrive, so no person can have seen it: a scanner did this."),
            "burst": self.env._("Several different links were followed within two seconds: faster than a person can."),
            "sweep": self.env._("The links were followed one after the other on arrival, before the e-mail was shown."),
            "at_once": self.env._("It came within two seconds of the delivery: nobody reads that fast."),
            "same_second": self.env._(
                "The mailbox provider fetched the images at the moment of delivery: nobody can tell whether anybody "
                "looked."
            ),
            "with_scanner": self.env._("It came together with a machine's clicks on arrival."),
            "with_clicks": self.env._(
                "It came with a scanner's clicks, which follow every link of an e-mail: it may be nobody's wish."
            ),
            "before_delivery": self.env._(
                "It came before the recipient's server had accepted the e-mail: its gateway was looking into it."
            ),
            "before_delivery_report": self.env._(
                "It came before the report of the delivery: nobody can tell whether it was a person or a gateway."
            ),
            "no_agent": self.env._("The program that fetched it did not say what it is."),
            "soon": self.env._(
                "It came less than a minute after the e-mail left: a person with the mailbox open, or an inspection."
            ),
            "probe": self.env._(
                "Office looked the link up before it gave it to a browser: whether a person clicked, the browser tells."
            ),
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
                "It was clicked soon, and nobody is known to have read it before: a link check, or a quick reader."
            ),
            "wish_without_open": self.env._(
                "It came soon, and nobody is known to have read the e-mail before: a link check, or a quick reader."
            ),
            "many_without_open": self.env._(
                "Several links were followed in their order, and the e-mail was never shown: a slow checking program, "
                "or a reader without images."
            ),
            "several_without_open": self.env._(
                "Different programs or addresses followed this link, and the e-mail was not shown before: nobody can "
                "tell which of them is the reader, if one is."
            ),
            "scanned_again": self.env._(
                "The same program in the same network had just followed links as a machine does: it came back, or a "
                "person works behind it."
            ),
            "another_network": self.env._(
                "It followed a person's, but from another network or another operating system: a service that checks "
                "what people click, or somebody else."
            ),
        }
