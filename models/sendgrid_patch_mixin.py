from odoo import models


class SendgridPatchMixin(models.AbstractModel):
    """Changes methods of applications on which the addon does not depend, if they are installed.

    A model that may be missing cannot be extended in a class of its own. So its methods are changed when the registry
    is made, as core's `base.automation` does. A new method finds the one before as its attribute ``origin``.
    """

    _name = "sendgrid.patch.mixin"
    _description = "Changes to Models That May Be Missing"

    def _get_patches(self):
        """Return {(name of a model, name of a method): the new method}."""
        return {}

    def _register_hook(self):
        super()._register_hook()
        for (model, name), method in self._get_patches().items():
            Model = self.env.registry.get(model)
            if Model is not None and name not in vars(Model):
                method.origin = getattr(Model, name)
                setattr(Model, name, method)

    def _unregister_hook(self):
        for model, name in self._get_patches():
            Model = self.env.registry.get(model)
            if Model is not None and name in vars(Model):
                delattr(Model, name)
        return super()._unregister_hook()
