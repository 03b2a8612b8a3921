from datetime import timedelta

from odoo import api, fields, models
from odoo.exceptions import UserError

from ..tools.api import erasure
from ..tools.api.client import ApiError
from .company_language import in_company_language

# A failed request keeps its addresses so long, to be tried again.
KEEP_FAILED = timedelta(days=30)


class SendgridErasure(models.Model):
    """A request to SendGrid to erase what it keeps about some addresses, in as many calls as it takes.

    Each call is committed with what it leaves to do. If a process dies between SendGrid's answer and the commit, the
    same addresses are handed over once more, which does no harm. An address that SendGrid has taken is not kept here.
    """

    _name = "sendgrid.erasure"
    _description = "Erasure at SendGrid"
    _order = "id desc"
    _rec_name = "account_id"
    _inherit = ["sendgrid.job.mixin"]
    _allow_sudo_commands = False

    account_id = fields.Many2one("sendgrid.account", required=True, readonly=True, ondelete="cascade")
    state = fields.Selection(
        [("running", "Running"), ("done", "Handed Over"), ("failed", "Failed")],
        required=True,
        readonly=True,
        default="running",
        help="Handed over: SendGrid has taken the request. It does not tell when it has erased.",
    )
    addresses_left = fields.Json(
        string="Addresses to Hand Over", readonly=True, help="They are forgotten here as soon as SendGrid has them."
    )
    address_count = fields.Integer(string="Addresses", readonly=True, help="How many addresses are to be erased.")
    taken_count = fields.Integer(string="Taken", readonly=True, help="How many addresses SendGrid has taken.")
    invalid_count = fields.Integer(
        string="Not Valid", readonly=True, help="How many addresses SendGrid does not take for addresses."
    )
    job_ids = fields.Text(
        string="SendGrid's Jobs",
        readonly=True,
        help="SendGrid's ids of its jobs. SendGrid has no call that tells how far they are: its support asks for them.",
    )
    progress = fields.Integer(compute="_compute_progress", help="In percent of the addresses.")
    error = fields.Text(readonly=True, help="Says why the work has failed or waits.")
    waits_until = fields.Datetime(
        readonly=True, help="SendGrid takes no more calls for now: the work goes on by itself at this time."
    )

    @api.depends("address_count", "taken_count", "invalid_count")
    def _compute_progress(self):
        for request in self:
            done = request.taken_count + request.invalid_count
            request.progress = 100 * done // request.address_count if request.address_count else 100

    @api.model
    def _begin(self, accounts, emails):
        """Have SendGrid erase what it keeps about some addresses, after the commit.

        :param accounts: `sendgrid.account` records with an API key
        :param emails: comparable addresses
        :return: the records of the work, one for each account
        """
        emails = sorted(set(emails))
        if not emails:
            return self.browse()
        requests = self.create(
            [{"account_id": account.id, "addresses_left": emails, "address_count": len(emails)} for account in accounts]
        )
        self.env.ref("sendgrid_tracking.ir_cron_erase").sudo()._trigger()
        return requests

    def action_start(self):
        """Try failed requests again, from where they stopped."""
        self.env["sendgrid.forget"]._check_is_administrator()
        self.check_access("read")
        failed = self.sudo().filtered(lambda request: request.state == "failed")
        failed.write({"state": "running", "error": False, "waits_until": False})
        self.env.ref("sendgrid_tracking.ir_cron_erase").sudo()._trigger()

    @api.model
    @in_company_language
    def _cron_erase(self):
        """Go on with each running request."""
        requests = self.search([("state", "=", "running")], order="id")
        for number, request in enumerate(requests, 1):
            others = len(requests) - number
            if not self._run_job(f"erasure {request.id}", request._erase, request._fail, request._put_off, others):
                return

    def _erase(self):
        """Hand the addresses over, call by call.

        :return: a generator that yields how many were dealt with, for a commit after each call
        """
        client = self._get_patient_client(self.account_id)
        while self.state == "running":
            if not self.addresses_left:
                self.write({"state": "done", "error": False, "waits_until": False, "addresses_left": False})
                yield 0
                return
            try:
                taken, invalid, job_id = self._hand_over(client)
            except ApiError as error:
                if error.kind in ("scope", "missing"):
                    raise UserError(self._explain_permission(error)) from error
                raise
            dealt_with = {*taken, *invalid}
            self.write(
                {
                    "addresses_left": [email for email in self.addresses_left if email not in dealt_with],
                    "taken_count": self.taken_count + len(taken),
                    "invalid_count": self.invalid_count + len(invalid),
                    "job_ids": "\n".join(filter(None, (self.job_ids, job_id))),
                    "error": False,
                    "waits_until": False,
                }
            )
            yield len(dealt_with)

    def _hand_over(self, client):
        """Hand over the next addresses. Those that SendGrid refuses are set aside; if it names none, ask for fewer.

        :return: the addresses that SendGrid has taken, those that it refuses, and the id of its job or None
        :raise ApiError: as SendGrid's calls
        """
        chunk, invalid = erasure.take(self.addresses_left), []
        while chunk:
            try:
                return chunk, invalid, erasure.erase(client, chunk)
            except ApiError as error:
                if error.kind not in ("refused", "size"):
                    raise
                named = erasure.get_invalid(error, chunk)
                if not named and len(chunk) == 1:
                    raise
                invalid += named
                chunk = [email for email in chunk if email not in set(named)] if named else chunk[: len(chunk) // 2]
        return [], invalid, None

    def _explain_permission(self, error):
        return self.env._(
            "SendGrid does not let this API key erase recipients' data. It needs the permission “%(scope)s”. Accounts "
            "from before SendGrid had this have to ask its support to switch it on. Then press “Try Again”. %(words)s",
            scope=erasure.SCOPE,
            words=self.account_id._explain_api_error(error),
        )

    def _fail(self, words):
        self.write({"state": "failed", "error": words, "waits_until": False})

    def _put_off(self, words, after):
        if words:
            self.write({"error": words, "waits_until": fields.Datetime.now() + after})
        self.env.ref("sendgrid_tracking.ir_cron_erase").sudo()._trigger(at=fields.Datetime.now() + after)

    @api.autovacuum
    def _gc_failed(self):
        """Delete the requests that failed and that nobody tried again: they keep addresses."""
        old = [("state", "=", "failed"), ("write_date", "<", fields.Datetime.now() - KEEP_FAILED)]
        self.sudo().search(old).unlink()
