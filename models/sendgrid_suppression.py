from odoo import fields, models


class SendgridSuppression(models.Model):
    """An entry of one of SendGrid's suppression lists: an address to which SendGrid does not deliver.

    It also says what Odoo did when it first read the entry (`outcome`), and whether the address is being cleared.
    `sendgrid_suppression_intake` creates entries, `sendgrid_suppression_clear` has SendGrid take addresses off.
    """

    _name = "sendgrid.suppression"
    _description = "SendGrid Suppression"
    _order = "created desc, id desc"
    _rec_name = "email"
    _inherit = ["sendgrid.job.mixin"]
    _allow_sudo_commands = False

    account_id = fields.Many2one("sendgrid.account", required=True, readonly=True, ondelete="cascade")
    list = fields.Selection(
        # The codes are those of `tools.api.suppressions.LISTS`.
        [
            ("bounces", "Bounces"),
            ("blocks", "Blocks"),
            ("invalid_emails", "Invalid Addresses"),
            ("spam_reports", "Spam Reports"),
            ("unsubscribes", "Global Unsubscribes"),
            ("groups", "Group Unsubscribes"),
        ],
        required=True,
        readonly=True,
        help="SendGrid does not deliver to addresses on these lists, with two exceptions: it does deliver to addresses "
        "that are only on Blocks, and for Group Unsubscribes it only holds back the e-mails of that group.",
    )
    group_id = fields.Integer(string="Group ID", default=0, readonly=True)
    group_name = fields.Char(string="Unsubscribe Group", readonly=True)
    email = fields.Char(string="Address", required=True, readonly=True)
    created = fields.Datetime(string="Listed Since", required=True, readonly=True)
    reason = fields.Text(readonly=True, help="The answer of the recipient's server.")
    smtp_status = fields.Char(string="SMTP Status", readonly=True)
    state = fields.Selection(
        [("listed", "Listed at SendGrid"), ("clearing", "Being Cleared"), ("cleared", "Cleared at SendGrid")],
        required=True,
        readonly=True,
        default="listed",
    )
    clearing_date = fields.Datetime(
        string="To Be Cleared Since",
        readonly=True,
        help="When somebody asked last to clear it. What SendGrid lists later is a new entry, which he did not know.",
    )
    cleared_date = fields.Datetime(
        string="Cleared On", readonly=True, help="When Odoo learned that the address is off the list."
    )
    outcome = fields.Selection(
        [
            ("flagged", "Address flagged as bounced"),
            ("event", "Bounce added to its e-mail"),
            ("blacklisted", "Blacklisted"),
            ("taken_back", "Blacklisted, and taken back"),
            ("known", "Known already"),
            ("told", "Known from an event"),
            ("reminded", "Known from a dropped e-mail"),
            ("kept", "Left as somebody decided"),
            ("none", "Nothing to do"),
            ("recorded", "Only recorded"),
            ("failed", "Failed"),
        ],
        string="In Odoo",
        readonly=True,
        help="Says what Odoo did when it first read the entry. Left as somebody decided: after SendGrid had listed the "
        "address, somebody took it off Odoo's blacklist or confirmed that it is valid. Only recorded: events of this "
        "account have no consequences.",
    )
    error = fields.Text(readonly=True, help="Says why a consequence has failed, or why SendGrid did not clear it.")
    sync_id = fields.Many2one(
        "sendgrid.suppression.sync",
        string="Learned In",
        readonly=True,
        index="btree_not_null",
        ondelete="set null",
        help="The comparison that found it.",
    )
    last_sync_id = fields.Many2one(
        "sendgrid.suppression.sync", string="Last Seen In", readonly=True, ondelete="set null"
    )
    cleared_sync_id = fields.Many2one(
        "sendgrid.suppression.sync",
        string="Gone In",
        readonly=True,
        index="btree_not_null",
        ondelete="set null",
        help="The comparison that found it off the list.",
    )

    _entry_uniq = models.UniqueIndex("(account_id, list, group_id, email)", "This entry is known already.")
    _email_idx = models.Index("(email)")
    _clearing_idx = models.Index("(id) WHERE state = 'clearing'")
