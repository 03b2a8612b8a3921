from odoo import api, fields, models
from odoo.exceptions import UserError

from ..models.elsewhere import ElsewhereError
from ..tools.api import event_webhook
from ..tools.api.client import ApiError

# The steps that have to be done before a step can run.
NEEDS = {
    "webhook": ("key", "second"),
    "signing": ("webhook",),
    "server": ("key",),
    "tracking": ("key",),
    "measuring": ("key",),
    "test": ("signing",),
    "mail": ("server",),
}
POLL = 1.5  # seconds between two looks whether an event has arrived


class SendgridAccountConnectStep(models.TransientModel):
    """One step of connecting, and its result. The steps are in other files: `_key`, `_webhook`, `_server` and so on.

    A step can run any number of times, because it first looks at what SendGrid and Odoo already have. So it does no
    harm if the process dies between SendGrid's answer and the commit, or if two windows run the same step.

    Each method `_run_<name>` returns (state, message), and raises `ApiError` or `UserError` if the step fails.
    """

    _name = "sendgrid.account.connect.step"
    _description = "Step of Connecting"

    connect_id = fields.Many2one("sendgrid.account.connect", required=True, ondelete="cascade", index=True)
    name = fields.Selection(
        [
            ("key", "API key and its permissions"),
            ("second", "Room for a second webhook"),
            ("webhook", "Event webhook"),
            ("signing", "Signature"),
            ("server", "Outgoing mail server"),
            ("tracking", "Open and click tracking"),
            ("measuring", "Who is measured"),
            ("test", "SendGrid's test event"),
            ("mail", "A test e-mail to yourself"),
        ],
        required=True,
    )
    state = fields.Selection(
        [
            ("waiting", "Waiting"),
            ("offered", "If you like"),
            ("running", "Running"),
            ("done", "Done"),
            ("warning", "Done, with a remark"),
            ("skipped", "Skipped"),
            ("failed", "Failed"),
        ],
        required=True,
        default="waiting",
    )
    message = fields.Text(help="The result, or what the user can do about a failure.")
    question = fields.Selection(
        [
            ("place", "Is this the production database?"),
            ("address", "Shall the webhook be moved?"),
            ("unreachable", "Shall the webhook be moved where SendGrid can hardly reach it?"),
            ("password", "Shall the mail servers use the account's key?"),
            ("measuring", "Who is measured of those who were not asked?"),
        ],
        readonly=True,
        help="What the user has to decide. The step shows buttons for it.",
    )
    last_batch_id = fields.Integer(help="The id of the account's last batch before the test: the test comes after it.")
    test_date = fields.Datetime(help="When SendGrid was first asked to send the test event.")
    test_count = fields.Integer(help="How often SendGrid was asked to send the test event.")
    mail_date = fields.Datetime(help="When the test e-mail was handed to SendGrid.")
    email_id = fields.Many2one("sendgrid.email", readonly=True, help="The document of the test e-mail.")

    @api.depends("name")
    @api.depends_context("lang")
    def _compute_display_name(self):
        labels = dict(self._fields["name"]._description_selection(self.env))
        for step in self:
            step.display_name = labels.get(step.name)

    def _is_passed(self):
        return self.state in ("done", "warning", "skipped", "offered")

    def _can_run(self):
        others = self.connect_id.step_ids.filtered(lambda other: other.name in NEEDS.get(self.name, ()))
        return all(other.state in ("done", "warning") for other in others)

    def action_repeat(self):
        """Mark this step, and all that have not passed, to run again. The dialog then runs them.

        A test e-mail leaves only if somebody asks for it.
        """
        self.ensure_one()
        steps = self | self.connect_id.step_ids.filtered(lambda other: not other._is_passed() and other.name != "mail")
        steps.write(
            {
                "state": "waiting",
                "message": False,
                "question": False,
                "test_date": False,
                "test_count": 0,
                "mail_date": False,
                "email_id": False,
            }
        )
        self.connect_id._mark_next()

    def action_claim(self):
        """Answer that this is the production database. Then the step runs again."""
        account = self._get_account()
        account._claim()
        self.connect_id.moves_webhook |= not account._explain_unreachable(account.webhook_url)
        self.action_repeat()

    def action_connect_beside(self):
        """Answer that this database is a copy: it gets a webhook of its own beside the original's."""
        self._get_account()._leave_original()
        self.action_repeat()

    def action_move(self, is_certain=False):
        """Answer that the webhook shall be moved to Odoo's present address. Then the step runs again.

        :param bool is_certain: the user says that SendGrid reaches an address that looks as if it could not
        """
        account = self._get_account()
        doubt = account._explain_unreachable(account.webhook_url)
        if doubt and not is_certain:
            raise UserError(doubt)
        self.connect_id.moves_webhook = True
        if account._get_place_question() == "address":
            account._claim()
        else:
            address = account.webhook_url.partition(event_webhook.PATH)[0]
            account._log_lines([self.env._("The webhook at SendGrid is moved to %s.", address)])
        self.action_repeat()

    def _get_pause(self):
        return POLL if self.test_count or self.mail_date else 0

    def _run(self):
        """Run the step. If it fails, its message says why, and what the user can do about it."""
        question = False
        try:
            with self.env.cr.savepoint():
                state, message = getattr(self, f"_run_{self.name}")()
                question = self.question
        except ElsewhereError as error:
            state, message, question = "failed", str(error), error.question
        except ApiError as error:
            state, message = "failed", self._explain(error)
        except UserError as error:
            state, message = "failed", str(error)
        self.write({"state": state, "message": message, "question": question})

    def _explain(self, error):
        message = self.env["sendgrid.account"]._explain_api_error(error)
        if error.wait:
            message += "\n" + self.env._("It takes calls again in %s seconds.", round(error.wait) + 1)
        return message

    def _get_account(self):
        self.ensure_one()
        if not (account := self.connect_id.account_id):
            raise UserError(self.env._("There is no account yet: the first step makes it."))
        account.check_access("write")  # each call uses the account's API key
        return account
