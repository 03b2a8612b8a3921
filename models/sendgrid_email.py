import logging

from odoo import api, fields, models
from odoo.fields import Domain
from odoo.tools import SQL

from ..tools.sending.outbox import get_domain
from .durations import describe_time

_logger = logging.getLogger(__name__)

# The modules of core that define `_mail_get_operation_for_mail_message_operation`. Core calls this hook to learn which
# access to a record a user needs in order to read its messages. The answers of these modules are known: calendar's is
# repeated as a domain in `_get_chatter_domain`, all others answer "read", which needs no further condition.
#
# A module that is not listed here may answer anything. `_get_chatter_domain` then calls the hook for each record: its
# answer holds, but this takes longer. So add a module only if its answer for reading is always "read".
PLAIN_HOOKS = {
    f"odoo.addons.{module}"
    for module in (
        "calendar.models.calendar_event",
        "event.models.event_event",
        "mail.models.models",
        "website_crm_partner_assign.models.crm_lead",
        "website_forum.models.forum_post",
    )
}


class SendgridEmail(models.Model):
    """The email document: one message copy to one recipient, and what became of it.

    It outlives the `mail.mail`, which Odoo deletes once sent. `tools.events.fold` computes its status, dates and counts
    from the set of its events, whatever their order.
    """

    _name = "sendgrid.email"
    _description = "Tracked E-mail"
    _inherit = ["sendgrid.visibility.mixin", "sendgrid.job.mixin"]
    _order = "date desc, id desc"
    _rec_name = "subject"
    _rec_names_search = ["subject", "recipient"]
    _allow_sudo_commands = False

    # These fields are written when Odoo hands the copy to SendGrid, whether SendGrid takes it or not.
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
        help="SendGrid's name of the message, as far as it is the same for all recipients. Its support asks for it.",
    )
    partner_id = fields.Many2one(
        "res.partner", string="Contact", readonly=True, index="btree_not_null", ondelete="set null"
    )
    recipient = fields.Char(string="To", required=True, readonly=True, help="The address that the e-mail was sent to.")
    recipient_domain = fields.Char(
        string="Recipient's Domain",
        compute="_compute_recipient_domain",
        store=True,
        precompute=True,
        readonly=True,
        help="What stands behind the @, in lower case. A domain with other letters than a to z has its ASCII form.",
    )
    recipient_role = fields.Selection(
        [("to", "To"), ("cc", "Cc"), ("bcc", "Bcc")],
        string="Sent As",
        readonly=True,
        help="Where the e-mail names the recipient. It names nobody who is Bcc.",
    )
    is_alone = fields.Boolean(
        string="Only Recipient",
        readonly=True,
        default=True,
        help="The copy went to nobody else: its events are this recipient's, whatever address they name.",
    )
    author_id = fields.Many2one(
        "res.partner", string="From", readonly=True, index="btree_not_null", ondelete="set null"
    )
    email_from = fields.Char(
        string="Sender's Address", readonly=True, help="The address that the recipient sees as the sender's."
    )
    company_id = fields.Many2one(
        "res.company",
        readonly=True,
        help="The company of the record that the e-mail is about, else the account's, else that of whoever sent it.",
    )
    template_id = fields.Many2one(
        "mail.template",
        readonly=True,
        ondelete="set null",
        help="The template that the e-mail was made from.",
    )
    team_id = fields.Many2one(
        "crm.team",
        string="Sales Team",
        readonly=True,
        ondelete="set null",
        help="The sales team of the record that the e-mail is about, when it was sent.",
    )
    subject = fields.Char(readonly=True)
    sent_date = fields.Datetime(
        string="Sent",
        readonly=True,
        help="When SendGrid accepted the e-mail from Odoo, for the first time. Empty as long as it did not leave.",
    )
    date = fields.Datetime(
        compute="_compute_date",
        store=True,
        precompute=True,
        required=True,
        readonly=True,
        help="When it was sent. If it did not leave: when Odoo tried last.",
    )
    sent_count = fields.Integer(
        string="Times Sent",
        compute="_compute_sent_count",
        store=True,
        precompute=True,
        readonly=True,
        help="How often SendGrid accepted this e-mail to this recipient. More than once if the mail was retried, "
        "because another recipient's copy had failed.",
    )
    model = fields.Char(string="Record Model", readonly=True)
    res_id = fields.Many2oneReference(string="Record ID", model_field="model", readonly=True)
    is_in_chatter = fields.Boolean(
        string="Stands in the Chatter",
        readonly=True,
        help="Whoever may read the record may read the e-mail. Without this, only its author and administrators may.",
    )
    mailing_res_id = fields.Integer(
        string="Mailing ID", readonly=True, help="The mass mailing that the e-mail belongs to. It keeps the content."
    )

    # These fields are computed from the events; see `_apply_states`.
    status = fields.Selection(
        # The order is from weakest to strongest, as in `tools.events.fold.STATUSES`.
        [
            ("failed", "Not sent"),
            ("sent", "Sent"),
            ("processed", "Processed"),
            ("deferred", "Deferred"),
            ("delivered", "Delivered"),
            ("opened", "Opened"),
            ("clicked", "Clicked"),
            ("blocked", "Blocked"),
            ("dropped", "Dropped"),
            ("bounced", "Bounced"),
            ("replied", "Replied"),
            ("unsubscribed", "Unsubscribed"),
            ("spam", "Reported as Spam"),
        ],
        required=True,
        readonly=True,
        default="sent",
        help="The strongest of all that happened to the e-mail.",
    )
    status_reason = fields.Text(
        string="Reason", readonly=True, help="What the recipient's server or SendGrid said about the refusal or delay."
    )
    refusal_cause = fields.Selection(
        lambda self: self.env["sendgrid.event"]._fields["refusal_cause"]._description_selection(self.env),
        string="Refused For",
        readonly=True,
        help="Why it did not arrive. Address: it does not work. Mailbox: full or not available. Message: too large, or "
        "not taken in this form. Sender: your domain, server, content or account is not accepted. Temporary: the "
        "recipient's server could not take it then.",
    )
    processed_date = fields.Datetime(string="Processed", readonly=True, help="When SendGrid began to work on it.")
    delivered_date = fields.Datetime(string="Delivered", readonly=True, help="When the recipient's server took it.")
    first_open_date = fields.Datetime(string="First Opened", readonly=True)
    last_open_date = fields.Datetime(string="Last Opened", readonly=True)
    open_count = fields.Integer(
        string="Opens",
        readonly=True,
        help="How often it was opened by people, and by whom cannot be told. Fetches by machines and "
        "looks by colleagues are not counted. 0 says nothing of an e-mail that is not measured.",
    )
    click_count = fields.Integer(
        string="Clicks",
        readonly=True,
        help="How often it was clicked by people, and by whom cannot be told. Link checks by machines "
        "and clicks by colleagues are not counted. 0 says nothing of an e-mail that is not measured.",
    )
    unknown_open_count = fields.Integer(
        string="Opens, by Whom Unknown",
        readonly=True,
        help="Of how many of the opens it cannot be told whether a person or a machine did it.",
    )
    unknown_click_count = fields.Integer(
        string="Clicks, by Whom Unknown",
        readonly=True,
        help="Of how many of the clicks it cannot be told whether a person or a machine did it.",
    )
    machine_open_count = fields.Integer(
        string="Machine Opens",
        readonly=True,
        help="Mail programs and security scanners fetch the images of an e-mail in advance.",
    )
    machine_click_count = fields.Integer(
        string="Machine Clicks", readonly=True, help="Security scanners follow the links of an e-mail."
    )
    person_open_date = fields.Datetime(
        string="First Opened by a Person",
        readonly=True,
        help="The first open of which it is as good as sure that a person did it.",
    )
    person_click_date = fields.Datetime(
        string="First Clicked by a Person",
        readonly=True,
        help="The first click of which it is as good as sure that a person did it.",
    )
    reply_date = fields.Datetime(
        string="Replied",
        readonly=True,
        help="When the first answer came in that counts as the recipient's. A stronger status, such as Unsubscribed, "
        "can hide that he answered.",
    )
    is_unsubscribed_by_machine = fields.Boolean(
        string="Unsubscribed, It Seems Not by the Recipient",
        readonly=True,
        help="Each unsubscription through the e-mail came with a scanner's clicks or from a colleague: it may be "
        "nobody's wish.",
    )
    measured = fields.Selection(
        [("full", "Measured"), ("none", "Not measured")],
        readonly=True,
        help="Measured: opens and clicks are known as far as the account tracks them. Not measured: they are not kept, "
        "whatever is set later. Empty: it was sent before Odoo decided this for each e-mail, and counts as measured.",
    )
    unmeasured_reason = fields.Selection(
        [
            ("wish", "The recipient does not want it"),
            ("company", "The recipient was not asked"),
            ("mail", "The sender did not want it"),
            ("account", "The account does not track"),
            ("access", "The e-mail gives access to Odoo"),
            ("others", "It went to several recipients, and one of them is not measured"),
            ("forgotten", "The tracking was forgotten"),
        ],
        string="Not Measured Because",
        readonly=True,
        help="Why opens and clicks are not kept.",
    )
    has_arrived = fields.Boolean(
        readonly=True,
        groups="base.group_system",
        help="Opens or clicks that are not kept proved that the e-mail arrived, and no delivery was reported: so it is "
        "not given up after 72 hours.",
    )
    event_ids = fields.One2many("sendgrid.event", "email_id", string="Tracking", readonly=True)
    facts = fields.Json(
        readonly=True,
        groups="base.group_system",
        help="All that is true of the e-mail, each with the time of the last word on it (Unix seconds, UTC). "
        "Consequences follow when a fact is new or told anew. See `tools.events.fold`.",
    )

    # These fields are written by `sendgrid.consequence`.
    failed_consequences = fields.Json(
        readonly=True, groups="base.group_system", help="The names of the consequences that failed."
    )
    consequence_error = fields.Text(
        string="Failed Consequence",
        readonly=True,
        groups="base.group_system",
        help="Why Odoo could not act on what happened to the e-mail. It can be run again.",
    )

    _odoo_id_recipient_uniq = models.UniqueIndex(
        "(odoo_id, recipient)", "This message copy has a document for this recipient already."
    )
    _recipient_idx = models.Index("(recipient, sent_date DESC)")
    _model_res_id_idx = models.Index("(model, res_id)")
    _deferred_idx = models.Index("(id) WHERE status = 'deferred'")
    _date_idx = models.Index("(date DESC, id DESC)")

    @api.depends("recipient")
    def _compute_recipient_domain(self):
        for email in self:
            email.recipient_domain = get_domain(email.recipient)

    @api.depends("sent_date")
    def _compute_date(self):
        for email in self:
            email.date = email.sent_date or email.date or fields.Datetime.now()

    @api.depends("sent_date")
    def _compute_sent_count(self):
        for email in self:
            email.sent_count = email.sent_count or int(bool(email.sent_date))

    @api.depends("subject", "recipient", "date")
    @api.depends_context("sendgrid_full_name", "lang", "tz")
    def _compute_display_name(self):
        for email in self:
            email.display_name = email.subject or self.env._("E-mail to %s", email.recipient)
            if self.env.context.get("sendgrid_full_name"):
                email.display_name = self.env._(
                    "%(subject)s (to %(email)s, %(date)s)",
                    subject=email.subject or self.env._("No subject"),
                    email=email.recipient,
                    date=email.date and describe_time(self.env, email.date),
                )

    @api.model
    def _get_visible_domain(self):
        """Return the domain of the documents that the current user may see.

        The author sees an e-mail. If it stands in a record's chatter, everybody who may read that chatter sees it too.
        Administrators also see e-mails that stand in no chatter or in that of a deleted record, and to a Bcc, if they
        went through an account of the administrators' companies.

        Who looks for documents about records of known models names these in the context (``sendgrid_models``). Then
        the other models need not be looked at.
        """
        user = self.env.user
        is_admin = user.has_group("base.group_system")
        domain = Domain("author_id", "=", user.partner_id.id)
        # A database has few accounts, so a list of their ids does.
        own = Domain("account_id", "in", self.env["sendgrid.account"]._get_ids_of_companies()) if is_admin else None
        if is_admin:
            domain |= own & (
                Domain("is_in_chatter", "=", False)
                | Domain("recipient_role", "=", "bcc")
                | Domain("model", "=", False)
                | Domain("res_id", "in", [False, 0])
            )
        for name in self.env.context.get("sendgrid_models") or self._get_models_in_use():
            about = Domain("model", "=", name)
            Model = self.env.get(name)
            has_records = Model is not None and Model._auto
            if has_records:
                Model = Model.with_context(active_test=False)
                if Model.has_access("read"):
                    # The chatter does not show a Bcc, and nobody else of the recipients knows of it.
                    shown = Domain("is_in_chatter", "=", True) & Domain("recipient_role", "!=", "bcc")
                    domain |= shown & self._get_exists_domain("res_id", Model, "model", self._get_chatter_domain(Model))
            if is_admin:
                domain |= own & (
                    about & ~self._get_exists_domain("res_id", Model.sudo(), "model") if has_records else about
                )
        return domain

    @api.model
    def _get_chatter_domain(self, Model):
        """Return the domain of the records whose chatter the current user may read, among the records that he may read.

        Core decides this record by record, by `_mail_get_operation_for_mail_message_operation`. That would be slow for
        a list of documents, so a domain repeats core's decision, see `PLAIN_HOOKS`. If a module that is not listed
        there overrides the hook, the hook is called for each record that an e-mail in a chatter is about.

        :param Model: an empty recordset of the model
        """
        if self._get_modules_of_hook(Model) - PLAIN_HOOKS:
            self.flush_model(["model", "res_id", "is_in_chatter"])
            rows = self.env.execute_query(
                SQL("SELECT DISTINCT res_id FROM sendgrid_email WHERE model = %s AND is_in_chatter", Model._name)
            )
            ids = [id_ for (id_,) in rows if id_]
            readable = self.env["mail.message"]._filter_records_for_message_operation(Model._name, ids, "read")
            domain = Domain("id", "in", readable.ids)
        else:
            domain = Domain.TRUE
        if Model._name == "calendar.event":
            # This is stricter than core's hook. If an organizer's meetings are private by default, core's calendar
            # shows "Busy", but its hook lets others read the messages. Documents follow the calendar.
            user = self.env.user
            domain &= Domain("partner_ids", "in", user.partner_id.ids) | Domain(Model._get_default_privacy_domain())
        return domain

    @api.model
    def _get_modules_of_hook(self, Model):
        """Return the names of the Python modules that define the hook for a model, written as in `PLAIN_HOOKS`."""
        return {
            cls.__module__ for cls in type(Model).mro() if "_mail_get_operation_for_mail_message_operation" in vars(cls)
        }

    @api.model
    def _get_models_in_use(self):
        """Return the names of the models that e-mails are about.

        The recursive query jumps in the index from one name to the next. So it costs a look-up for each model, however
        many e-mails there are.
        """
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

    @api.model
    def _get_odoo_db(self):
        """Return the opaque name of this database, which SendGrid repeats in the events of its mails.

        If several databases share an account, each gets the events of all, and recognizes its own by this name.
        """
        return self.env["ir.config_parameter"].sudo().get_param("database.uuid")

    def _mark_failed_consequence(self, name, error):
        """Note that a consequence failed, so that an administrator can run it again.

        :param str name: the name of the consequence, one of `sendgrid_consequence.CONSEQUENCES`
        :param error: the exception
        """
        self.ensure_one()
        self.write(
            {
                "failed_consequences": sorted({*(self.failed_consequences or ()), name}),
                "consequence_error": f"{self.consequence_error or ''}\n{name}: {error}".strip(),
            }
        )
