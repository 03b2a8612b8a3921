from odoo import models


class SendgridAccountConnectStep(models.TransientModel):
    """The step that asks who is measured of those who neither agreed nor declined."""

    _inherit = "sendgrid.account.connect.step"

    def _run_measuring(self):
        companies = self._get_account()._get_companies()
        if not self.connect_id.asks_measured:
            return "done", self._describe_measured(companies)
        self.question = "measuring"
        return "warning", self._explain_measuring(companies)

    def action_measure(self, choice="country"):
        """Answer who is measured of those who were not asked.

        :param str choice: one of the values of `sendgrid_unasked` of `res.company`; the first is what is proposed
        """
        companies = self._get_account()._get_companies()
        companies.sendgrid_unasked = choice
        self.write({"state": "done", "question": False, "message": self._describe_measured(companies)})

    def action_open_countries(self):
        """Show the countries that ask for consent."""
        self._get_account()
        return self.env["res.company"]._get_action_of_consent_countries()

    def _explain_measuring(self, companies):
        lines = [
            self.env._(
                "Whoever agreed is measured, and whoever declined is not. Whose opens and clicks shall be measured of "
                "those who said neither?"
            ),
            "",
            "• "
            + self.env._(
                "By country (proposed): nobody in the countries that ask for consent first, everybody elsewhere. If a "
                "recipient's country is not known, your company's own counts."
            ),
            "• " + self.env._("Nobody: only who agreed is measured."),
            "• "
            + self.env._(
                "Everybody: all but those who declined. Some countries ask for consent first, also for business mail: "
                "you answer for it."
            ),
            "",
            self.env._(
                "Without measuring, Odoo still knows what was delivered, refused, unsubscribed and reported as spam. "
                "This is no legal advice."
            ),
        ]
        if unknown := companies.filtered(lambda company: not company.country_id):
            lines.append(
                self.env._(
                    "%s: no country is chosen, so by country everybody is measured whose own is not known.",
                    unknown.mapped("name"),
                )
            )
        if len(companies) > 1:
            lines.append(self.env._("Your choice holds for these companies: %s.", companies.mapped("name")))
        return "\n".join(lines)

    def _describe_measured(self, companies):
        """Return in words what is chosen, for each company if there are several."""
        texts = companies._get_choices_in_words()
        choices = {company: texts[company.sendgrid_unasked] for company in companies}
        lines = (
            [f"{company.name}: {text}" for company, text in choices.items()]
            if len(set(choices.values())) > 1
            else list(choices.values())[:1]
        )
        lines.append(self.env._("It can be changed under Settings > General Settings > SendGrid Privacy."))
        return "\n".join(lines)
