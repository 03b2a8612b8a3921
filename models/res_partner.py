from collections import Counter

from odoo import api, fields, models
from odoo.tools.sql import column_exists, create_column

from . import bulk

# A contact's page shows no more documents than this, because all their ids go to the browser. The page says so, and
# its button leads to all documents.
SHOWN_DOCUMENTS = 1000


class ResPartner(models.Model):
    """A contact shows its documents, whether its address bounced, and why an e-mail would not reach it."""

    _inherit = "res.partner"

    # The index serves two searches: for the contacts that a mail went to, and for those whose address bounced.
    email_normalized = fields.Char(index="btree_not_null")
    sendgrid_email_ids = fields.Many2many(
        "sendgrid.email",
        string="Documents",
        compute="_compute_sendgrid_email_ids",
        groups="base.group_user",
        help="The newest 1,000 e-mails sent to this contact through SendGrid; for a company, also those to its people.",
    )
    sendgrid_email_count = fields.Integer(
        string="Number of Documents", compute="_compute_sendgrid_email_count", groups="base.group_user"
    )
    # Rules and filters watch these, so they are stored. All other facts about a contact's addresses are read from
    # `sendgrid.address`.
    email_bounced = fields.Boolean(store=True, search=None, prefetch="sendgrid")
    email_bounce_reason = fields.Text(store=True, prefetch="sendgrid")
    email_bounce_date = fields.Datetime(store=True, prefetch="sendgrid")

    # Few contacts have several addresses, or one that is not ASCII. This index finds these, whatever the address is.
    _addresses_idx = models.Index("(id) WHERE email LIKE '%@%@%' OR octet_length(email) <> char_length(email)")
    # Of that one PostgreSQL expects more rows than there are, and reads the table instead: it cannot estimate lengths.
    _several_addresses_idx = models.Index("(id) WHERE email LIKE '%@%@%'")

    def _auto_init(self):
        """Create the stored columns here, because the ORM would compute them for each contact when it creates them.

        When the addon is installed, nothing is known of any address.
        """
        for name in ("email_bounced", "email_bounce_reason", "email_bounce_date"):
            if not column_exists(self.env.cr, self._table, name):
                create_column(self.env.cr, self._table, name, self._fields[name].column_type[1])
        return super()._auto_init()

    @api.depends_context("uid")
    def _compute_sendgrid_email_ids(self):
        for partner in self:
            partner.sendgrid_email_ids = self.env["sendgrid.email"].search(
                partner._get_sendgrid_email_domain(), limit=SHOWN_DOCUMENTS
            )

    @api.depends_context("uid")
    def _compute_sendgrid_email_count(self):
        if not self.env["sendgrid.account"]._has_told():
            self.sendgrid_email_count = 0
            return
        # Count as the list does, whose domain has "child_of": add to a company the documents of its people, archived
        # ones included.
        family = self.sudo().with_context(active_test=False).search_fetch([("id", "child_of", self.ids)], ["parent_id"])
        counts = Counter()
        for partner, count in self.env["sendgrid.email"]._read_group(
            [("partner_id", "in", family.ids)], ["partner_id"], ["__count"]
        ):
            ancestor = partner.sudo()
            while ancestor:
                counts[ancestor.id] += count
                ancestor = ancestor.parent_id
        for partner in self:
            partner.sendgrid_email_count = counts[partner.id]

    # ------------------------------------------------------------
    # BOUNCES
    # ------------------------------------------------------------

    def _refresh_bounces(self):
        """Write to the contacts whether one of their addresses bounced, as far as it changed. Rules that watch it run.

        :return: the contacts that changed
        """
        names = ["email_bounced", "email_bounce_reason", "email_bounce_date"]
        self.fetch(["email", *names])
        values = {
            partner.id: {**new, "write_uid": self.env.uid, "write_date": self.env.cr.now()}
            for partner, new in self._prepare_bounce_vals().items()
            if any(partner[name] != new[name] for name in names)
        }
        changed = self.browse(values)
        if values:
            # Write in SQL, because reason and date differ from contact to contact.
            self.flush_recordset([*names, "write_uid", "write_date"])
            self.env["base.automation"]._run_on_write(changed, names, lambda: bulk.update(self, values))
        return changed

    def _message_receive_bounce(self, email, partner):
        # Only the rules that the counter may concern have to look: see `base.automation`.
        counting = self.with_context(sendgrid_is_counting_bounce=True)
        return super(ResPartner, counting)._message_receive_bounce(email, partner)

    def _get_sendgrid_email_domain(self):
        """Return the domain of the documents of the contacts and of their people."""
        return [("partner_id", "child_of", self.ids)]

    def action_view_sendgrid_emails(self):
        """Open the list of the contact's documents, newest first."""
        self.ensure_one()
        domain = self._get_sendgrid_email_domain()
        return self.env["sendgrid.email"]._get_action_about(self, domain, "sendgrid-contact-documents")
