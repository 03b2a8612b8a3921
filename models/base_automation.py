from odoo import models
from odoo.service.model import PG_CONCURRENCY_EXCEPTIONS_TO_RETRY


class BaseAutomation(models.Model):
    _inherit = "base.automation"

    def _process(self, records, domain_post=None):
        """Within a drain, let a rule that raises fail alone: its events are kept, and the failure is shown."""
        batch_ids = self.env.context.get("sendgrid_batch_ids")
        if not batch_ids:
            return super()._process(records, domain_post=domain_post)
        done = dict(self.env.context.get("__action_done", {}))
        try:
            with self.env.cr.savepoint():
                return super()._process(records, domain_post=domain_post)
        except PG_CONCURRENCY_EXCEPTIONS_TO_RETRY:
            raise
        except Exception as error:
            if len(records) > 1:
                for record in records:
                    self.with_context(__action_done=dict(done))._process(record, domain_post=domain_post)
            else:
                self.env["sendgrid.event.batch"].browse(batch_ids)._note_failed_rule(self, records, error)
        return None
