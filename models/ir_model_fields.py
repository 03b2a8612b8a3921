from odoo import api, models
from odoo.tools import frozendict, ormcache

# The models that we give fields to, and of which any application may have descendants.
PARENTS = ("mail.thread.blacklist", "utm.source.mixin")


class IrModelFields(models.Model):
    """Our fields speak the user's language in the models of all applications.

    Mailings, mailing contacts, applicants and others inherit fields from models that we extend. Odoo translates the
    names of fields for each model by itself, and our translations cannot name models that are not there. So a name, a
    help or a selection that is not translated there is taken from the model that it is inherited from.
    """

    _inherit = "ir.model.fields"

    @api.model
    @ormcache("model_name", "self.env.lang", cache="stable")
    def _get_fields_cached(self, model_name):
        own = super()._get_fields_cached(model_name)
        Model = self.env.registry.get(model_name)
        parents = [name for name in PARENTS if Model is not None and name in Model._inherit_module]
        if not parents:
            return own
        in_english = super(IrModelFields, self.with_context(lang=None))._get_fields_cached(model_name)
        texts = dict(own)
        for parent in parents:
            for name, inherited in self._get_fields_cached(parent).items():
                if Model._fields[name]._modules == ("sendgrid_tracking",):
                    texts[name] = {
                        key: inherited[key] if key != "id" and text == in_english[name][key] else text
                        for key, text in own[name].items()
                    }
        return frozendict(texts)
