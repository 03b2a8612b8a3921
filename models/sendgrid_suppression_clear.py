from odoo import api, fields, models
from odoo.exceptions import UserError

from ..tools.api.client import ApiError
from ..tools.api.suppressions import clear_address


class SendgridSuppression(models.Model):
    """The clearing of addresses: SendGrid takes them off its lists, because a user asked for it."""

    _inherit = "sendgrid.suppression"

    def action_clear(self):
        """Have SendGrid take the addresses off its lists, after the commit."""
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
        """Mark the listed entries, so that the scheduled action asks SendGrid to clear them after the commit.

        So a failure at SendGrid does not undo the changes in Odoo.

        :raise UserError: if an account has no API key
        """
        listed = self.filtered(lambda entry: entry.state == "listed")
        for account in listed.account_id:
            if not account.api_key:
                raise UserError(self.env._("The account “%s” has no API key.", account.name))
        listed.write({"state": "clearing", "error": False})
        self.env.ref("sendgrid_tracking.ir_cron_clear").sudo()._trigger()

    @api.model
    def _cron_clear(self):
        """Ask SendGrid to clear the marked entries, with a commit after each.

        A process that dies between the call and the commit does no harm: the next run calls again. If SendGrid puts
        off one entry, the other entries of the same account wait as well.
        """
        entries = self.search([("state", "=", "clearing")], order="id")
        stopped = self.env["sendgrid.account"]
        for number, entry in enumerate(entries, 1):
            if entry.account_id in stopped:
                continue
            if not self._run_job(
                f"clearing entry {entry.id}",
                entry._clear,
                entry._give_up,
                entry._put_off,
                others=len(entries) - number,
                is_long=False,
            ):
                return
            if entry.state == "clearing":
                stopped |= entry.account_id
        # Entries that were passed over wait for the next try of their account.
        self.env["ir.cron"]._commit_progress(0, remaining=0)

    def _clear(self):
        """Ask SendGrid to take the entry off its list, and note what it said; a generator, see `sendgrid.job.mixin`."""
        account = self.account_id
        try:
            clear_address(account._get_client(), self.list, self.email, self.group_id)
        except UserError as error:
            self._note_not_cleared(str(error))
        except ApiError as error:
            if error.may_pass:
                raise
            self._note_not_cleared(account._explain_api_error(error))
        else:
            self._note_cleared()
        self.env.flush_all()
        yield 1

    def _give_up(self, words):
        # Contacts are not told: SendGrid may have cleared the address, and what came after it went wrong here.
        self.write({"state": "listed", "error": words})

    def _put_off(self, words, after):
        if words:
            self.error = words
        self.env.ref("sendgrid_tracking.ir_cron_clear").sudo()._trigger(at=fields.Datetime.now() + after)

    def _note_cleared(self):
        self.write({"state": "cleared", "cleared_date": fields.Datetime.now(), "error": False})
        self._tell_contacts(self.env._("SendGrid took %(email)s off its list “%(list)s”.", **self._words()))

    def _note_not_cleared(self, why):
        self.write({"state": "listed", "error": why})
        self._tell_contacts(
            self.env._("SendGrid did not take %(email)s off its list “%(list)s”: %(why)s", why=why, **self._words())
        )

    def _words(self):
        lists = dict(self._fields["list"]._description_selection(self.env))
        return {"email": self.email, "list": self.group_name or lists[self.list]}

    def _tell_contacts(self, message):
        """Log a message in the chatter of each contact and lead with the address."""
        for model in ("res.partner", "crm.lead"):
            records = self.env[model].sudo()._get_by_addresses([self.email]).filtered("active")
            records._message_log_batch(bodies={record.id: message for record in records})
