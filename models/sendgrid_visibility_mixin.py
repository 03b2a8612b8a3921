import functools

from odoo import api, models
from odoo.exceptions import AccessError
from odoo.fields import Domain
from odoo.tools import SQL


class SendgridVisibilityMixin(models.AbstractModel):
    """Access by what a record is about, decided in SQL: what a search does not find cannot be read either."""

    _name = "sendgrid.visibility.mixin"
    _description = "Visible by What It Is About"

    @api.model
    def _get_visible_domain(self):
        """Return the domain of the records that the current user may see."""
        raise NotImplementedError

    @api.model
    def _get_exists_domain(self, field_name, Model, model_field=None, among=Domain.TRUE):
        """Return the domain of the records whose ``field_name`` is the id of a record that ``Model``'s user may read.

        By a left join: with its order and limit known, PostgreSQL looks up the few records that a page needs, and for
        a report it reads them all once. Of EXISTS or IN beside an OR it knows one way only, which reads all of them.

        :param model_field: a field with the name of the model, where not all records are about the same
        :param among: domain of the records of ``Model`` that count
        """

        def to_sql(model, alias, query):
            target = SQL.identifier(alias, field_name, to_flush=model._fields[field_name])
            if model_field:
                name = SQL.identifier(alias, model_field, to_flush=model._fields[model_field])
                target = SQL("CASE WHEN %s = %s THEN %s END", name, Model._name, target)
            joined = query.make_alias(alias, f"{'any' if Model.env.su else 'own'}_{Model._table}")
            records = Model._search(among).select(SQL.identifier(Model._table, "id"))
            query.add_join(
                "LEFT JOIN", joined, SQL("(%s)", records), SQL("%s = %s", SQL.identifier(joined, "id"), target)
            )
            return SQL("%s IS NOT NULL", SQL.identifier(joined, "id"))

        return Domain.custom(to_sql=to_sql)

    @api.model
    def _search(self, domain, *args, bypass_access=False, **kwargs):
        if not (self.env.su or bypass_access):
            self.browse().check_access("read")
            domain = Domain(domain) & self._get_visible_domain()
        return super()._search(domain, *args, bypass_access=bypass_access, **kwargs)

    def _check_access(self, operation):
        result = super()._check_access(operation)
        if result or self.env.su or not any(self._ids):
            return result
        allowed = self.with_context(active_test=False).search([("id", "in", self.ids)])
        if forbidden := self - allowed.with_env(self.env):
            return forbidden, functools.partial(self._make_access_error, forbidden)
        return None

    def _make_access_error(self, forbidden):
        return AccessError(
            self.env._(
                "You are not allowed to see this: %(records)s. Tracking is seen by the author of an e-mail and, "
                "if it stands in the chatter of a record, by whoever may read that.",
                records=", ".join(map(str, forbidden.ids[:6])),
            )
        )
