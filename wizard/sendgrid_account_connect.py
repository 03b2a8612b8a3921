from odoo import Command, api, fields, models

CONNECT = ("key", "webhook", "signing", "server", "tracking", "measuring", "test", "mail")
ROTATE = ("second", "webhook", "signing", "test")
CHOOSE = ("measuring",)


class SendgridAccountConnect(models.TransientModel):
    """The dialog that connects an account: the user pastes an API key, and the dialog runs the steps one by one.

    The user sees the result of each step, and can repeat it.
    """

    _name = "sendgrid.account.connect"
    _description = "Connect a SendGrid Account"

    account_id = fields.Many2one("sendgrid.account", readonly=True, help="Empty: the dialog makes a new account.")
    name = fields.Char(required=True, default="SendGrid", help="The name of the account in Odoo.")
    company_id = fields.Many2one("res.company", help="Empty: the account serves all companies.")
    api_key = fields.Char(
        string="API Key",
        groups="base.group_system",
        copy=False,
        help="Make it at SendGrid under Settings > API Keys, with Full Access or with the permissions that the first "
        "step names. Odoo keeps it only after SendGrid has accepted it.",
    )
    region = fields.Selection(
        selection=lambda self: self.env["sendgrid.account"]._fields["region"]._description_selection(self.env),
        required=True,
        default="global",
    )
    sending = fields.Selection(
        [("login", "SMTP relay"), ("sendgrid_api", "Web API")],
        string="Send by",
        required=True,
        default="login",
        help="Both ways are tracked alike. Choose the Web API only where the host of Odoo blocks SMTP, because it does "
        "not show the recipients of a message to each other.",
    )
    stale_server_ids = fields.Many2many(
        "ir.mail_server", readonly=True, help="Mail servers of no account that use the API key which was replaced."
    )
    rotates_key = fields.Boolean(readonly=True, help="The dialog only changes the signing key.")
    moves_webhook = fields.Boolean(
        readonly=True, help="The user has agreed that SendGrid's webhook is led to the present address."
    )
    chooses_measured = fields.Boolean(readonly=True, help="The dialog only asks who is measured.")
    asks_measured = fields.Boolean(
        readonly=True,
        help="The dialog asks who is measured, because the account is new or nobody has chosen. Else it only tells.",
    )
    step_ids = fields.One2many("sendgrid.account.connect.step", "connect_id", readonly=True)
    is_done = fields.Boolean(compute="_compute_is_done")

    @api.depends("step_ids.state")
    def _compute_is_done(self):
        for connect in self:
            connect.is_done = connect.step_ids and all(step._is_passed() for step in connect.step_ids)

    @api.model
    def _open(self, account, rotates_key=False, is_started=False, moves_webhook=False, chooses_measured=False):
        """Make a dialog.

        :param account: the `sendgrid.account` to connect, or an empty recordset for a new one
        :param bool rotates_key: only change the signing key
        :param bool is_started: run the steps at once, with what is known of the account
        :param bool moves_webhook: the user has agreed to the webhook's new address
        :param bool chooses_measured: only ask who is measured
        :return: the action that shows the dialog
        """
        is_api = "sendgrid_api" in account.mail_server_ids.mapped("smtp_authentication")
        values = {
            "account_id": account.id,
            "name": account.name,
            "company_id": account.company_id.id,
            "region": account.region,
            "sending": "sendgrid_api" if is_api else "login",
            "rotates_key": rotates_key,
            "moves_webhook": moves_webhook,
            "chooses_measured": chooses_measured,
        }
        connect = self.create(values)
        return connect.action_start() if is_started else connect._reopen()

    def _reopen(self):
        self.ensure_one()
        if self.chooses_measured:
            title = self.env._("Who Is Measured")
        else:
            title = self.env._("New Signing Key") if self.rotates_key else self.env._("Connect SendGrid")
        return {
            "type": "ir.actions.act_window",
            "name": title,
            "res_model": self._name,
            "res_id": self.id,
            "views": [[False, "form"]],
            "target": "new",
        }

    def action_start(self):
        """Make the steps and show them. The dialog in the browser then calls `run_next` for each."""
        self.api_key = (self.api_key or "").strip()
        is_open = not all(self.account_id._get_companies().mapped("sendgrid_unasked"))
        self.asks_measured |= self.chooses_measured or is_open or not self.account_id.connection_date
        names = CHOOSE if self.chooses_measured else ROTATE if self.rotates_key else CONNECT
        states = {"mail": "offered"}  # it runs only if the user asks for it
        self.step_ids = [
            Command.clear(),
            *(Command.create({"name": name, "state": states.get(name, "waiting")}) for name in names),
        ]
        self._mark_next()
        return self._reopen()

    def action_back(self):
        """Show the first page again, so that the user can correct what he entered."""
        self.step_ids = [Command.clear()]
        return self._reopen()

    def action_open_account(self):
        """Show the account."""
        return {
            "type": "ir.actions.act_window",
            "res_model": "sendgrid.account",
            "res_id": self.account_id.id,
            "views": [[False, "form"]],
        }

    def run_next(self):
        """Run the next step in a transaction of its own: each is short, and its result is committed and shown.

        :return: seconds after which the browser calls again, or False when no step is left to run
        """
        self.ensure_one()
        if step := self._mark_next():
            step._run()
        step = self._mark_next()
        return step._get_pause() if step else False

    def _mark_next(self):
        """Return the running step. If there is none, mark the first step that can run as running, and return it."""
        step = self.step_ids.filtered(lambda step: step.state == "running")[:1]
        if not step:
            step = self.step_ids.filtered(lambda step: step.state == "waiting" and step._can_run())[:1]
            step.state = "running"
        return step

    def _get_client(self):
        """Return a `tools.api.client.Client` with the API key that was entered, or else with the account's.

        :raise UserError: if there is no key
        """
        entered = {"name": self.name, "region": self.region, "api_key": self.api_key or self.account_id.api_key}
        return self.env["sendgrid.account"].new(entered)._get_client(patience=5)

    def _save_account(self):
        """Write what the user entered to the account, after SendGrid has accepted the API key.

        The dialog then forgets the key, so that it is stored in one place only.
        """
        values = {"name": self.name, "region": self.region, "company_id": self.company_id.id}
        if self.api_key:
            self.stale_server_ids = self._find_stale_servers()
            values["api_key"] = self.api_key
        if self.account_id:
            self.account_id.write(values)
        else:
            self.account_id = self.account_id.create(values)
        self.api_key = False

    def _find_stale_servers(self):
        """Return the active mail servers of no account whose password is the API key that is about to be replaced."""
        if not (old := self.account_id.api_key) or old == self.api_key:
            return self.stale_server_ids
        servers = self.env["ir.mail_server"].search([("sendgrid_account_id", "=", False)])
        return servers.filtered(lambda server: server.smtp_pass == old and server._uses_sendgrid_relay())
