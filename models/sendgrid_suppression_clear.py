from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools import SQL

from ..tools.api.client import ApiError
from ..tools.api.suppressions import clear_address
from . import bulk
from .company_language import in_company_language
from .elsewhere import ElsewhereError


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

    @api.model
    def _get_entry(self, account, name, email, group_id=0, group_name=None, reason=None):
        """Return the entry of an address that SendGrid has just said to be on a list; create it if Odoo has none.

        If a comparison creates the same entry meanwhile, one of the two transactions is tried again.

        :param account: `sendgrid.account` record
        :param str name: the list
        :param str email: normalized address
        """
        now = fields.Datetime.now()
        values = {
            "account_id": account.id,
            "list": name,
            "group_id": group_id or 0,
            "group_name": group_name or None,
            "email": email,
            # SendGrid does not tell it of every list. The next comparison learns it.
            "created": now,
            "reason": reason or None,
            "state": "listed",
            "outcome": "known",
            "create_uid": self.env.uid,
            "create_date": now,
            "write_uid": self.env.uid,
            "write_date": now,
        }
        self.flush_model()
        [(entry_id,)] = bulk.insert(
            self,
            [values],
            conflict=SQL(
                """ON CONFLICT (account_id, list, group_id, email)
                   DO UPDATE SET write_uid = EXCLUDED.write_uid, write_date = EXCLUDED.write_date"""
            ),
        )
        entry = self.browse(entry_id)
        entry.invalidate_recordset()
        return entry

    def _clear_later(self):
        """Mark the listed entries, so that the scheduled action asks SendGrid to clear them after the commit.

        So a failure at SendGrid does not undo the changes in Odoo. Who asks again also means what SendGrid has listed
        since the first time.

        :raise UserError: if an account has no API key
        """
        listed = self.filtered(lambda entry: entry.state != "cleared")
        for account in listed.account_id:
            if not account.api_key:
                raise UserError(self.env._("The account “%s” has no API key.", account.name))
        listed.write({"state": "clearing", "clearing_date": fields.Datetime.now(), "error": False})
        self.env.ref("sendgrid_tracking.ir_cron_clear").sudo()._trigger()

    @api.model
    @in_company_language
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
        except ElsewhereError:
            raise
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

    def _note_listed_anew(self):
        """Note that SendGrid has listed the address again after somebody had asked to clear it, so that it stays there.

        It bounced, complained or unsubscribed once more, which he could not know: he has to decide anew.
        """
        why = self.env._("SendGrid has listed it again since. If it shall be cleared all the same, ask for it anew.")
        self._note_not_cleared(why)

    def _words(self):
        lists = dict(self._fields["list"]._description_selection(self.env))
        return {"email": self.email, "list": self.group_name or lists[self.list]}

    def _tell_contacts(self, message):
        """Log a message in the chatter of each contact and lead with the address."""
        for model in ("res.partner", "crm.lead"):
            records = self.env[model].sudo()._get_by_addresses([self.email]).filtered("active")
            records._message_log_batch(bodies={record.id: message for record in records})
