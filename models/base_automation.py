from odoo import models
from odoo.service.model import PG_CONCURRENCY_EXCEPTIONS_TO_RETRY

from .undoable import undoable


class BaseAutomation(models.Model):
    """Within a drain, a rule that raises fails alone: the events it was about are kept, and the failure is shown."""

    _inherit = "base.automation"

    def _process(self, records, domain_post=None):
        if not self.env.context.get("sendgrid_drain"):
            return super()._process(records, domain_post=domain_post)
        done = dict(self.env.context.get("__action_done", {}))
        try:
            with undoable(self.env.cr):
                return super()._process(records, domain_post=domain_post)
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
