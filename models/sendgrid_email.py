import functools
import json
import logging
from collections import defaultdict
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

import psycopg2
from markupsafe import Markup

from odoo import SUPERUSER_ID, api, fields, models
from odoo.exceptions import AccessError, UserError
from odoo.fields import Domain
from odoo.tools import SQL, html_sanitize, is_html_empty

from ..tools.events.event import ENGAGEMENT_EVENTS
from ..tools.events.fold import EXPIRED, FAILURES, fold
from ..tools.sending import links
from .undoable import TRY_LATER

_logger = logging.getLogger(__name__)

# SendGrid tries for 72 hours, and does not always say that it stopped (Twilio docs: deferred messages).
TRIES_FOR = timedelta(hours=72)
EXPIRE_AT_ONCE = 1000
# A bounce that comes back with nothing but an address belongs to a recent e-mail.
PROBABLE_WITHIN = timedelta(days=5)


class Copy(NamedTuple):
    """The document of one recipient, as far as matching needs it."""

    id: int
    odoo_id: str
    recipient: str
    is_alone: bool
    partner_id: int | None
    sg_message_id: str | None


class StoredEvent(NamedTuple):
    """An event as the fold reads it; the names are those of `tools.events.event.Event`."""

    id: int
    email_id: int
    fingerprint: str
    event: str
    timestamp: int
    reason: str | None
    response: str | None
    smtp_status: str
    bounce_type: str | None
    asm_group_id: int | None
    sg_machine_open: bool
    url: str | None
    url_offset: str | None
    user_agent: str | None
    verdict: str | None
    machine_reason: str | None
    is_final: bool


