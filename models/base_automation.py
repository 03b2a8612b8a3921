from collections import defaultdict

from odoo import api, models
from odoo.service.model import PG_CONCURRENCY_EXCEPTIONS_TO_RETRY

from odoo.addons.base_automation.models.base_automation import CREATE_TRIGGERS

from .undoable import undoable


class BaseAutomation(models.Model):
    """Within a drain, a rule that raises fails alone: the events it was about are kept, and the failure is shown."""

    _inherit = "base.automation"

    def _get_actions(self, records, triggers):
        """Leave out the rules that watch other fields than the one that ``sendgrid_written`` names in the context.

        They would find nothing changed, but only after they have looked at each record that is written.
        """
        rules = super()._get_actions(records, triggers)
        if name := self.env.context.get("sendgrid_written"):
            watched = {rule: rule.sudo().trigger_field_ids.mapped("name") for rule in rules}
            rules = rules.filtered(lambda rule: not watched[rule] or name in watched[rule])
        return rules

    @api.model
    def _run_on_create(self, records):
        """Run the rules on the creation of records that were created in SQL, as core does when the ORM creates them."""
        rules = self._get_actions(records, CREATE_TRIGGERS)
        for rule in rules.with_context(old_values=None):
            rule._process(rule._filter_post(records.with_env(rules.env), feedback=True))

    def _process(self, records, domain_post=None):
        if not records or not self.env.context.get("sendgrid_drain"):
            return super()._process(records, domain_post=domain_post)
        done = dict(self.env.context.get("__action_done", {}))
        try:
            with undoable(self.env.cr):
                together = all(action._is_for_many() for action in self.sudo().action_server_ids)
                runs = defaultdict(list) if together else None
                super(BaseAutomation, self.with_context(sendgrid_runs=runs))._process(records, domain_post=domain_post)
                self.env["ir.actions.server"]._run_collected(runs or {}, records._name, domain_post)
            return None
        except PG_CONCURRENCY_EXCEPTIONS_TO_RETRY:
            raise
        except Exception as error:
            if len(records) > 1:
                for record in records:
                    self.with_context(__action_done=dict(done))._process(record, domain_post=domain_post)
            else:
                self._note_failure(records, error)
        return None

    def _filter_pre(self, records, *args, **kwargs):
        return self._guard(super()._filter_pre, records, records.browse(), *args, **kwargs)

    def _filter_post(self, records, *args, **kwargs):
        return self._guard(super()._filter_post, records, records.browse(), *args, **kwargs)

    def _filter_post_export_domain(self, records, *args, **kwargs):
        return self._guard(super()._filter_post_export_domain, records, (records.browse(), None), *args, **kwargs)

    def _guard(self, method, records, otherwise, *args, **kwargs):
        """Call a filter; if it raises within a drain, the rule applies to none of the records."""
        if not self.env.context.get("sendgrid_drain") or not self:
            return method(records, *args, **kwargs)
        try:
            with undoable(self.env.cr):
                return method(records, *args, **kwargs)
        except PG_CONCURRENCY_EXCEPTIONS_TO_RETRY:
            raise
        except Exception as error:
            self._note_failure(records, error)
            return otherwise

    def _note_failure(self, records, error):
        self.env["sendgrid.event.batch"]._note_failed_rule(self, records, error)
