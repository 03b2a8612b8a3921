from dataclasses import replace

from odoo import api, fields, models
from odoo.exceptions import AccessError
from odoo.fields import Domain
from odoo.tools import SQL

from ..tools.events.event import StoredEvent


class SendgridEvent(models.Model):
    """One interaction with one e-mail, as SendGrid reported it. One row, however often it is reported."""

    _name = "sendgrid.event"
    _description = "SendGrid Event"
    _order = "timestamp desc, id desc"
    _rec_name = "event"
    _inherit = ["sendgrid.visibility.mixin"]
    _allow_sudo_commands = False

    email_id = fields.Many2one(
        "sendgrid.email",
        string="E-mail",
        readonly=True,
        index="btree_not_null",
        ondelete="set null",
        help="Empty: no e-mail of this database was found for the event.",
    )
    account_id = fields.Many2one(
        "sendgrid.account", readonly=True, required=True, ondelete="restrict", groups="base.group_system"
    )
    match = fields.Selection(
        [
            ("odoo_id", "Exact (our identifier)"),
            ("sg_message_id", "Exact (SendGrid's message)"),
            ("smtp_id", "Exact (Message-ID)"),
            ("address", "Probable (address and time)"),
            ("attached", "Attached by hand"),
            ("own", "Added by Odoo"),
            ("early", "Waiting for its e-mail"),
            ("gone", "Its e-mail is gone"),
            ("untracked", "Recipient is not tracked"),
            ("foreign", "Another database"),
            ("unknown", "Not sent by Odoo"),
            ("test", "SendGrid's own test"),
            ("account", "About the account"),
        ],
        required=True,
        readonly=True,
        help="By what the e-mail of the event was found, or why there is none.",
    )
    event = fields.Char(required=True, readonly=True, help="SendGrid's name of the event.")
    timestamp = fields.Datetime(
        string="Time", required=True, readonly=True, help="When it happened, to the second, as SendGrid says."
    )
    recipient = fields.Char(readonly=True)
    partner_id = fields.Many2one(
        "res.partner", string="Contact", readonly=True, index="btree_not_null", ondelete="set null"
    )
    reason = fields.Text(readonly=True, help="Why the message was refused or not attempted.")
    response = fields.Text(readonly=True, help="What the recipient's server answered.")
    smtp_status = fields.Char(string="SMTP Status", readonly=True, help="The enhanced status code, such as 5.1.1.")
    attempt = fields.Integer(readonly=True, help="How many times delivery had been tried before.")
    bounce_type = fields.Char(
        readonly=True,
        help="bounce: the address does not exist or refuses for good. blocked: this message was refused, the address "
        "may be fine. expired: not delivered within 72 hours.",
    )
    bounce_classification = fields.Char(readonly=True, help="What kind of refusal SendGrid takes it for.")
    url = fields.Char(
        string="Full Link",
        readonly=True,
        groups="base.group_system",
        help="The link that was followed, whole: with it one may be able to act in the recipient's name.",
    )
    url_offset = fields.Char(string="Link Position", readonly=True, help="Which link of the message, such as html:2.")
    ip = fields.Char(
        string="IP Address",
        readonly=True,
        help="Of an open or click: where the recipient's device, or the service that fetched for him, called from. Of "
        "a delivery: the sending server.",
    )
    user_agent = fields.Char(readonly=True)
    asm_group_id = fields.Integer(string="Unsubscribe Group", readonly=True)
    sg_machine_open = fields.Boolean(
        string="Machine Open (SendGrid)", readonly=True, help="SendGrid saw Apple Mail fetch the images in advance."
    )
    verdict = fields.Selection(
        [("human", "Person"), ("machine", "Machine"), ("unknown", "Cannot be told")],
        readonly=True,
        help="Who opened or clicked, as far as the event and its neighbours tell. More events can change it.",
    )
    is_machine = fields.Boolean(
        string="By a Machine", readonly=True, help="Not a person's doing: it does not count as opened or clicked."
    )
    machine_reason = fields.Char(readonly=True)
    is_final = fields.Boolean(
        string="Details Removed",
        readonly=True,
        help="Address, agent and the links' queries were removed after the company's period: the verdict is final.",
    )
    sg_event_id = fields.Char(string="SendGrid Event ID", readonly=True)
    sg_message_id = fields.Char(
        string="SendGrid Message ID", readonly=True, help="The part before the first dot: the same for all recipients."
    )
    smtp_id = fields.Char(
        string="Message-ID", readonly=True, help="Kept only while no e-mail was found: its e-mail has it otherwise."
    )
    odoo_id = fields.Char(string="Message Copy", readonly=True, help="The opaque name that the copy was given here.")
    fingerprint = fields.Char(
        required=True,
        readonly=True,
        help="Names the interaction by what is said about it: what is reported twice is one event.",
    )
    source = fields.Selection(
        [("history", "SendGrid's message history"), ("suppressions", "SendGrid's list of bounces")],
        string="Learned From",
        readonly=True,
        help="Where the event was asked for, after the webhook had missed it. Empty: the webhook told it.",
    )
    batch_id = fields.Many2one(
        "sendgrid.event.batch",
        readonly=True,
        index="btree_not_null",
        ondelete="set null",
        groups="base.group_system",
    )

    _fingerprint_uniq = models.UniqueIndex("(fingerprint)", "This event is known already.")
    _unmatched_idx = models.Index("(sg_message_id) WHERE email_id IS NULL")
    _early_idx = models.Index("(odoo_id) WHERE match = 'early'")
    _asked_for_idx = models.Index("(email_id) WHERE source IS NOT NULL")

    @api.model
    def _get_visible_domain(self):
        """Whoever may see the e-mail sees its events; those of no e-mail are for the administrators of the account's
        company."""
        domain = self._get_exists_domain("email_id", self.env["sendgrid.email"])
        if self.env.user.has_group("base.group_system"):
            own = Domain("account_id", "in", self.env["sendgrid.account"]._get_ids_of_companies())
            domain |= Domain("email_id", "=", False) & own
        return domain

    # ------------------------------------------------------------
    # READ
    # ------------------------------------------------------------

    @api.model
    def _read_stored(self, condition, names):
        """Return stored events in the shape that `tools.events` works on: one query, nothing that is not asked for.

        :param condition: SQL on the columns of `sendgrid.event`
        :param names: attributes of `tools.events.event.StoredEvent`, which are called as their columns
        :return: list of `tools.events.event.StoredEvent`
        """
        self.flush_model()
        self.env.cr.execute(
            SQL(
                "SELECT %s FROM sendgrid_event WHERE %s",
                SQL(", ").join(SQL("%s AS %s", self._to_plain(name), SQL.identifier(name)) for name in names),
                condition,
            )
        )
        return [StoredEvent(**row) for row in self.env.cr.dictfetchall()]

    @api.model
    def _to_plain(self, name):
        """Return the SQL of a column as `tools.events` has it: Unix seconds, and no NULL where nothing is a word."""
        column = SQL.identifier(name)
        if name == "source":
            return SQL("COALESCE(%s, 'webhook')", column)
        kind = self._fields[name].type
        if kind == "datetime":
            return SQL("EXTRACT(EPOCH FROM %s)::bigint", column)
        if kind in ("char", "text", "selection"):
            return SQL("COALESCE(%s, '')", column)
        return SQL("COALESCE(%s, FALSE)", column) if kind == "boolean" else column

    def _to_events(self):
        """Return the events as far as matching needs them. Which database each named, only its match still tells."""
        names = ("id", "event", "timestamp", "recipient", "sg_message_id", "smtp_id", "odoo_id")
        stored = {event.id: event for event in self._read_stored(SQL("id = ANY(%s)", self.ids), names)}
        own_db = self.env["sendgrid.email"]._get_odoo_db()
        databases = {"foreign": "another", "unknown": "", "test": ""}
        return [replace(stored[event.id], odoo_db=databases.get(event.match, own_db)) for event in self]

    @api.model
    def _prepare_verdict_vals(self, verdict):
        return {"verdict": verdict.verdict, "is_machine": verdict.is_machine, "machine_reason": verdict.reason}

    # ------------------------------------------------------------
    # BY HAND
    # ------------------------------------------------------------

    def action_match_again(self):
        """Look once more for the e-mails of unmatched events."""
        self._check_is_administrator()
        events = self.sudo().with_context(sendgrid_drain=True).filtered(lambda event: not event.email_id)
        Match = self.env["sendgrid.match"].sudo().with_context(sendgrid_drain=True)
        accounts = (event.account_id.id for event in events)
        matches, keys = Match._match(list(zip(accounts, events._to_events(), strict=True)))
        emails = events.email_id
        for event, (match, document) in zip(events, matches, strict=True):
            if document:
                event.write(
                    {"email_id": document.id, "partner_id": document.partner_id, "match": match, "smtp_id": False}
                )
                emails |= event.email_id
        emails |= Match._match_by_keys(keys)
        emails._refresh_state()
        emails._notify_changed()
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {
                "type": "success" if events.email_id else "info",
                "message": self.env._(
                    "%(found)s of %(count)s events found their e-mail.",
                    found=len(events.filtered("email_id")),
                    count=len(events),
                ),
                "next": {"type": "ir.actions.act_window_close"},
            },
        }

    def _attach_by_hand(self, email):
        """Give unmatched events to an e-mail, on an administrator's word.

        :param email: `sendgrid.email` record
        """
        self._check_is_administrator()
        events = self.sudo().with_context(sendgrid_drain=True).filtered(lambda event: not event.email_id)
        events.write({"email_id": email.id, "partner_id": email.sudo().partner_id.id, "match": "attached"})
        events.email_id._refresh_state()
        events.email_id._notify_changed()

    def _check_is_administrator(self):
        if not self.env.user.has_group("base.group_system"):
            raise AccessError(self.env._("Only administrators can say which e-mail an event belongs to."))
