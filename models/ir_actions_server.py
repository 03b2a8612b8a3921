import ast

from odoo import api, models


class IrActionsServer(models.Model):
    """Within a drain, an automation rule's code that is written for many records runs once for all of them.

    Core calls a rule's actions record by record, which would cost the drain more than all of its other work.
    """

    _inherit = "ir.actions.server"

    def run(self):
        """Run the actions, or if a drain collects the runs (`base.automation`) note them."""
        runs = self.env.context.get("sendgrid_runs")
        if runs is None:
            return super().run()
        for action in self:
            runs[action.id].append(self.env.context["active_id"])
        return False

    @api.model
    def _run_collected(self, runs, model_name, domain_post):
        """Run what a drain has collected, each action once.

        :param runs: {action id: record ids}
        """
        for action_id, record_ids in runs.items():
            self.browse(action_id).with_context(
                sendgrid_runs=None,
                active_model=model_name,
                active_ids=record_ids,
                active_id=record_ids[0],
                domain_post=domain_post,
            ).run()

    def _is_for_many(self):
        """Tell whether an action is code that speaks of ``records``, as Odoo calls many, and never of one."""
        if self.state != "code":
            return False
        names = {node.id for node in ast.walk(ast.parse(self.code or "")) if isinstance(node, ast.Name)}
        return "records" in names and "record" not in names and "active_id" not in self.code
