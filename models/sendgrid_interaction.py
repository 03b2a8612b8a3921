from odoo import api, fields, models
from odoo.tools import SQL

from .technical import hide_technical

# So many unseen interactions are counted. The icon says "99+" from then on.
COUNTED = 100
# All transactions lock rows in this order. So one waits for the other, and they never end in a deadlock.
LOCK_ORDER = SQL("email_id, kind, user_id")
# In lines.
SHOWN = 30
# So many interactions of one line are counted. Core's lists count as far, and show "10000+" from then on.
COUNTED_IN_LINE = 10_000
# The filters of the feed, each with its kinds. What a user wants to be told of is chosen by them as well.
FILTERS = {"opened": ["opened"], "clicked": ["clicked"], "replied": ["replied"], "failed": ["failed", "spam"]}


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
        [
            ("opened", "Opened"),
            ("clicked", "Clicked"),
            ("replied", "Replied"),
            ("failed", "Not delivered"),
            ("spam", "Reported as spam"),
        ],
        string="What Happened",
        required=True,
        readonly=True,
        help="What happened to the e-mail. Opens and clicks are those of people only.",
    )
    mailing_res_id = fields.Integer(string="Mailing ID", readonly=True, help="The mass mailing that it belongs to.")
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
    # For the lines, and the filters: of thousands of opens, the few answers.
    _line_idx = models.Index("(user_id, kind, mailing_res_id, date DESC, id DESC)")
    _unseen_idx = models.Index("(user_id, kind, mailing_res_id) WHERE is_seen IS NOT TRUE")
    _told_mailing_idx = models.Index(
        "(user_id, kind, mailing_res_id, told_date) WHERE mailing_res_id IS NOT NULL AND told_date IS NOT NULL"
    )

    @api.model
    def fields_get(self, allfields=None, attributes=None):
        return hide_technical(self, super().fields_get(allfields, attributes), {"mailing_res_id"})

    @api.model
    def _get_all_kinds(self):
        return [kind for kind, _label in self._fields["kind"].selection]

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

        Interactions of one kind with one mass mailing are one line, which stands where its newest one would.

        :param kind: one of `FILTERS`, for a feed of these only
        :return: list of dicts: of the newest interaction of the line ``id``, ``email_id``, ``kind``, ``date``,
            ``contact`` and ``subject``; how many they are, ``count``, whether there are more than were counted,
            ``has_more``, and whether all are seen, ``is_seen``
        :raise AccessError: if the user is no employee
        """
        self.browse().check_access("read")
        self.flush_model()
        self.env["sendgrid.email"].flush_model(["subject", "recipient", "partner_id", "author_id"])
        self.env["res.partner"].flush_model(["complete_name"])
        self.env.cr.execute(self._get_feed_query(kind))
        return [
            {
                **row,
                "date": fields.Datetime.to_string(row["date"]),
                "count": min(row["count"], COUNTED_IN_LINE),
                "has_more": row["count"] > COUNTED_IN_LINE,
            }
            for row in self.env.cr.dictfetchall()
        ]

    @api.model
    def _get_feed_query(self, kind=None):
        """Return the SQL of the newest lines. They are with e-mails of the user, which he always may see.

        It goes along the index from one mailing to the next, so that it does not matter how many people opened one.
        """
        return SQL(
            """WITH RECURSIVE kinds AS (SELECT unnest(%(kinds)s) AS kind),
                    mailing AS (
                        SELECT kind, 0 AS mailing_res_id, NULL::int AS id, NULL::timestamp AS date FROM kinds
                         UNION ALL
                        SELECT mailing.kind, newest.* FROM mailing, LATERAL (
                               SELECT mailing_res_id, id, date FROM sendgrid_interaction
                                WHERE user_id = %(user)s AND kind = mailing.kind
                                  AND mailing_res_id > mailing.mailing_res_id AND %(is_author)s
                             ORDER BY mailing_res_id, date DESC, id DESC LIMIT 1) newest),
                    line AS (
                        SELECT id, date FROM mailing WHERE id IS NOT NULL
                         UNION ALL
                        SELECT lone.* FROM kinds, LATERAL (
                               SELECT id, date FROM sendgrid_interaction
                                WHERE user_id = %(user)s AND kind = kinds.kind AND mailing_res_id IS NULL
                                  AND %(is_author)s
                             -- It is the same for all of them, and leaves PostgreSQL no index but that of the lines.
                             ORDER BY mailing_res_id, date DESC, id DESC LIMIT %(shown)s) lone
                      ORDER BY date DESC, id DESC LIMIT %(shown)s)
               SELECT line.id, newest.email_id, newest.kind, line.date, email.subject,
                      COALESCE(partner.complete_name, email.recipient) AS contact,
                      CASE WHEN newest.mailing_res_id IS NULL THEN 1 ELSE (
                           SELECT count(*) FROM (
                                  SELECT FROM sendgrid_interaction other
                                   WHERE other.user_id = newest.user_id AND other.kind = newest.kind
                                     AND other.mailing_res_id = newest.mailing_res_id LIMIT %(counted)s) counted)
                       END AS count,
                      newest.is_seen IS TRUE AND NOT EXISTS (
                           SELECT FROM sendgrid_interaction other
                            WHERE other.user_id = newest.user_id AND other.kind = newest.kind
                              AND other.mailing_res_id = newest.mailing_res_id AND other.is_seen IS NOT TRUE) AS is_seen
                 FROM line
                 JOIN sendgrid_interaction newest ON newest.id = line.id
                 JOIN sendgrid_email email ON email.id = newest.email_id
            LEFT JOIN res_partner partner ON partner.id = email.partner_id
             ORDER BY line.date DESC, line.id DESC""",
            kinds=FILTERS.get(kind) or self._get_all_kinds(),
            user=self.env.uid,
            # An e-mail may have got another author since. A join would let PostgreSQL leave the order of the index.
            is_author=SQL(
                "(SELECT author_id FROM sendgrid_email WHERE id = email_id) = %s", self.env.user.partner_id.id
            ),
            shown=SHOWN,
            counted=COUNTED_IN_LINE + 1,
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

    def mark_line_seen(self):
        """Mark as seen what stands in the feed's line of this interaction, without what is newer.

        :raise AccessError: if it is another user's
        """
        self.ensure_one()
        self.check_access("read")
        if not self.mailing_res_id:
            return self.mark_seen()
        self._mark_seen(
            SQL(
                "kind = %s AND mailing_res_id = %s AND (date, id) <= (%s, %s)",
                self.kind,
                self.mailing_res_id,
                self.date,
                self.id,
            )
        )

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
