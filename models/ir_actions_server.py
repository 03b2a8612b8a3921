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

    def _is_for_many(self):
        """Tell whether an action is code that speaks of ``records``, as Odoo calls many, and never of one."""
        if self.state != "code":
            return False
        nodes = list(ast.walk(ast.parse(self.code or "")))
        names = {node.id for node in nodes if isinstance(node, ast.Name)}
        picks = any(isinstance(node, ast.Subscript) and ast.unparse(node.value) == "records" for node in nodes)
        return "records" in names and "record" not in names and not picks and "active_id" not in self.code
