from dataclasses import replace

from odoo import api, fields, models
from odoo.exceptions import AccessError
from odoo.fields import Domain
from odoo.tools import SQL

from ..tools.events.event import NATURAL_ORDER, StoredEvent, get_rank


class SendgridEvent(models.Model):
    """One interaction with one e-mail, as SendGrid reported it. It has one row, however often it is reported."""

    _name = "sendgrid.event"
    _description = "SendGrid Event"
    _order = "timestamp desc, rank desc, id desc"
    _rec_name = "event"
    _inherit = ["sendgrid.visibility.mixin"]
    _allow_sudo_commands = False

    email_id = fields.Many2one(
        "sendgrid.email",
        string="E-mail",
        readonly=True,
        index="btree_not_null",
        ondelete="cascade",
        help="If it is empty, no e-mail of this database was found for the event.",
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
        help="How the e-mail of the event was found, or why there is none.",
    )
    event = fields.Char(required=True, readonly=True, help="SendGrid's name of the event.")
    timestamp = fields.Datetime(
        string="Time", required=True, readonly=True, help="When it happened, to the second, as SendGrid says."
    )
    rank = fields.Integer(
        string="Order within a Second",
        compute="_compute_rank",
        help="SendGrid tells times to the second. Events of the same second are shown in their natural order.",
    )
    recipient = fields.Char(readonly=True)
    partner_id = fields.Many2one(related="email_id.partner_id", related_sudo=False)
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
    refusal_cause = fields.Selection(
        # The codes are those of `tools.events.refusal.CAUSES`.
        [
            ("address", "Address"),
            ("mailbox", "Mailbox"),
            ("message", "Message"),
            ("sender", "Sender"),
            ("temporary", "Temporary"),
            ("unknown", "Not Known"),
        ],
        string="Refused For",
        readonly=True,
        help="Why the message was refused or not attempted, as the server's code, SendGrid's classification or the "
        "server's words tell. Address: it does not work. Mailbox: full or not available. Message: too large, or not "
        "taken in this form. Sender: your domain, server, content or account is not accepted. Temporary: the server "
        "could not take it then.",
    )
    url = fields.Char(
        string="Full Link",
        readonly=True,
        groups="base.group_system",
        help="The whole link that was followed. Whoever has it may be able to act in the recipient's name.",
    )
    url_offset = fields.Char(
        string="Link Position", readonly=True, help="Where the link stands in the message, such as html:2."
    )
    ip = fields.Char(
        string="IP Address",
        readonly=True,
        help="For an open or click, the address of the recipient's device, or of the service that fetched for him. For "
        "a delivery, the address of the sending server.",
    )
    user_agent = fields.Char(readonly=True)
    asm_group_id = fields.Integer(string="Unsubscribe Group", readonly=True)
    sg_machine_open = fields.Boolean(
        string="Machine Open (SendGrid)", readonly=True, help="SendGrid saw Apple Mail fetch the images in advance."
    )
    verdict = fields.Selection(
        [("human", "Person"), ("machine", "Machine"), ("colleague", "Colleague"), ("unknown", "Cannot be told")],
        readonly=True,
        help="Who opened, clicked or unsubscribed, as far as the event and its neighbours tell. More events can change "
        "it.",
    )
    is_machine = fields.Boolean(
        string="By a Machine",
        readonly=True,
        help="No person did it, so it does not count as opened, clicked or wished.",
    )
    machine_reason = fields.Char(readonly=True)
    is_final = fields.Boolean(
        string="Details Removed",
        readonly=True,
        help="IP address, user agent and the links' queries were removed after the company's period. Without them the "
        "verdict cannot change any more.",
    )
    unread = fields.Char(
        string="Could Not Be Read",
        readonly=True,
        help="SendGrid's names of the fields that the report had and that were not usable, for instance because of "
        "their type. The rest of the report counts. The batch keeps them as they came.",
    )
    answer = fields.Selection(
        # The codes are those of `tools.events.answer`.
        [
            ("own", "From the recipient's address"),
            ("contact", "From another address of the contact"),
            ("alone", "From elsewhere, to the only recipient's e-mail"),
            ("portal", "In the portal"),
            ("other", "Not clear whose it is"),
            ("automatic", "Automatic"),
            ("report", "Report of a mail server"),
            ("mail", "Waiting for its e-mail"),
        ],
        readonly=True,
        help="Of an answer that Odoo got: whose it is. The first four count as the recipient's.",
    )
    answer_message_id = fields.Many2one(
        "mail.message",
        string="Message of the Answer",
        readonly=True,
        index="btree_not_null",
        ondelete="set null",
        groups="base.group_system",
        help="The answer in the chatter, while it exists.",
    )
    sg_event_id = fields.Char(string="SendGrid Event ID", readonly=True)
    sg_message_id = fields.Char(
        string="SendGrid Message ID", readonly=True, help="The part before the first dot: the same for all recipients."
    )
    smtp_id = fields.Char(
        string="Message-ID",
        readonly=True,
        help="It is kept only while no e-mail was found. Otherwise the e-mail has it.",
    )
    odoo_id = fields.Char(string="Message Copy", readonly=True, help="The opaque name that the copy was given here.")
    fingerprint = fields.Char(
        required=True,
        readonly=True,
        help="It is made of what SendGrid says about the interaction, so that two reports of it become one event.",
    )
    source = fields.Selection(
        [
            ("history", "SendGrid's message history"),
            ("suppressions", "SendGrid's list of bounces"),
            ("gateway", "Answers to Odoo"),
        ],
        string="Learned From",
        readonly=True,
        help="Where Odoo asked for the event after the webhook had missed it, or that Odoo itself got it. If it is "
        "empty, the webhook reported it.",
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
    # Privacy Lookup finds documents by their recipient, and with them their events. This finds the others.
    _unmatched_recipient_idx = models.Index("(recipient) WHERE email_id IS NULL")
    # These may name somebody else than their document does: see `tools.events.answer.FROM_ANYWHERE`.
    _answer_recipient_idx = models.Index(
        "(recipient) WHERE answer IN ('contact', 'alone', 'other', 'automatic', 'report')"
    )
    _early_idx = models.Index("(odoo_id) WHERE match = 'early'")
    _refusal_idx = models.Index("(recipient, timestamp) WHERE event IN ('bounce', 'dropped')")
    _sender_refusal_idx = models.Index("(account_id, timestamp) WHERE refusal_cause = 'sender'")
    _unknown_idx = models.Index("(account_id, id) WHERE match = 'unknown'")
    _asked_for_idx = models.Index("(email_id) WHERE source IS NOT NULL")
    # Those few contacts and leads are found where somebody read or answered lately.
    _activity_idx = models.Index(
        "(timestamp, email_id) WHERE event IN ('open', 'click') AND verdict IN ('human', 'unknown') "
        "OR answer IN ('own', 'contact', 'alone', 'portal')"
    )

    @api.model
    def _get_visible_domain(self):
        """Return the domain of the events that the current user may see.

        Everybody who may see an e-mail sees its events. Administrators also see events without an e-mail, if they are
        of an account of their companies.
        """
        domain = self._get_exists_domain("email_id", self.env["sendgrid.email"])
        if self.env.user.has_group("base.group_system"):
            own = Domain("account_id", "in", self.env["sendgrid.account"]._get_ids_of_companies())
            domain |= Domain("email_id", "=", False) & own
        return domain

    # ------------------------------------------------------------
    # ORDER
    # ------------------------------------------------------------

    @api.depends("event")
    def _compute_rank(self):
        for event in self:
            event.rank = get_rank(event.event)

    def _order_field_to_sql(self, alias, field_name, direction, nulls, query):
        """Order by the rank, which is not stored: it would cost each event room, and only breaks ties."""
        if field_name != "rank":
            return super()._order_field_to_sql(alias, field_name, direction, nulls, query)
        rank = SQL(
            "COALESCE(array_position(%s::varchar[], %s), %s)",
            list(NATURAL_ORDER),
            SQL.identifier(alias, "event"),
            len(NATURAL_ORDER) + 1,
        )
        return SQL("%s %s %s", rank, direction, nulls)

    # ------------------------------------------------------------
    # READ
    # ------------------------------------------------------------

    @api.model
    def _read_stored(self, condition, names):
        """Read stored events in the shape that `tools.events` works on, with one query.

        :param condition: SQL that says which events; it names the columns of `sendgrid_event`
        :param names: the attributes of `tools.events.event.StoredEvent` to read; their columns have the same names
        :return: list of `tools.events.event.StoredEvent`; the other attributes have their default values
        """
        self.flush_model()
        self.env.cr.execute(
            SQL(
                "SELECT %s FROM sendgrid_event WHERE %s",
                SQL(", ").join(SQL("%s AS %s", self._to_plain(name), SQL.identifier(name)) for name in names),
                condition,
            )
        )
        return [StoredEvent.of(names, row) for row in self.env.cr.fetchall()]

    @api.model
    def _to_plain(self, name):
        """Return the SQL that turns a column into a value for `tools.events`.

        There, times are Unix seconds (UTC), and an empty text is ``""``, not NULL.
        """
        column = SQL.identifier(name)
        if name == "source":
            return SQL("COALESCE(%s, 'webhook')", column)
        if name == "is_colleague":
            return column  # NULL says that it is not decided
        kind = self._fields[name].type
        if kind == "datetime":
            return SQL("EXTRACT(EPOCH FROM %s)::bigint", column)
        if kind in ("char", "text", "selection"):
            return SQL("COALESCE(%s, '')", column)
        return SQL("COALESCE(%s, FALSE)", column) if kind == "boolean" else column

    def _to_events(self):
        """Return the events for `sendgrid.match`, as a list of `tools.events.event.StoredEvent` in the same order.

        The name of the database that an event carried is not stored. Its match tells whether it was this one's.
        """
        names = ("id", "event", "timestamp", "recipient", "sg_message_id", "smtp_id", "odoo_id")
        stored = {event.id: event for event in self._read_stored(SQL("id = ANY(%s)", self.ids), names)}
        own_db = self.env["sendgrid.email"]._get_odoo_db()
        databases = {"foreign": "another", "unknown": "", "test": ""}
        return [replace(stored[event.id], odoo_db=databases.get(event.match, own_db)) for event in self]

    @api.model
    def _prepare_verdict_vals(self, verdict):
        """Return the values to write for a `tools.events.engagement.Verdict`."""
        return {"verdict": verdict.verdict, "is_machine": verdict.is_machine, "machine_reason": verdict.reason}

    # ------------------------------------------------------------
    # BY HAND
    # ------------------------------------------------------------

    def action_match_again(self):
        """Look once more for the e-mails of events that have none.

        :return: the action that says how many events found their e-mail
        :raise AccessError: if the user is no administrator
        """
        self._check_is_administrator()
        events = self.sudo().with_context(sendgrid_drain=True).filtered(lambda event: not event.email_id)
        Match = self.env["sendgrid.match"].sudo().with_context(sendgrid_drain=True)
        accounts = (event.account_id.id for event in events)
        matches, keys = Match._match(list(zip(accounts, events._to_events(), strict=True)))
        emails = events.email_id
        for event, (match, document) in zip(events, matches, strict=True):
            if document:
                event.write({"email_id": document.id, "match": match, "smtp_id": False})
                emails |= event.email_id
        emails |= Match._match_by_keys(keys)
        # What was deleted has not found its e-mail either.
        self.env["sendgrid.reduction"]._reduce_attached(emails.ids)
        events = events.exists()
        emails._refresh_state()
        emails._notify_changed()
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {
                "type": "success" if events.email_id else "info",
                "message": self.env._(
                    "Events that found their e-mail: %(found)s of %(count)s.",
                    found=len(events.filtered("email_id")),
                    count=len(self),
                ),
                "next": {"type": "ir.actions.act_window_close"},
            },
        }

    def _attach_by_hand(self, email):
        """Attach those of the events that have no e-mail to one, because an administrator says that they belong to it.

        :param email: `sendgrid.email` record
        :raise AccessError: if the user is no administrator
        """
        self._check_is_administrator()
        events = self.sudo().with_context(sendgrid_drain=True).filtered(lambda event: not event.email_id)
        events.write({"email_id": email.id, "match": "attached"})
        emails = events.email_id
        self.env["sendgrid.reduction"].sudo()._reduce_attached(emails.ids)
        emails._refresh_state()
        emails._notify_changed()

    def _check_is_administrator(self):
        if not self.env.user.has_group("base.group_system"):
            raise AccessError(self.env._("Only administrators can say which e-mail an event belongs to."))
