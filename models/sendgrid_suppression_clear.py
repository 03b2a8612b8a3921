import logging

from odoo import api, fields, models
from odoo.exceptions import UserError

from ..tools.api.suppressions import clear_address
from .undoable import TRY_LATER, undoable

_logger = logging.getLogger(__name__)


class SendgridSuppression(models.Model):
    """The clearing of addresses at SendGrid, on somebody's word."""

    _inherit = "sendgrid.suppression"

    def action_clear(self):
        """Take the addresses off SendGrid's lists, soon."""
        self.check_access("read")
        self.sudo()._clear_later()
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {
                "type": "info",
                "message": self.env._("SendGrid is being asked to clear the addresses."),
                "next": {"type": "ir.actions.client", "tag": "soft_reload"},
            },
        }

    def _clear_later(self):
        """Have SendGrid asked after the commit: what fails there takes nothing back here."""
        listed = self.filtered(lambda entry: entry.state == "listed")
        for account in listed.account_id:
            if not account.api_key:
                raise UserError(self.env._("The account “%s” has no API key.", account.name))
        listed.write({"state": "clearing", "error": False})
        self.env.ref("sendgrid_tracking.ir_cron_clear").sudo()._trigger()

    @api.model
    def _cron_clear(self):
        """Take off SendGrid's lists what somebody asked to. Each call is committed: a second one does no harm."""
        stopped = self.env["sendgrid.account"]
        for entry in self.search([("state", "=", "clearing")], order="id"):
            if entry.account_id in stopped:
                continue
            if not self._run_job(f"clearing entry {entry.id}", entry._clear, entry._note_not_cleared, entry._put_off):
                return
            if entry.state == "clearing":
                stopped |= entry.account_id
        self.env["ir.cron"]._commit_progress(0, remaining=0)

    def _clear(self):
        clear_address(self.account_id._get_client(), self.list, self.email, self.group_id)
        self._note_cleared()
        self.env.flush_all()
        yield 1

    def _put_off(self, words, after):
        if words:
            self.error = words
        self.env.ref("sendgrid_tracking.ir_cron_clear").sudo()._trigger(at=fields.Datetime.now() + after)

    def _note_cleared(self):
        self.write({"state": "cleared", "cleared_date": fields.Datetime.now(), "error": False})
        self._tell_contacts(self.env._("SendGrid took %(email)s off its list “%(list)s”.", **self._words()))

    def _note_not_cleared(self, why):
        self.write({"state": "listed", "error": why})
        words = self.env._("SendGrid did not take %(email)s off its list “%(list)s”: %(why)s", why=why, **self._words())
        try:
            with undoable(self.env.cr):
                self._tell_contacts(words)
        except TRY_LATER:
            raise
        except Exception:
            # It may be the telling that went wrong: the entry says why all the same.
            _logger.exception("SendGrid: the contacts of %s could not be told", self.email)

    def _words(self):
        lists = dict(self._fields["list"]._description_selection(self.env))
        return {"email": self.email, "list": self.group_name or lists[self.list]}

    def _tell_contacts(self, message):
        """Say in the chatter of the address's contacts what became of it."""
        partners = self.env["res.partner"].search([("email_normalized", "=", self.email)])
        partners._message_log_batch(bodies={partner.id: message for partner in partners})
