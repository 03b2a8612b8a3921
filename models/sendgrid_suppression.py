from odoo import fields, models


class SendgridSuppression(models.Model):
    """An address on one of the lists of those that SendGrid does not deliver to, and what it became here."""

    _name = "sendgrid.suppression"
    _description = "SendGrid Suppression"
    _order = "created desc, id desc"
    _rec_name = "email"
    _inherit = ["sendgrid.job.mixin"]
    _allow_sudo_commands = False

    account_id = fields.Many2one("sendgrid.account", required=True, readonly=True, ondelete="cascade")
    list = fields.Selection(
        # As in `tools.api.suppressions.LISTS`.
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
        help="SendGrid delivers no more to addresses on these lists, except to those that are only on Blocks; to those "
        "of a group, not what belongs to the group.",
    )
    group_id = fields.Integer(string="Group ID", default=0, readonly=True)
    group_name = fields.Char(string="Unsubscribe Group", readonly=True)
    email = fields.Char(string="Address", required=True, readonly=True)
    created = fields.Datetime(string="Listed Since", required=True, readonly=True)
    reason = fields.Text(readonly=True, help="What the recipient's server said.")
    smtp_status = fields.Char(string="SMTP Status", readonly=True)
    state = fields.Selection(
        [("listed", "Listed at SendGrid"), ("clearing", "Being Cleared"), ("cleared", "Cleared at SendGrid")],
        required=True,
        readonly=True,
        default="listed",
    )
    cleared_date = fields.Datetime(string="Cleared On", readonly=True, help="When it was seen to be off the list.")
    outcome = fields.Selection(
        [
            ("flagged", "Address flagged as bounced"),
            ("event", "Bounce added to its e-mail"),
            ("blacklisted", "Blacklisted"),
            ("taken_back", "Blacklisted, and taken back"),
            ("known", "Known already"),
            ("kept", "Left as somebody decided"),
            ("none", "Nothing to do"),
            ("recorded", "Only recorded"),
            ("failed", "Failed"),
        ],
        string="In Odoo",
        readonly=True,
        help="What became of it here when it was first seen. Left as somebody decided: it had been taken off the "
        "blacklist, or confirmed as valid, later than it was listed. Only recorded: the account lets events have no "
        "consequences.",
    )
    error = fields.Text(readonly=True, help="Why it could not be followed, or not be cleared.")
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
