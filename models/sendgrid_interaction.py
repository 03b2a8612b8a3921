from itertools import islice

from odoo import api, fields, models
from odoo.tools import SQL

# So many unseen interactions are counted. The icon says "99+" from then on.
COUNTED = 100
# All transactions lock rows in this order. So one waits for the other, and they never end in a deadlock.
LOCK_ORDER = SQL("email_id, kind, user_id")
# In lines. A mailing of which many people open or click is one line, so that more rows are looked at than lines shown.
SHOWN, LOOKED_AT = 30, 200


class SendgridInteraction(models.Model):
    """What the feed of a user shows: that a recipient opened, clicked or answered an e-mail of his, or did not get it.

    There is one row for each e-mail and kind, with the time of the last such interaction. It repeats what the events of
    the e-mail say, so that the order of the events makes no difference: `sendgrid_interaction_update.py` has how it is
    filled, and `sendgrid_interaction_notice.py` how its user hears of it.
    """

    _name = "sendgrid.interaction"
    _description = "Interaction with an E-mail"
    _order = "date desc, id desc"
    _rec_name = "kind"
    _allow_sudo_commands = False

    user_id = fields.Many2one(
        "res.users", string="Author", required=True, readonly=True, ondelete="cascade", help="Whose e-mail it was."
    )
    email_id = fields.Many2one(
        "sendgrid.email", string="E-mail", required=True, readonly=True, ondelete="cascade", help="The e-mail."
    )
    kind = fields.Selection(
        [("opened", "Opened"), ("clicked", "Clicked"), ("replied", "Replied"), ("failed", "Not delivered")],
        string="What Happened",
        required=True,
        readonly=True,
        help="What happened to the e-mail. Opens and clicks are those of people only.",
    )
    date = fields.Datetime(string="When", required=True, readonly=True, help="When it happened for the last time.")
    is_seen = fields.Boolean(
        string="Seen", readonly=True, help="The user has opened it in the feed, or marked all as seen."
    )
    told_date = fields.Datetime(
        string="Told", readonly=True, help="When the user was told of it last, on the screen or by a push notification."
    )
    contact_name = fields.Char(related="email_id.contact_name", related_sudo=False, help="The contact's name.")
    recipient = fields.Char(
        related="email_id.recipient", related_sudo=False, help="The address that the e-mail was sent to."
    )
    subject = fields.Char(related="email_id.subject", related_sudo=False, help="The subject of the e-mail.")
    partner_id = fields.Many2one(
        related="email_id.partner_id", related_sudo=False, string="Contact", help="The contact."
    )
    status = fields.Selection(
        related="email_id.status", related_sudo=False, help="How things stand with the e-mail by now."
    )

    # Deleting an e-mail finds its interactions by this one as well.
    _email_kind_user_uniq = models.UniqueIndex(
        "(email_id, kind, user_id)", "The user has this interaction of the e-mail already."
    )
    _user_date_idx = models.Index("(user_id, date DESC, id DESC)")
    # For the filters: of thousands of opens, the few answers.
    _user_kind_date_idx = models.Index("(user_id, kind, date DESC, id DESC)")
    _unseen_idx = models.Index("(user_id) WHERE is_seen IS NOT TRUE")

    @api.model
    def _count_unseen(self, user_ids):
        """Return how many interactions users have not seen, up to `COUNTED`.

        :param user_ids: ids of the users
        :return: {id of a user: number}
        """
        self.flush_model(["user_id", "is_seen"])
        return dict(
            self.env.execute_query(
                SQL(
                    """SELECT users.id, count(unseen.id)
                         FROM unnest(%s) AS users(id)
                    LEFT JOIN LATERAL (
                              SELECT id FROM sendgrid_interaction
                               WHERE user_id = users.id AND is_seen IS NOT TRUE LIMIT %s
                              ) unseen ON TRUE
                     GROUP BY users.id""",
                    list(user_ids),
                    COUNTED,
                )
            )
        )

    @api.model
    def get_feed(self, kind=None):
        """Return the newest lines of the user's feed, read in one query.

        Neighbours that are of one kind and of one mass mailing are one line.

        :param kind: one of the values of `kind`, for a feed of these only
        :return: list of dicts: the ids of the interactions ``ids``, the newest one's ``email_id``, ``kind``, ``date``,
            ``contact`` and ``subject``, and whether all are seen, ``is_seen``
        :raise AccessError: if the user is no employee
        """
        self.browse().check_access("read")
        lines = []
        for row in self._read_feed(kind):
            mailing = row.pop("mailing_source_id")
            last = lines[-1] if lines else {}
            if mailing and (last.get("mailing"), last.get("kind")) == (mailing, row["kind"]):
                last["ids"].append(row["id"])
                last["is_seen"] = last["is_seen"] and row["is_seen"]
            else:
                lines.append({**row, "ids": [row["id"]], "mailing": mailing})
        return list(islice(lines, SHOWN))

    @api.model
    def _read_feed(self, kind=None):
        self.flush_model()
        self.env["sendgrid.email"].flush_model(["subject", "recipient", "partner_id", "author_id", "mailing_source_id"])
        self.env["res.partner"].flush_model(["complete_name"])
        self.env.cr.execute(self._get_feed_query(kind))
        return [
            {**row, "date": fields.Datetime.to_string(row["date"]), "contact": row["contact"] or row["recipient"]}
            for row in self.env.cr.dictfetchall()
        ]

    @api.model
    def _get_feed_query(self, kind=None):
        """Return the SQL of the user's newest interactions. They are with e-mails of his, which he always may see."""
        return SQL(
            """SELECT interaction.id, email_id, kind, interaction.date, COALESCE(is_seen, FALSE) AS is_seen,
                      email.subject, email.recipient, email.mailing_source_id, partner.complete_name AS contact
                 FROM sendgrid_interaction interaction
                 JOIN sendgrid_email email ON email.id = email_id AND email.author_id = %s
            LEFT JOIN res_partner partner ON partner.id = email.partner_id
                WHERE interaction.user_id = %s AND %s
             ORDER BY interaction.date DESC, interaction.id DESC LIMIT %s""",
            self.env.user.partner_id.id,
            self.env.uid,
            SQL("kind = %s", kind) if kind else SQL("TRUE"),
            LOOKED_AT,
        )

    # ------------------------------------------------------------
    # SEEN
    # ------------------------------------------------------------

    def action_open(self):
        """Open the e-mail, and mark what happened as seen."""
        self.ensure_one()
        self.check_access("read")
        self.mark_seen()
        return {
            "type": "ir.actions.act_window",
            "res_model": "sendgrid.email",
            "res_id": self.email_id.id,
            "views": [[False, "form"]],
        }

    def mark_seen(self):
        """Mark these interactions as seen.

        :raise AccessError: if one of them is another user's
        """
        self.check_access("read")
        self._mark_seen(SQL("id = ANY(%s)", list(self.ids)))

    def action_mark_all_seen(self):
        """Mark all interactions of the user as seen, whichever are selected.

        :raise AccessError: if the user is no employee
        """
        self.browse().check_access("read")
        self._mark_seen(SQL("TRUE"))

    @api.model
    def _mark_seen(self, condition):
        """Mark interactions of the user as seen in SQL: there may be thousands. His other windows hear of it.

        :param condition: SQL that says which
        """
        self.flush_model()
        rows = self.env.execute_query(
            SQL(
                # All transactions lock in this order, see `LOCK_ORDER`.
                """UPDATE sendgrid_interaction SET is_seen = TRUE
                    WHERE id IN (SELECT id FROM sendgrid_interaction
                                  WHERE user_id = %s AND is_seen IS NOT TRUE AND %s ORDER BY %s FOR NO KEY UPDATE)
                RETURNING id""",
                self.env.uid,
                condition,
                LOCK_ORDER,
            )
        )
        if rows:
            self.invalidate_model(["is_seen"])
            self._note([self.env.uid])
            self._announce()
