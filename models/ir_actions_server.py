from odoo import api, fields, models


class IrActionsServer(models.Model):
    """Within a drain, the action of a rule can run once for all records instead of once for each.

    Core runs a rule's actions record by record, and so does a drain by default. Only the author of the action knows
    whether its code handles all of `records`, so he has to say it: `sendgrid_runs_once`. Without it the drain's queries
    grow with the records of the rule; this is the one exception to "queries grow with consequences only".
    """

    _inherit = "ir.actions.server"

    sendgrid_runs_once = fields.Boolean(
        string="Run once for all records of a batch",
        help="When an automation rule reacts to events of SendGrid, run the action once for all records that a batch "
        "of events concerns, instead of once for each. The same holds for e-mails that are due at one time. Choose it "
        "only if the code handles all `records`.",
    )

    def run(self):
        """Run the actions. While a drain collects runs (see `base.automation`), only note the records for later."""
        runs = self.env.context.get("sendgrid_runs")
        if runs is None:
            return super().run()
        for action in self:
            runs.setdefault(action.id, (action, []))[1].append(self.env.context["active_id"])
        return False

    @api.model
    def _run_collected(self, runs):
        """Run each action that a drain has collected, once for all of its records.

        An action keeps the context that core gave it: there core notes which rules are running, so that a rule does not
        trigger itself.

        :param runs: {action id: (`ir.actions.server` record, record ids)}
        """
        for action, record_ids in runs.values():
            action.with_context(sendgrid_runs=None, active_ids=record_ids, active_id=record_ids[0]).run()
