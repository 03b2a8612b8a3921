from odoo import api, fields, models


class IrActionsServer(models.Model):
    """Within a drain, a rule's action whose code handles many records can run once for all of them.

    Core calls a rule's actions record by record. That is what happens in a drain as well, unless somebody says that the
    code handles all of `records`: no look at the code could tell. It is the one exception to the promise that the
    drain's queries grow with consequences only.
    """

    _inherit = "ir.actions.server"

    sendgrid_runs_once = fields.Boolean(
        string="Run once for all records of a batch",
        help="When an automation rule reacts on what SendGrid reports, run the action once for all records that a "
        "batch of events brings about, instead of once for each. Only for code that handles all `records`.",
    )

    def run(self):
        """Run the actions, or if a drain collects the runs (`base.automation`) note them."""
        runs = self.env.context.get("sendgrid_runs")
        if runs is None:
            return super().run()
        for action in self:
            runs.setdefault(action.id, (action, []))[1].append(self.env.context["active_id"])
        return False

    @api.model
    def _run_collected(self, runs):
        """Run what a drain has collected, each action once, with the context that core gave it: that tells which rules
        are at work already.

        :param runs: {action id: (action, record ids)}
        """
        for action, record_ids in runs.values():
            action.with_context(sendgrid_runs=None, active_ids=record_ids, active_id=record_ids[0]).run()
