from contextlib import contextmanager

from odoo import api, fields, models

from odoo.addons.base_automation.models.base_automation import CREATE_TRIGGERS, TIME_TRIGGERS, WRITE_TRIGGERS

from .undoable import TRY_LATER, each_alone, undoable


class BaseAutomation(models.Model):
    """Within a drain, a rule that raises fails alone: the events are kept, and their batch shows the failure.

    The drain sets the context key ``sendgrid_drain``. `sendgrid.ingest` and others write in SQL; they run the rules by
    `_run_on_create` and `_run_on_write`.
    """

    _inherit = "base.automation"

    def _get_actions(self, records, triggers):
        """While core counts a contact's bounce, return only the rules that ``sendgrid_bounce_rules`` names.

        The context key ``sendgrid_bounce_rules`` holds the ids of the rules that may concern `message_bounce`, and
        ``sendgrid_is_counting_bounce`` says that the write of the counter is at hand. Core calls this for each write,
        and would have every rule on contacts examine the record.

        Further writes that a rule brings about meet all rules, because the returned rules hand on records without the
        second key.
        """
        ids = self.env.context.get("sendgrid_bounce_rules")
        is_counting = self.env.context.get("sendgrid_is_counting_bounce")
        if ids is None or not is_counting or records._name != "res.partner" or triggers != WRITE_TRIGGERS:
            return super()._get_actions(records, triggers)
        done = self.env.context.get("__action_done", {})
        return self.with_context(sendgrid_is_counting_bounce=False, __action_done=done).browse(ids)

    @api.model
    def _get_ids_watching(self, records, name):
        """Return the ids of the rules that may react when one field changes.

        :param records: a recordset of the model, which may be empty
        :param str name: the field
        """
        rules = self._get_actions(records, WRITE_TRIGGERS)
        watched = {rule: rule.sudo().trigger_field_ids.mapped("name") for rule in rules}
        return rules.filtered(lambda rule: not watched[rule] or name in watched[rule]).ids

    @api.model
    def _run_on_create(self, records):
        """Run the rules "on creation" for records that were inserted in SQL, as core does after the ORM's `create`."""
        rules = self._get_actions(records, CREATE_TRIGGERS)
        # The drain writes in the company's language. Rules run without one, as in core's own scheduled action.
        for rule in rules.with_context(old_values=None, lang=None):
            rule._process(rule._filter_post(records.with_env(rules.env), feedback=True))

    @api.model
    def _run_on_write(self, records, names, write):
        """Run the rules "on update" for records that are written in SQL, as core does around the ORM's `write`.

        :param records: the records that ``write`` writes
        :param names: the written fields that rules may watch: rules see their values from before
        :param write: function without arguments that does the write; it is called once, in any case
        """
        rules = self._get_actions(records, WRITE_TRIGGERS) if records else self
        rules = rules.with_context(lang=None)  # see `_run_on_create`
        records = records.with_env(rules.env)
        before = {rule: rule._filter_pre(records) for rule in rules}
        old_values = {record.id: {name: record[name] for name in names} for record in records} if rules else {}
        write()
        for rule in rules.with_context(old_values=old_values):
            changed, domain_post = rule._filter_post_export_domain(before[rule], feedback=True)
            rule._process(changed, domain_post=domain_post)

    @api.model_create_multi
    def create(self, vals_list):
        """Let a rule about the time since something happened to e-mails begin with what is due from now on.

        Core would begin with the e-mails of all years.
        """
        rules = super().create(vals_list)
        rules._filter_timed().last_run = fields.Datetime.now()
        return rules

    def write(self, vals):
        """Let a rule that becomes such a one, or is switched on, begin so too."""
        timed = self._filter_timed()
        result = super().write(vals)
        (self._filter_timed() - timed).last_run = fields.Datetime.now()
        return result

    def _filter_timed(self):
        return self.filtered(
            lambda rule: rule.active and rule.trigger in TIME_TRIGGERS and rule.model_name == "sendgrid.email"
        )

    def _search_time_based_automation_records(self, *, until):
        """Note in the context of due e-mails which ones they are together: core hands them on one by one."""
        records = super()._search_time_based_automation_records(until=until)
        if records._name == "sendgrid.email" and self._runs_once():
            return records.with_context(sendgrid_together=records.ids)
        return records

    def _runs_once(self):
        return all(action.sendgrid_runs_once for action in self.sudo().action_server_ids)

    def _process(self, records, domain_post=None):
        if together := records.env.context.get("sendgrid_together"):
            records = records.with_context(sendgrid_together=None)
            if records.ids == together[:1]:
                runs = {}
                rule = self.with_context(sendgrid_runs=runs)
                super(BaseAutomation, rule)._process(records.browse(together), domain_post=domain_post)
                self.env["ir.actions.server"]._run_collected(runs)
            return None
        if not records or not self.env.context.get("sendgrid_drain"):
            return super()._process(records, domain_post=domain_post)
        done = dict(self.env.context.get("__action_done", {}))

        together = self._runs_once()

        def process(some):
            # Core notes in `__action_done` the records that a rule has treated. When the rule has failed for all of
            # them at once, start for each from the notes of before: the failed try is undone.
            rule = self if len(some) == len(records) else self.with_context(__action_done=dict(done))
            runs = {} if together else None
            super(BaseAutomation, rule.with_context(sendgrid_runs=runs))._process(some, domain_post=domain_post)
            self.env["ir.actions.server"]._run_collected(runs or {})

        each_alone(self.env.cr, process, records, self._note_failure)
        return None

    def _filter_pre(self, records, *args, **kwargs):
        if not self._is_within_drain():
            return super()._filter_pre(records, *args, **kwargs)
        with self._failing_alone(records) as narrow:
            found = super()._filter_pre(narrow, *args, **kwargs)
            return found.with_context(prefetch_fields=True)
        return records.browse()

    def _filter_post_export_domain(self, records, *args, **kwargs):
        if not self._is_within_drain():
            return super()._filter_post_export_domain(records, *args, **kwargs)
        with self._failing_alone(records) as narrow:
            found, domain = super()._filter_post_export_domain(narrow, *args, **kwargs)
            return found.with_context(prefetch_fields=True), domain
        return records.browse(), None

    def _is_within_drain(self):
        return bool(self and self.env.context.get("sendgrid_drain"))

    @contextmanager
    def _failing_alone(self, records):
        """Undo and note an exception that the rule's filter raises. The rule then applies to none of the records.

        :yield: the records, with a context by which reading a field does not read all other fields as well: a drain
            has thousands of records, and a filter names few fields
        """
        try:
            with undoable(self.env.cr):
                yield records.with_context(prefetch_fields=False)
        except TRY_LATER:
            raise
        except Exception as error:
            self._note_failure(records, error)

    def _note_failure(self, records, error):
        self.env["sendgrid.event.batch"]._note_failed_rule(self, records, error)
