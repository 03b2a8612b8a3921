import ast

from odoo import api, models
from odoo.fields import Domain

# {the last part of a list's address: (external id of the page for all accounts, filter to set there or None)}
LISTS = {
    "sendgrid-account-pending": ("sendgrid_event_batch_action", "pending"),
    "sendgrid-account-failed": ("sendgrid_event_batch_action", "failed"),
    "sendgrid-account-rejected": ("sendgrid_event_batch_action", "rejected"),
    "sendgrid-account-unmatched": ("sendgrid_event_action_unmatched", None),
    "sendgrid-account-refused": ("sendgrid_rejection_action", None),
    "sendgrid-account-refused-for-sender": ("sendgrid_event_action", "refused_for_sender"),
    "sendgrid-account-comparisons": ("sendgrid_suppression_sync_action", None),
}


class SendgridAccount(models.Model):
    """The lists behind an account's figures and findings, of this account only.

    As with the lists of `sendgrid.email`'s `_open_list`, the address of one is enough to open it in a new session.
    """

    _inherit = "sendgrid.account"

    def _get_list_action(self, path):
        """Return the action of a list of the account.

        :param path: a key of `LISTS`
        """
        self.ensure_one()
        page, name = LISTS[path]
        action = self.env["ir.actions.act_window"]._for_xml_id(f"sendgrid_tracking.{page}")
        domain = Domain(ast.literal_eval(action["domain"] or "[]")) & Domain("account_id", "=", self.id)
        filters = {f"search_default_{name}": 1} if name else {}
        about = {"active_id": self.id, "active_ids": self.ids, "active_model": self._name}
        return {**action, "path": path, "domain": list(domain), "context": filters | about}

    @api.model
    def _open_list(self, path):
        """Return the action of a list from its address alone: a server action has the path, and gets the id."""
        account_id = self.env.context.get("active_id")
        if not isinstance(account_id, int):
            return self.env["ir.actions.act_window"]._for_xml_id(f"sendgrid_tracking.{LISTS[path][0]}")
        account = self.browse(account_id)
        account.check_access("read")
        return account._get_list_action(path)