class SendgridEmail(models.Model):
    """The email document: one message copy to one recipient, and what became of it.

    It outlives the `mail.mail`, which Odoo deletes once sent. Its status, dates and counts are what the set of its
    events adds up to (`tools.events.fold`), whatever their order.
    """

    _name = "sendgrid.email"
    _description = "Tracked E-mail"
    _inherit = ["sendgrid.visibility.mixin"]
    _order = "sent_date desc, id desc"
    _rec_name = "subject"
    _allow_sudo_commands = False

    # What was sent
    odoo_id = fields.Char(
        string="Message Copy",
        required=True,
        readonly=True,
        help="The opaque name of the message copy, which SendGrid repeats in each event.",
    )
    account_id = fields.Many2one(
        "sendgrid.account", required=True, readonly=True, ondelete="restrict", groups="base.group_system"
    )
    mail_message_id = fields.Many2one(
        "mail.message",
        string="Message",
        readonly=True,
        index="btree_not_null",
        ondelete="set null",
        help="The message in the chatter, while it exists.",
    )
    mail_id = fields.Many2one(
        "mail.mail",
        readonly=True,
        index="btree_not_null",
        ondelete="set null",
        groups="base.group_system",
        help="The outgoing mail, while it exists: Odoo deletes most of them once sent.",
    )
    message_id = fields.Char(string="Message-ID", readonly=True, index="btree_not_null")
    sg_message_id = fields.Char(
        string="SendGrid Message ID",
        readonly=True,
        index="btree_not_null",
        help="SendGrid's name of the message, as far as it is the same for all recipients. To quote to its support.",
    )
    partner_id = fields.Many2one(
        "res.partner", string="Contact", readonly=True, index="btree_not_null", ondelete="set null"
    )
    recipient = fields.Char(string="To", required=True, readonly=True, help="The address that the e-mail was sent to.")
    is_alone = fields.Boolean(
        string="Only Recipient",
        readonly=True,
        default=True,
        help="The copy went to nobody else: its events are this recipient's, whatever address they name.",
    )
    author_id = fields.Many2one(
        "res.partner", string="From", readonly=True, index="btree_not_null", ondelete="set null"
    )
    subject = fields.Char(readonly=True)
    body = fields.Text(
        string="Source",
        readonly=True,
        groups="base.group_system",
        help="The HTML of the content as it was sent, kept here only if it is kept nowhere else: see Content.",
    )
    sent_date = fields.Datetime(
        string="Sent", required=True, readonly=True, help="When SendGrid accepted the e-mail from Odoo."
    )
    model = fields.Char(string="Record Model", readonly=True)
    res_id = fields.Many2oneReference(string="Record ID", model_field="model", readonly=True)
    mailing_res_id = fields.Integer(
        string="Mailing ID", readonly=True, help="The mass mailing that the e-mail belongs to, which has its content."
    )

    # What became of it
    status = fields.Selection(
        # Weakest to strongest, as in `tools.events.fold.STATUSES`.
        [
            ("sent", "Sent"),
            ("processed", "Processed"),
            ("deferred", "Deferred"),
            ("delivered", "Delivered"),
            ("opened", "Opened"),
            ("clicked", "Clicked"),
            ("blocked", "Blocked"),
            ("dropped", "Dropped"),
            ("bounced", "Bounced"),
            ("unsubscribed", "Unsubscribed"),
            ("spam", "Reported as Spam"),
        ],
        required=True,
        readonly=True,
        default="sent",
        help="The strongest of what happened to the e-mail.",
    )
    status_reason = fields.Text(
        string="Reason", readonly=True, help="What the recipient's server or SendGrid said about the refusal or delay."
    )
    processed_date = fields.Datetime(string="Processed", readonly=True, help="When SendGrid began to work on it.")
    delivered_date = fields.Datetime(string="Delivered", readonly=True, help="When the recipient's server took it.")
    first_open_date = fields.Datetime(string="First Opened", readonly=True)
    last_open_date = fields.Datetime(string="Last Opened", readonly=True)
    open_count = fields.Integer(string="Opens", readonly=True, help="By people: fetches by machines are not counted.")
    click_count = fields.Integer(
        string="Clicks", readonly=True, help="By people: link checks by machines are not counted."
    )
    machine_open_count = fields.Integer(
        string="Machine Opens",
        readonly=True,
        help="Mail programs and security scanners fetch the images of an e-mail in advance.",
    )
    machine_click_count = fields.Integer(
        string="Machine Clicks", readonly=True, help="Security scanners follow the links of an e-mail."
    )
    event_ids = fields.One2many("sendgrid.event", "email_id", string="Tracking", readonly=True)
    facts = fields.Json(
        readonly=True, groups="base.group_system", help="All that is true of the e-mail, and has had its consequences."
    )

    # What followed from it
    failed_facts = fields.Json(readonly=True, groups="base.group_system", help="The facts whose consequences failed.")
    consequence_error = fields.Text(
        string="Failed Consequence",
        readonly=True,
        groups="base.group_system",
        help="Why Odoo could not act on what happened to the e-mail. It can be run again.",
    )
    is_blacklisted_by_group = fields.Boolean(
        readonly=True,
        groups="base.group_system",
        help="The address was blacklisted when its owner left an unsubscribe group through this e-mail.",
    )

    # What is shown of it
    content = fields.Html(
        compute="_compute_content", compute_sudo=True, sanitize=False, help="The e-mail as it was sent."
    )
    attachment_ids = fields.Many2many("ir.attachment", string="Attachments", compute="_compute_attachment_ids")
    resource_ref = fields.Reference(
        string="Record",
        selection="_selection_resource_ref",
        compute="_compute_resource_ref",
        help="What the e-mail is about.",
    )
    journey = fields.Json(compute="_compute_journey", help="The way the e-mail went, step by step.")
    engagement_summary = fields.Char(
        string="Engagement",
        compute="_compute_engagement_summary",
        help="How often it was opened and clicked, in words.",
    )

    _odoo_id_recipient_uniq = models.UniqueIndex(
        "(odoo_id, recipient)", "This message copy has a document for this recipient already."
    )
    _recipient_idx = models.Index("(recipient, sent_date DESC)")
    _model_res_id_idx = models.Index("(model, res_id)")
    _deferred_idx = models.Index("(id) WHERE status = 'deferred'")
    _sent_date_idx = models.Index("(sent_date DESC, id DESC)")

    @api.model
    def _selection_resource_ref(self):
        return [(model.model, model.name) for model in self.env["ir.model"].sudo().search([("transient", "=", False)])]

    @api.depends("subject", "recipient")
    def _compute_display_name(self):
        for email in self:
            email.display_name = email.subject or self.env._("E-mail to %s", email.recipient)

    @api.depends("body", "mail_message_id", "mailing_res_id")
    def _compute_content(self):
        for email in self:
            # Here and not when it is sent: most e-mails are never looked at.
            content = html_sanitize(email.body or "", sanitize_attributes=False, sanitize_style=True)
            content = content or email.mail_message_id.body
            if not content and email.mailing_res_id and "mailing.mailing" in self.env:
                content = self.env["mailing.mailing"].browse(email.mailing_res_id).exists().body_html
            email.content = content

    @api.depends("mail_message_id")
    @api.depends_context("uid")
    def _compute_attachment_ids(self):
        for email in self:
            attachments = email.sudo().mail_message_id.attachment_ids.sudo(False)
            email.attachment_ids = attachments._filtered_access("read")

    @api.depends("model", "res_id")
    @api.depends_context("uid")
    def _compute_resource_ref(self):
        self.resource_ref = False
        by_model = defaultdict(self.browse)
        for email in self:
            if email.model in self.env and email.res_id:
                by_model[email.model] |= email
        for model, emails in by_model.items():
            records = self.env[model].browse(emails.mapped("res_id")).exists()
            readable = set(records._filtered_access("read").ids)
            for email in emails:
                if email.res_id in readable:
                    email.resource_ref = f"{model},{email.res_id}"

    @api.depends("status", "event_ids")
    def _compute_journey(self):
        """Say for each step of the way whether the e-mail came there, and when (UTC). A failure stands in its place."""
        labels = dict(self._fields["status"]._description_selection(self.env))
        for email in self:
            steps = [
                ("sent", email.sent_date),
                ("processed", email.processed_date),
                ("delivered", email.delivered_date),
                ("opened", email.first_open_date),
                ("clicked", min(email._get_people_clicks().mapped("timestamp"), default=None)),
            ]
            journey = [
                {
                    "status": status,
                    "label": labels[status],
                    "date": fields.Datetime.to_string(date) or False,
                    "state": "done" if date else "open",
                }
                for status, date in steps
            ]
            email.journey = email._add_failure(journey, labels)

    def _get_people_clicks(self):
        return self.event_ids.filtered(lambda event: event.event == "click" and not event.is_machine)

    def _add_failure(self, journey, labels):
        """Put what went wrong, or is in the way, behind the last step that the e-mail reached."""
        if self.status in ("sent", "processed", "delivered", "opened", "clicked"):
            last = max(index for index, step in enumerate(journey) if step["state"] == "done")
            for step in journey[:last]:
                step["state"] = "done"
            return journey
        names = {
            "deferred": ("deferred",),
            "blocked": ("bounce",),
            "dropped": ("dropped",),
            "bounced": ("bounce",),
            "unsubscribed": ("unsubscribe", "group_unsubscribe"),
            "spam": ("spamreport",),
        }[self.status]
        dates = self.event_ids.filtered(lambda event: event.event in names).mapped("timestamp")
        wrong = {
            "status": self.status,
            "label": labels[self.status],
            "date": fields.Datetime.to_string(max(dates, default=None)) or False,
            "state": "waiting" if self.status == "deferred" else "failed",
        }
        # What opened a refused e-mail was a scanner on the way: the recipient's side of it was never reached.
        passed = ("opened", "clicked") if self.status in FAILURES else ()
        reached = [step for step in journey if step["state"] == "done" and step["status"] not in passed]
        # What was refused goes no further; what is being retried may, and who complained has had it.
        ahead = [step for step in journey if step["state"] == "open"] if self.status == "deferred" else []
        return reached + [wrong] + ahead

    # ------------------------------------------------------------
    # ACCESS
    # ------------------------------------------------------------

    @api.model
    def _get_visible_domain(self):
        """The author sees an e-mail, and whoever may read the record it is about. Administrators also see what is about
        no record, or about one that is gone, if it went through an account of their companies."""
        user = self.env.user
        is_admin = user.has_group("base.group_system")
        domain = Domain("author_id", "=", user.partner_id.id)
        # Accounts are few, so that this is a list of ids.
        own = Domain("account_id", "in", self.env["sendgrid.account"]._get_ids_of_companies()) if is_admin else None
        if is_admin:
            domain |= own & (Domain("model", "=", False) | Domain("res_id", "in", [False, 0]))
        for name in self._get_models_in_use():
            about = Domain("model", "=", name)
            Model = self.env.get(name)
            has_records = Model is not None and Model._auto
            if has_records:
                Model = Model.with_context(active_test=False)
                if Model.has_access("read"):
                    domain |= self._get_exists_domain("res_id", Model, "model")
            if is_admin:
                domain |= own & (
                    about & ~self._get_exists_domain("res_id", Model.sudo(), "model") if has_records else about
                )
        return domain

    @api.model
    def _get_models_in_use(self):
        """Return the names of the models that e-mails are about: some index look-ups, however many e-mails."""
        self.flush_model(["model"])
        rows = self.env.execute_query(
            SQL(
                """WITH RECURSIVE used AS (
                       (SELECT model FROM sendgrid_email WHERE model IS NOT NULL ORDER BY model LIMIT 1)
                       UNION ALL
                       SELECT (SELECT email.model FROM sendgrid_email email
                                WHERE email.model > used.model ORDER BY email.model LIMIT 1)
                         FROM used WHERE used.model IS NOT NULL
                   )
                   SELECT model FROM used WHERE model IS NOT NULL"""
            )
        )
        return [model for (model,) in rows]

    # ------------------------------------------------------------
    # RECORD WHAT WAS SENT
    # ------------------------------------------------------------

    @api.model
    def _get_odoo_db(self):
        """Return the opaque name of this database: events of another one that shares the account carry another."""
        return self.env["ir.config_parameter"].sudo().get_param("database.uuid")

    @api.model
    def _record_sent(self, mail, account_id, copies, success_partners, is_kept=False, is_final=False):
        """Create the documents of the copies of ``mail`` that SendGrid accepted.

        Whatever happens, the transaction must go on: the mail has left, and a rollback would send it again. Documents
        that exist are not touched.

        :param copies: the accepted `tools.sending.outbox.Copy`, in the order of sending
        :param success_partners: the recipients (`res.partner`) whose copies were accepted: the last of ``copies``
        :param is_kept: core keeps the mail, since something of it failed
        :param is_final: the transaction is about to be committed
        """
        if not any(copy.tracked for copy in copies):
            return
        rows = None
        try:
            with self.env.cr.savepoint():
                rows = self._prepare_sent_rows(mail, account_id, copies, success_partners, is_kept)
                self._insert_new(rows)
        except Exception:
            if rows is None:
                _logger.exception("SendGrid: documents of mail %s without their details", mail.id)
                rows = self._prepare_bare_rows(account_id, copies)
            self._write_sent(rows)
        self._keep_over_rollback(rows, is_final)

    @api.model
    def _prepare_bare_rows(self, account_id, copies, about=None):
        """Return the rows of documents of which little more is known than that they left.

        :param about: further columns, the same for all
        """
        now = fields.Datetime.now()
        return [
            {
                **(about or {}),
                "account_id": account_id,
                "odoo_id": copy.odoo_id,
                "message_id": copy.message_id,
                "sg_message_id": copy.sg_message_id,
                "recipient": address,
                "is_alone": len(copy.recipients) == 1,
                "sent_date": now,
                "status": "sent",
                "open_count": 0,
                "click_count": 0,
                "machine_open_count": 0,
                "machine_click_count": 0,
                "create_uid": self.env.uid,
                "create_date": now,
                "write_uid": self.env.uid,
                "write_date": now,
            }
            for copy in copies
            for address in copy.tracked
        ]

    @api.model
    def _write_sent(self, rows):
        attempts = (
            lambda: rows,
            # A copy that had left before has its document, to which the drain may just have written.
            lambda: self._without_known(rows),
            # Or a contact was deleted meanwhile: better a document without it than none.
            lambda: [{**row, **self._no_references(row)} for row in self._without_known(rows)],
        )
        for attempt in attempts:
            try:
                with self.env.cr.savepoint(flush=False):
                    self._insert_new(attempt())
                return
            except psycopg2.Error as error:
                reason = error
        _logger.error("SendGrid: document of message %s not written: %s", rows[0]["message_id"], reason)

    @api.model
    def _without_known(self, rows):
        known = self._get_copies("odoo_id", {row["odoo_id"] for row in rows})
        return [row for row in rows if row["recipient"] not in {copy.recipient for copy in known[row["odoo_id"]]}]

    @api.model
    def _keep_over_rollback(self, rows, is_final):
        """See to it that the documents are there after the transaction, however it ends: the mail has left.

        Core sends a password's link in a savepoint that it always rolls back.
        """
        cr = self.env.cr
        for queue in [cr.postrollback] if is_final else [cr.postrollback, cr.postcommit]:
            # Each mail puts the call off, for an undone rule takes its own back; the first writes for all.
            kept = queue.data.setdefault("sendgrid_tracking.sent", [])
            kept += rows
            queue.add(functools.partial(self._write_lost, self.env.registry, kept))

    @staticmethod
    def _write_lost(registry, kept):
        rows = kept.copy()
        kept.clear()
        if not rows:
            return
        try:
            with registry.cursor() as cr:
                emails = api.Environment(cr, SUPERUSER_ID, {})["sendgrid.email"]
                for row in emails._without_known(rows):
                    # The mail and its message went with the savepoint.
                    emails._write_sent([{**row, "mail_message_id": None, "mail_id": None}])
        except Exception:
            _logger.exception("SendGrid: documents of sent mails not written after a rollback")

    @api.model
    def _no_references(self, row):
        return dict.fromkeys(("mail_message_id", "mail_id", "partner_id", "author_id") & row.keys())

    @api.model
    def _insert_new(self, rows):
        """Insert the rows that are not there yet. In SQL: the ORM knows no ON CONFLICT."""
        if not rows:
            return
        columns = list(rows[0])
        self.env.cr.execute(
            SQL(
                "INSERT INTO sendgrid_email (%s) VALUES %s ON CONFLICT (odoo_id, recipient) DO NOTHING",
                SQL(", ").join(SQL.identifier(column) for column in columns),
                SQL(", ").join(SQL("%s", tuple(row[column] for column in columns)) for row in rows),
            ),
            log_exceptions=False,
        )
        # What a mail knows of its documents is all that can have been read of them.
        self.invalidate_model(["mail_id"], flush=False)

    @api.model
    def _prepare_sent_rows(self, mail, account_id, copies, success_partners, is_kept):
        message = mail.mail_message_id
        # What core is about to delete is not pointed to: setting it to null again would cost a look for each mail.
        is_going = mail.auto_delete and not is_kept
        message_stays = mail.is_notification or not is_going
        mailing = mail.mailing_id if "mailing_id" in mail._fields else None
        about = {
            "mail_message_id": (message_stays and message.id) or None,
            "mail_id": None if is_going else mail.id,
            "author_id": mail.author_id.id or None,
            "subject": mail.subject or None,
            "model": mail.model or None,
            "res_id": mail.res_id or None,
            "mailing_res_id": mailing.id if mailing else None,
        }
        if not mailing and not (message_stays and not is_html_empty(message.body)):
            about["body"] = self._get_own_body(mail)
        partner_copies = len(copies) - len(success_partners)
        partners = [None] * partner_copies + list(success_partners)
        addresses = {address for copy in copies[:partner_copies] for address in copy.tracked}
        contacts = self._get_contacts(mail, account_id, addresses) if addresses else {}
        return [
            {**row, "partner_id": partner.id if partner else contacts.get(row["recipient"])}
            for copy, partner in zip(copies, partners, strict=True)
            for row in self._prepare_bare_rows(account_id, [copy], about)
        ]

    @api.model
    def _get_own_body(self, mail):
        """Return the source of the content to keep, or None: what opens an account is kept nowhere."""
        body = mail.body_html or ""
        if mail.model == "res.users" or links.leads_to_credentials(body) or is_html_empty(body):
            return None
        return body

    @api.model
    def _get_contacts(self, mail, account_id, addresses):
        """Find whose the addresses are: the record's own contact before others, then the oldest contact.

        :return: contact ids by address
        """
        company = mail.record_company_id or self.env["sendgrid.account"].sudo().browse(account_id).company_id
        company = company or self.env.company
        partners = (
            self.env["res.partner"]
            .sudo()
            .search_fetch(
                [("email_normalized", "in", list(addresses)), ("company_id", "in", [False, company.id])],
                ["email_normalized"],
                order="id desc",
            )
        )
        contacts = {partner.email_normalized: partner.id for partner in partners}
        if mail.model in self.env and mail.res_id:
            record = self.env[mail.model].sudo().browse(mail.res_id).exists()
            if record and hasattr(record, "_mail_get_partners"):
                own = record._mail_get_partners()[record.id]
                contacts |= {partner.email_normalized: partner.id for partner in own if partner.email_normalized}
        return contacts

    # ------------------------------------------------------------
    # FIND
    # ------------------------------------------------------------

    @api.model
    def _get_copies(self, column, values):
        """Return the documents by one of their ids.

        :param column: ``odoo_id``, ``sg_message_id`` or ``message_id``
        :return: lists of `Copy` by value
        """
        values = [value for value in values if value]
        copies = defaultdict(list)
        if values:
            for row in self.env.execute_query(
                SQL(
                    """SELECT %s, id, odoo_id, recipient, is_alone, partner_id, sg_message_id
                         FROM sendgrid_email WHERE %s = ANY(%s) ORDER BY id""",
                    SQL.identifier(column),
                    SQL.identifier(column),
                    values,
                )
            ):
                copies[row[0]].append(Copy(*row[1:]))
        return copies

    @api.model
    def _get_latest_before(self, wanted):
        """Return the latest recent document to an address before a moment.

        :param wanted: set of (account id, recipient, Unix seconds)
        :return: `Copy` by what was wanted
        """
        if not wanted:
            return {}
        accounts, recipients, moments = zip(*wanted, strict=True)
        rows = self.env.execute_query(
            SQL(
                """SELECT wanted.account_id, wanted.recipient, wanted.moment, email.*
                     FROM unnest(%s, %s, %s::bigint[]) AS wanted (account_id, recipient, moment)
                     JOIN LATERAL (
                          SELECT id, odoo_id, recipient, is_alone, partner_id, sg_message_id
                            FROM sendgrid_email
                           WHERE account_id = wanted.account_id AND recipient = wanted.recipient
                             AND sent_date <= to_timestamp(wanted.moment) AT TIME ZONE 'UTC'
                             AND sent_date >= to_timestamp(wanted.moment) AT TIME ZONE 'UTC' - %s
                        ORDER BY sent_date DESC, id DESC LIMIT 1) email ON TRUE""",
                list(accounts),
                list(recipients),
                list(moments),
                PROBABLE_WITHIN,
            )
        )
        return {(row[0], row[1], row[2]): Copy(*row[3:]) for row in rows}

    # ------------------------------------------------------------
    # STATE
    # ------------------------------------------------------------

    def _refresh_state(self):
        """Bring status, dates and counts to what the events add up to: some queries, however many events."""
        self._apply_states(*self._fold_events({}))

    def _fold_events(self, new_events):
        """Fold the stored events of the e-mails, and those about to be stored.

        :param new_events: lists of `tools.events.event.Event` by e-mail id
        :return: `tools.events.fold.State` by e-mail id, and the stored events
        """
        stored = self._get_stored_events() if self else []
        events = defaultdict(list, {id_: list(added) for id_, added in new_events.items()})
        for event in stored:
            events[event.email_id].append(event)
        return {id_: fold(events[id_]) for id_ in self.ids}, stored

    def _apply_states(self, states, stored_events, keys=None):
        """Write what changed of states, and of the verdicts on stored events; then see to what follows from it.

        :param states: `tools.events.fold.State` by e-mail id
        :param stored_events: those that were folded, see `StoredEvent`
        :param keys: SendGrid's message ids that are still to be noted, by e-mail id, other e-mails included
        """
        keys = keys or {}
        others = keys.keys() - set(self.ids)
        self._write_columns({id_: {"sg_message_id": keys[id_]} for id_ in others})
        if not self:
            return
        verdicts = defaultdict(list)
        for event in stored_events:
            verdict = states[event.email_id].verdicts.get(event.fingerprint)
            if verdict and (verdict.verdict, verdict.reason) != (event.verdict, event.machine_reason or ""):
                verdicts[verdict].append(event.id)
        for verdict, ids in verdicts.items():
            events = self.env["sendgrid.event"].browse(ids)
            events.write(events._prepare_verdict_vals(verdict))
        rows, status_changed, changes = {}, [], {}
        columns = ("sg_message_id", "status", "facts", *self._figure_names())
        now = fields.Datetime.now()
        for id_, before in self._read_columns(columns):
            state = states[id_]
            # An id to be noted is news by itself, of an e-mail whose events change nothing else.
            after = (keys.get(id_) or before[0], state.status, sorted(state.facts), *self._prepare_figures(state))
            if [value or None for value in before] != [value or None for value in after]:
                rows[id_] = dict(zip((*columns, "write_date"), (*after, now), strict=True))
            if state.status != before[1]:
                status_changed.append(id_)
            if set(state.facts) != set(before[2] or ()):
                changes[id_] = set(before[2] or ())
        # Of the others nobody reads on; without this, all columns of these would be read along.
        self.browse({*status_changed, *changes}).fetch(["account_id", "status"])
        # All in one UPDATE: each would write the row, and its place in each index, anew. Rules watch the status.
        self.env["base.automation"]._run_on_write(
            self.browse(status_changed), ["status"], lambda: self._write_columns(rows)
        )
        self.env["sendgrid.consequence"]._follow(
            # One recordset, so that what is read of one e-mail is read of all.
            {email: (changes[email.id], states[email.id].facts) for email in self.browse(changes)}
        )

    @api.model
    def _figure_names(self):
        return (
            "status_reason",
            "processed_date",
            "delivered_date",
            "first_open_date",
            "last_open_date",
            "open_count",
            "click_count",
            "machine_open_count",
            "machine_click_count",
        )

    def _get_stored_events(self):
        self.env["sendgrid.event"].flush_model()
        return [
            StoredEvent(*row)
            for row in self.env.execute_query(
                SQL(
                    """SELECT id, email_id, fingerprint, event, EXTRACT(EPOCH FROM timestamp)::bigint, reason, response,
                              COALESCE(smtp_status, ''), bounce_type, asm_group_id, COALESCE(sg_machine_open, FALSE),
                              url, url_offset, user_agent, verdict, machine_reason, COALESCE(is_final, FALSE)
                         FROM sendgrid_event WHERE email_id = ANY(%s)""",
                    list(self.ids),
                )
            )
        ]

    @api.model
    def _prepare_figures(self, state):
        """Return the values of `_figure_names`, in that order."""
        return (
            state.reason or None,
            to_datetime(state.processed),
            to_datetime(state.delivered),
            to_datetime(state.first_open),
            to_datetime(state.last_open),
            state.open_count,
            state.click_count,
            state.machine_open_count,
            state.machine_click_count,
        )

    def _read_columns(self, names):
        """Return (id, values of the columns) of the e-mails in their order: thousands are compared, few are changed."""
        self.flush_recordset(names)
        found = {
            id_: values
            for id_, *values in self.env.execute_query(
                SQL(
                    "SELECT id, %s FROM sendgrid_email WHERE id = ANY(%s)",
                    SQL(", ").join(map(SQL.identifier, names)),
                    list(self.ids),
                )
            )
        }
        return [(id_, found[id_]) for id_ in self.ids if id_ in found]

    @api.model
    def _write_columns(self, values_by_id):
        """Write differing values to many e-mails in one query.

        :param values_by_id: {id: {column: value}}, the same columns for all; False and None are NULL
        """
        if not values_by_id:
            return
        columns = list(next(iter(values_by_id.values())))
        rows = [
            {"id": id_, **{name: None if value is False else value for name, value in values.items()}}
            for id_, values in sorted(values_by_id.items())  # in one order, see `_handle_bounce`
        ]
        self.env.cr.execute(
            SQL(
                """UPDATE sendgrid_email SET %s
                     FROM json_populate_recordset(NULL::sendgrid_email, %s) new WHERE sendgrid_email.id = new.id""",
                SQL(", ").join(SQL("%s = new.%s", SQL.identifier(name), SQL.identifier(name)) for name in columns),
                json.dumps(rows, default=str),
            )
        )
        emails = self.browse(values_by_id)
        emails.invalidate_recordset(columns)
        emails.modified(columns)

    # ------------------------------------------------------------
    # THE 72 HOURS
    # ------------------------------------------------------------

    @api.model
    def _cron_expire(self):
        """Say of e-mails that are still deferred after 72 hours that they were not delivered: SendGrid may not say it.

        What is added is an event of our own; a real one that comes later corrects it.
        """
        try:
            emails = self.sudo().with_context(sendgrid_drain=True)._expire()  # see base.automation
        except TRY_LATER:
            self.env.cr.rollback()
            # Most often the drain, which writes the same e-mails.
            _logger.info("SendGrid: e-mails could not be given up now, they are at the next run")
            return
        self.env["ir.cron"]._commit_progress(len(emails), remaining=int(len(emails) == EXPIRE_AT_ONCE))

    @api.model
    def _expire(self):
        self.env["sendgrid.event"].flush_model()
        rows = self.env.execute_query(
            SQL(
                """SELECT email.id, min(event.timestamp)
                     FROM sendgrid_email email
                     JOIN sendgrid_event event ON event.email_id = email.id AND event.event = 'deferred'
                    WHERE email.status = 'deferred'
                      -- What a machine opened did arrive, and what was given up is.
                      AND NOT EXISTS (
                          SELECT 1 FROM sendgrid_event later
                           WHERE later.email_id = email.id
                             AND (later.bounce_type = %s OR later.event IN %s))
                 GROUP BY email.id HAVING min(event.timestamp) < %s
                 ORDER BY email.id LIMIT %s""",
                EXPIRED,
                ENGAGEMENT_EVENTS,
                fields.Datetime.now() - TRIES_FOR,
                EXPIRE_AT_ONCE,
            )
        )
        emails = self.browse(id_ for id_, _first in rows)
        self.env["sendgrid.event"].create(
            [
                {
                    "email_id": email.id,
                    "partner_id": email.partner_id.id,
                    "account_id": email.account_id.id,
                    "match": "own",
                    "event": "bounce",
                    "bounce_type": EXPIRED,
                    "reason": self.env._("Not delivered within 72 hours."),
                    "timestamp": first + TRIES_FOR,
                    "recipient": email.recipient,
                    "fingerprint": f"{EXPIRED}-{email.id}",
                }
                for email, (_id, first) in zip(emails, rows, strict=True)
            ]
        )
        emails._refresh_state()
        emails._notify_changed()
        self.env.flush_all()
        return emails

    def _notify_changed(self):
        """Tell the employees' open pages which e-mails changed: ids only, each page asks for what it may see."""
        if self:
            self.env.ref("base.group_user")._bus_send("sendgrid.email/changed", {"ids": self.ids})

    # ------------------------------------------------------------
    # ACTIONS
    # ------------------------------------------------------------

    @api.model
    def _get_action_about(self, record, domain):
        """Return the action that lists the documents of a contact or lead, newest first."""
        action = self.env["ir.actions.act_window"]._for_xml_id("sendgrid_tracking.sendgrid_email_action")
        return {
            **action,
            "display_name": self.env._("Documents of %s", record.display_name),
            "domain": list(domain),
            "context": {},
        }

    def action_send_again(self):
        """Open the composer with the e-mail as it was, to the contact as it is now: a new mail, a new document."""
        self.ensure_one()
        self.check_access("read")
        record = self.resource_ref
        if self.mailing_res_id:
            raise UserError(self.env._("This e-mail is part of a mass mailing: it is sent again from there."))
        if not record or not isinstance(record, self.env.registry["mail.thread"]):
            raise UserError(
                self.env._("The e-mail is about no record from which it could be sent again. Write a new one.")
            )
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Send Again"),
            "res_model": "mail.compose.message",
            "views": [[False, "form"]],
            "target": "new",
            "context": {
                "default_composition_mode": "comment",
                "default_model": record._name,
                "default_res_ids": record.ids,
                "default_partner_ids": self.partner_id.ids,
                "default_subject": self.subject,
                "default_body": self.content,
                "default_attachment_ids": self.attachment_ids.ids,
                "default_template_id": False,
            },
        }

    def action_ask_sendgrid(self):
        """Ask SendGrid what happened to the e-mail; what the webhook missed appears a moment later."""
        self.ensure_one()
        self.check_access("read")
        if not self.env.user.has_group("base.group_system"):
            raise AccessError(self.env._("Only administrators can ask SendGrid."))
        backfill = self.env["sendgrid.backfill"].sudo()._ask_about(self.sudo())
        if backfill.state == "running":
            message = self.env._("Odoo goes on asking SendGrid, and what it tells appears here.")
        elif backfill.event_count:
            message = self.env._(
                "SendGrid told of %s events. What is new of them appears here in a moment.", backfill.event_count
            )
        else:
            message = self.env._(
                "SendGrid does not know this e-mail, or no longer: it keeps messages for some days only."
            )
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {"type": "info" if backfill.event_count else "warning", "message": message},
        }

    def action_run_again(self):
        """Run again the consequences that failed."""
        self.check_access("read")
        if not self.env.user.has_group("base.group_system"):
            raise AccessError(self.env._("Only administrators can run consequences again."))
        emails = self.sudo().filtered("failed_facts").filtered("account_id.act_on_events")
        failed = {email: set(email.failed_facts) for email in emails}
        states, _stored = emails._fold_events({})
        emails.write({"failed_facts": False, "consequence_error": False})
        self.env["sendgrid.consequence"].sudo()._follow(
            {
                # What failed is new once more; a recovery is what is no longer there.
                email: (set(states[email.id].facts) ^ failed[email], states[email.id].facts)
                for email in emails
            }
        )

    def unlink(self):
        # Their events stay, as those of an e-mail that is gone.
        self.sudo().event_ids.write({"match": "gone"})
        return super().unlink()

    def _mark_failed_consequence(self, fact, error):
        self.ensure_one()
        self.write(
            {
                "failed_facts": sorted({*(self.failed_facts or ()), fact}),
                "consequence_error": f"{self.consequence_error or ''}\n{fact}: {error}".strip(),
            }
        )

    def action_open_record(self):
        """Open the record that the e-mail is about."""
        self.ensure_one()
        return self.resource_ref.get_formview_action() if self.resource_ref else False

    # ------------------------------------------------------------
    # SHOW
    # ------------------------------------------------------------

    @api.depends("status", "open_count", "click_count", "machine_open_count", "machine_click_count")
    @api.depends_context("lang")
    def _compute_engagement_summary(self):
        for email in self:
            if email.status in FAILURES:
                email.engagement_summary = email._describe_scans()
                continue
            sentences = [
                email._describe_opens(email.open_count, email.machine_open_count),
                email._describe_clicks(email.click_count, email.machine_click_count),
            ]
            email.engagement_summary = " ".join(filter(None, sentences))

    def _describe_scans(self):
        if not (self.open_count or self.click_count or self.machine_open_count or self.machine_click_count):
            return ""
        return self.env._("Opened or clicked by a security scanner on the way, and then refused: it did not arrive.")

    def _describe_opens(self, people, machines):
        total = people + machines
        if not total:
            return self.env._("Not opened yet, as far as can be seen.") if self.status == "delivered" else ""
        if not people and total == 1:
            return self.env._("Opened once, by a machine: whether anybody has read it is not known.")
        if not people:
            return self.env._("Opened %s times, by machines only: whether anybody has read it is not known.", total)
        if total == 1:
            return self.env._("Opened once.")
        if not machines:
            return self.env._("Opened %s times.", total)
        if machines == 1:
            return self.env._("Opened %s times, once by a machine.", total)
        return self.env._("Opened %(total)s times, %(machines)s of them by machines.", total=total, machines=machines)

    def _describe_clicks(self, people, machines):
        total = people + machines
        if not total:
            return ""
        if not people:
            return self.env._("Links were followed by machines only.")
        if total == 1:
            return self.env._("Clicked once.")
        if not machines:
            return self.env._("Clicked %s times.", total)
        if machines == 1:
            return self.env._("Clicked %s times, once by a machine.", total)
        return self.env._("Clicked %(total)s times, %(machines)s of them by machines.", total=total, machines=machines)

    @api.model
    def get_empty_list_help(self, help_message):
        """Lead an administrator to what has to be set up first; others cannot do anything about it."""
        if self.env.user.has_group("base.group_system"):
            help_message = Markup("%s<p>%s</p>") % (
                Markup(help_message or ""),
                self.env._(
                    "Only what leaves through the %(server)s of a %(account)s is tracked: set these up first.",
                    server=Markup('<a type="action" class="text-primary" name="base.action_ir_mail_server_list">%s</a>')
                    % self.env._("outgoing mail server"),
                    account=Markup(
                        '<a type="action" class="text-primary" name="sendgrid_tracking.sendgrid_account_action">%s</a>'
                    )
                    % self.env._("SendGrid account"),
                ),
            )
        return super().get_empty_list_help(help_message)


def to_datetime(seconds):
    """Return Unix seconds as Odoo stores them: naive, in UTC. None gives False."""
    return datetime.fromtimestamp(seconds, timezone.utc).replace(tzinfo=None) if seconds is not None else False


def to_seconds(moment):
    """Return a moment as Odoo stores it in Unix seconds: the other way round. False gives None."""
    return int(moment.replace(tzinfo=timezone.utc).timestamp()) if moment else None
