from odoo import api, fields, models

from .durations import describe_time

# {finding: the address of the list that shows what it is about, see `sendgrid_account_lists`}
PAGES = {
    "failed": "sendgrid-account-failed",
    "refused": "sendgrid-account-refused-for-sender",
    **dict.fromkeys(("unsigned", "age", "body", "key"), "sendgrid-account-refused"),
    **dict.fromkeys(("compared_partly", "not_compared"), "sendgrid-account-comparisons"),
}
# The findings about which an administrator has to choose who is measured.
CHOICES = {"measuring_open"}
# The findings that connecting again mends.
CONNECTS = {
    *("silent_no_key", "no_key", "key_none", "key_refused", "key_cannot_send"),
    *("webhook_gone", "webhook_disabled", "webhook_unsigned", "webhook_key", "webhook_partial"),
}


class SendgridAccountCheck(models.Model):
    """The result of the last check of one subject of an account, such as its API key.

    It is not stored on the account: each new event or document references the account's row, and a write to that row
    would conflict with them.
    """

    _name = "sendgrid.account.check"
    _description = "Health Check of a SendGrid Account"
    _order = "id"
    _rec_name = "subject"
    _allow_sudo_commands = False

    account_id = fields.Many2one("sendgrid.account", required=True, readonly=True, ondelete="cascade")
    subject = fields.Selection(
        [
            ("arrivals", "Events Arrive"),
            ("signatures", "Signatures"),
            ("batches", "Processing"),
            ("refusals", "Sender Accepted"),
            ("key", "API Key"),
            ("webhook", "Webhook"),
            ("place", "Database"),
            ("clock", "Clock"),
            ("suppressions", "Suppressions"),
            ("measuring", "Consent"),
        ],
        string="Check",
        required=True,
        readonly=True,
    )
    state = fields.Selection(
        [("ok", "Well"), ("unknown", "Not Known"), ("warning", "To Look At"), ("problem", "Problem")],
        required=True,
        readonly=True,
        help="An activity tells the administrators of a problem.",
    )
    finding = fields.Char(
        string="Finding Code", required=True, readonly=True, help="The finding as a code; the message explains it."
    )
    detail = fields.Char(readonly=True, help="Numbers, a time (UTC) or others' words, which the message contains.")
    message = fields.Char(
        compute="_compute_message", string="Finding", help="Says what the check found, and what to do about it."
    )
    date = fields.Datetime(string="Checked", required=True, readonly=True)
    since = fields.Datetime(required=True, readonly=True, help="Each check since then has found the same.")

    can_open = fields.Boolean(compute="_compute_can_open", help="Odoo has a page about the finding.")

    _account_subject_uniq = models.UniqueIndex("(account_id, subject)", "The account has this check already.")

    @api.depends("finding", "detail")
    @api.depends_context("lang", "tz")
    def _compute_message(self):
        messages = self._get_messages()
        for check in self:
            if check.finding == "refused":
                fault, *values = (check.detail or "").split(" ", 3)
                message = messages.get(f"refused_{fault}", check.finding)
                for name, value in zip(("{hour}", "{day}", "{words}"), values, strict=False):
                    message = message.replace(name, value)
                check.message = message
            else:
                detail = check.detail or ""
                if check.finding == "silent":
                    # An earlier version wrote more than the time.
                    detail = describe_time(self.env, fields.Datetime.to_datetime(detail[:19]))
                check.message = messages.get(check.finding, check.finding).replace("{}", detail)

    @api.depends("finding")
    def _compute_can_open(self):
        for check in self:
            check.can_open = check.finding in (*PAGES, *CONNECTS, *CHOICES, "stuck")

    def action_open(self):
        """Open the page on which the finding can be looked at or mended, also one that has no menu for everybody."""
        self.ensure_one()
        if self.finding in CONNECTS:
            return self.account_id.action_connect()
        if self.finding in CHOICES:
            return self.account_id.action_choose_measured()
        if self.finding == "stuck":
            return {
                "type": "ir.actions.act_window",
                "res_model": "ir.cron",
                "res_id": self.env.ref("sendgrid_tracking.ir_cron_drain").id,
                "views": [[False, "form"]],
            }
        return self.finding in PAGES and self.account_id._get_list_action(PAGES[self.finding])

    @api.model
    def _get_messages(self):
        """Return the message for each finding.

        :return: {finding: message}; ``{}`` in a message stands for the check's detail. The finding ``refused`` has a
            message for each fault, in which ``{hour}``, ``{day}`` and ``{words}`` stand for the other parts of the
            detail.
        """
        refused = (
            self.env._(
                "E-mails were refused because of the sender, not of the addresses: {hour} in the last hour, {day} "
                "within a day. Most often: “{words}”."
            )
            + " "
        )
        cause = self.env._("POSTs were refused within the hour: {}.") + " "
        return {
            "arriving": self.env._("Events come back for what is sent."),
            "quiet": self.env._("No e-mail waits for its events."),
            "silent": self.env._(
                "E-mails have gone out, and for an hour or longer no event has come back: {} was the first. See below "
                "whether the webhook is in order; if it is, SendGrid cannot reach this server."
            ),
            "silent_no_key": self.env._(
                "E-mails go out, but the account has no verification key: every event is refused. Connect it again."
            ),
            "signed": self.env._("No event was refused within the hour."),
            "unsigned": cause
            + self.env._(
                "They carry no signature: switch the Signed Event Webhook on at SendGrid, or let your proxy pass its "
                "headers on. Nothing is lost if that is mended within 24 hours."
            ),
            "no_key": cause
            + self.env._("The account has no verification key. Nothing is lost if it is entered within 24 hours."),
            "age": cause
            + self.env._(
                "They were signed too long ago, or the clocks differ. Set this server's clock, or accept any age."
            ),
            "body": cause
            + self.env._(
                "Most likely a proxy or firewall changes the body on its way: it has to pass the webhook's address on "
                "byte for byte, unread and not compressed. Nothing is lost if that is mended within 24 hours."
            ),
            "key": cause
            + self.env._(
                "Most likely SendGrid signs with another key than the one stored here: connect the account again, or "
                "copy the verification key anew. Nothing is lost if that is mended within 24 hours."
            ),
            "sender_accepted": self.env._("No e-mail was refused because of the sender within a day."),
            "refused_authentication": refused
            + self.env._(
                "Receivers cannot tell that the e-mails are yours: authenticate the domain at SendGrid (Settings > "
                "Sender Authentication), and look whether its SPF, DKIM and DMARC records can be read."
            ),
            "refused_content": refused
            + self.env._(
                "Receivers, or SendGrid, take what was sent for spam or for dangerous: look at its text, links and "
                "attachments."
            ),
            "refused_reputation": refused
            + self.env._(
                "Receivers do not trust the sending server or domain: see SendGrid's statistics for its reputation, "
                "authenticate the domain there, and send less at once."
            ),
            "refused_quota": refused
            + self.env._("The account may send no more: look at the plan's limit at SendGrid."),
            "refused_header": refused
            + self.env._(
                "The technical settings of the e-mails (header X-SMTPAPI) were broken: look which module writes them."
            ),
            "processed": self.env._("What was received is processed."),
            "stuck": self.env._(
                "Received events have waited for {} min. Look whether the scheduled action “SendGrid: process "
                "received events” is active, and whether this server runs scheduled actions."
            ),
            "failed": self.env._(
                "Batches could not be processed ({}): open them, read the reason, and process them again or set them "
                "aside."
            ),
            "key_valid": self.env._("SendGrid accepts the key, and it may send."),
            "key_none": self.env._("No API key is stored here: SendGrid cannot be asked."),
            "key_refused": self.env._(
                "SendGrid refuses the API key: it was deleted or replaced there. Create a new one and connect again."
            ),
            "key_cannot_send": self.env._("The API key may not send (permission mail.send is missing)."),
            "no_answer": self.env._("Could not be checked: {}"),
            "webhook_ready": self.env._("Switched on, signed with our key, and leads here."),
            "webhook_unknown": self.env._("Without a valid API key nobody can tell."),
            "webhook_unreadable": self.env._(
                "The API key may not read the webhook's settings (permission user.webhooks.event.settings.read)."
            ),
            "webhook_gone": self.env._(
                "SendGrid has no webhook that leads here: it was deleted or given another address. Connect again."
            ),
            "webhook_detour": self.env._(
                "SendGrid has no webhook with the address shown here, though events arrive: maybe over another server."
            ),
            "webhook_address": self.env._(
                "It leads to {}, which is not the address shown here. Events arrive as long as that one leads here too."
            ),
            "webhook_disabled": self.env._("It is switched off at SendGrid: no event comes. Connect again."),
            "webhook_unsigned": self.env._(
                "Its signature is switched off at SendGrid, so that every event is refused. Connect again."
            ),
            "webhook_key": self.env._(
                "SendGrid signs with another key than the one stored here, so that events are refused. Connect again."
            ),
            "webhook_partial": self.env._("It does not report everything: {} is switched off. Connect again."),
            "place_known": self.env._("This is the database from which the account was connected."),
            "place_none": self.env._("Nobody has connected the account with an API key."),
            "place_other": self.env._(
                "The account was connected from another database: {}. Nothing is changed at SendGrid, and jobs wait, "
                "until an administrator says on the account that this is the production database."
            ),
            "place_address": self.env._(
                "The account was connected from another address: {}. Nothing is changed at SendGrid, and jobs wait, "
                "until an administrator says on the account that this is the production database."
            ),
            "clock_right": self.env._("This server's clock agrees with SendGrid's."),
            "clock_wrong": self.env._(
                "This server's clock and SendGrid's differ by {} s: times shown are not right. Let a time "
                "service (NTP) set it."
            ),
            "compared": self.env._("SendGrid's lists of suppressed addresses were read."),
            "compared_partly": self.env._(
                "SendGrid's lists of suppressed addresses were read, but again not all of them in full. Who is off the "
                "list there is not noticed. {}"
            ),
            "not_compared": self.env._("SendGrid's lists of suppressed addresses could not be read: {}"),
            "clock_unknown": self.env._("Compared when SendGrid answers."),
            "measuring_chosen": self.env._("Somebody has chosen whether who was not asked is measured."),
            "measuring_open": self.env._(
                "Nobody has chosen for {} whether recipients who were not asked are measured. Until then all of them "
                "are, as before. Some countries ask for their consent first."
            ),
        }

    @api.model
    def _note(self, account, findings):
        """Store the results of checks of an account.

        :param account: `sendgrid.account` record
        :param findings: {subject: (state, finding, detail or None)}; other subjects keep their result
        :return: (whether the warnings have to be updated, because a finding or the detail of a problem differs from the
            one before; whether a problem is new)
        """
        now = fields.Datetime.now()
        known = {check.subject: check for check in self.search([("account_id", "=", account.id)])}
        is_changed = has_new = False
        for subject, (state, finding, detail) in findings.items():
            values = {"state": state, "finding": finding, "detail": detail or False, "date": now}
            check = known.get(subject)
            if not check or (check.state, check.finding) != (state, finding):
                values["since"] = now
                is_changed = True
                has_new |= state == "problem"
            elif state == "problem" and check.detail != values["detail"]:
                # The warnings shall say the present numbers. It is the same problem, so nobody is warned anew.
                is_changed = True
            if check:
                check.write(values)
            else:
                self.create({"account_id": account.id, "subject": subject, **values})
        account.invalidate_recordset(["check_ids"])
        return is_changed, has_new
