import logging

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.fields import Domain
from odoo.tools import ormcache

_logger = logging.getLogger(__name__)


class SendgridAccount(models.Model):
    """One account or subuser at SendGrid.

    Mails that leave by its mail servers are tracked, and its webhook brings their events. Other files extend this model
    by one idea each: `sendgrid_account_webhook`, `_connection`, `_tracking` and `_health`.
    """

    _name = "sendgrid.account"
    _description = "SendGrid Account"
    _inherit = ["mail.thread", "mail.activity.mixin", "sendgrid.job.mixin"]
    _order = "name, id"

    name = fields.Char(required=True, tracking=True)
    active = fields.Boolean(default=True, tracking=True)
    company_id = fields.Many2one("res.company", tracking=True, help="Empty: the account serves all companies.")
    api_key = fields.Char(
        string="API Key",
        groups="base.group_system",
        copy=False,
        help="The key that SendGrid shows once, at its creation (SG.…). Only administrators can read it.",
    )
    region = fields.Selection(
        [("global", "Global"), ("eu", "European Union")],
        required=True,
        default="global",
        tracking=True,
        help="Where SendGrid keeps the account's data. Subusers of the European region have hosts of their own.",
    )
    act_on_events = fields.Boolean(
        default=True,
        tracking=True,
        help="Let events have consequences in Odoo: bounces are counted and shown to the sender, recipients who "
        "unsubscribe or complain are blacklisted, mailing statistics are updated. Off: events are only recorded.",
    )
    group_unsubscribe_action = fields.Selection(
        [("nothing", "Nothing"), ("blacklist", "Blacklist the address")],
        string="On Group Unsubscribe",
        required=True,
        default="nothing",
        tracking=True,
        help="Says what Odoo does when a recipient leaves one of SendGrid's unsubscribe groups.",
    )
    keep_foreign_events = fields.Boolean(
        string="Keep Events of Other Programs",
        tracking=True,
        help="SendGrid reports the events of all that is sent through the account, newsletters made at SendGrid "
        "included. Off: those that belong to no e-mail of this Odoo are counted and forgotten within a day, except "
        "bounces, complaints and opt-outs of addresses that are known here. On: they are kept for 30 days.",
    )
    mail_server_ids = fields.One2many("ir.mail_server", "sendgrid_account_id", string="Outgoing Mail Servers")

    def write(self, vals):
        if vals.get("active") is False and self.mail_server_ids:
            raise UserError(
                self.env._("Mail servers still send through this account. Archive them first, or give them another.")
            )
        return super().write(vals)

    def _get_companies(self):
        """Return the companies (`res.company`) that the account serves. An account without one serves all."""
        return self.company_id or self.env["res.company"].search([("active", "=", True)])

    # Composers and chatters ask the next two all the time, so the answers are cached. Whatever changes them clears the
    # cache: see `_forget_cached`.

    @api.model
    @ormcache()
    def _is_used(self):
        """Tell whether there is an account, so that e-mails may be tracked."""
        return bool(self.sudo().search_count([("active", "=", True)], limit=1))

    @api.model
    @ormcache()
    def _has_told(self):
        """Tell whether anything can be known of e-mails or addresses: there is an account, or one was deleted that has
        told of an address. Without it nobody has to look.
        """
        if self.sudo().with_context(active_test=False).search_count([], limit=1):
            return True
        told = [("bounce_date", "!=", False)], [("wish_date", "!=", False)]
        return bool(self.env["sendgrid.address"].sudo().search_count(Domain.OR(told), limit=1))

    @api.model
    def _get_ids_of_companies(self):
        """Return the ids of the accounts that serve the user's companies or all companies, archived ones included."""
        domain = [("company_id", "in", [False, *self.env.companies.ids])]
        return self.sudo().with_context(active_test=False).search(domain).ids
