import logging
from collections import defaultdict
from datetime import timedelta

from odoo import api, fields, models
from odoo.tools import SQL

from ..tools.events.answer import REPLIES
from .sendgrid_consequence import FAILURES
from .undoable import each_alone

_logger = logging.getLogger(__name__)

REMIND_AT_ONCE = 500
# The recipients of one message have moments of their own, since their copies left one after the other. One activity
# shall name them all.
TOGETHER_WITHIN = timedelta(hours=1)
# In days. A longer time is a mistake of typing.
LONGEST = 365


class SendgridReminder(models.Model):
    """A user's wish to be reminded of an e-mail if no answer comes until a certain time.

    `_settle` brings reminders and their activities into the state that the documents ask for, whatever was there
    before. The drain calls it for what was answered or refused, the scheduled action for what is due. What somebody has
    done by hand stays done.
    """

    _name = "sendgrid.reminder"
    _description = "Reminder of an E-mail Without an Answer"
    _inherit = ["sendgrid.job.mixin"]
    _order = "date, id"
    _rec_name = "email_id"
    _allow_sudo_commands = False

    email_id = fields.Many2one(
        "sendgrid.email",
        string="E-mail",
        required=True,
        readonly=True,
        ondelete="cascade",
        help="The e-mail that waits for an answer.",
    )
    user_id = fields.Many2one(
        "res.users", string="For", required=True, readonly=True, ondelete="cascade", help="Who wants to be reminded."
    )
    date = fields.Datetime(
        string="Remind On",
        required=True,
        readonly=True,
        help="When the user is reminded if there is no answer by then.",
    )
    state = fields.Selection(
        [
            ("waiting", "Waiting for an answer"),
            ("unanswered", "Not answered"),
            ("failed", "Did not arrive"),
            ("over", "Over"),
        ],
        required=True,
        readonly=True,
        default="waiting",
        help="Not answered, Did not arrive: the user has an activity. Over: it was answered, or somebody has done the "
        "activity, or nothing is left to follow up.",
    )
    activity_id = fields.Many2one(
        "mail.activity",
        readonly=True,
        index="btree_not_null",
        ondelete="set null",
        help="The activity, while it exists.",
    )

    _email_user_uniq = models.UniqueIndex("(email_id, user_id)", "The user is reminded of this e-mail already.")
    # For deleting a user, and for the users' own.
    _user_idx = models.Index("(user_id)")
    _waiting_idx = models.Index("(date) WHERE state = 'waiting'")

    @api.model
    def _create_for_sent(self, email_ids):
        """Create the reminders that those who wrote e-mails have asked for. Known ones stay.

        Whoever has written the message is reminded: a template may name somebody else as its author, such as the
        record's salesperson. What no employee wrote himself, such as what leaves by a queue, reminds its author.

        :param email_ids: ids of documents, some of which have `reminder_days`
        """
        self.env["res.users"].flush_model(["partner_id", "active", "share"])
        self.env.cr.execute(
            SQL(
                """INSERT INTO sendgrid_reminder
                               (email_id, user_id, date, state, create_uid, create_date, write_uid, write_date)
                   SELECT email.id, COALESCE(min(writer.id), min(author.id)),
                          email.sent_date + email.reminder_days * INTERVAL '1 day', 'waiting',
                          %(uid)s, %(now)s, %(uid)s, %(now)s
                     FROM sendgrid_email email
                LEFT JOIN mail_message message ON message.id = email.mail_message_id
                LEFT JOIN res_users writer ON writer.id = message.create_uid AND writer.active AND NOT writer.share
                LEFT JOIN res_users author
                       ON author.partner_id = email.author_id AND author.active AND NOT author.share
                    WHERE email.id = ANY(%(ids)s) AND email.reminder_days > 0 AND email.sent_date IS NOT NULL
                 GROUP BY email.id
                   HAVING COALESCE(min(writer.id), min(author.id)) IS NOT NULL
              ON CONFLICT (email_id, user_id) DO NOTHING""",
                ids=list(email_ids),
                uid=self.env.uid,
                now=fields.Datetime.now(),
            )
        )

    @api.model
    def _remind_of(self, email, user, date):
        """Remind a user of an e-mail at a time, whatever he wanted before. An activity of before goes away.

        :param email: `sendgrid.email` record
        :param user: `res.users` record
        :param date: naive `datetime` in UTC
        """
        known = self.search([("email_id", "=", email.id), ("user_id", "=", user.id)])
        if not known:
            self.create({"email_id": email.id, "user_id": user.id, "date": date})
            return
        activity = known.activity_id.filtered("active")
        known.write({"date": date, "state": "waiting", "activity_id": False})
        if not self.search_count([("activity_id", "in", activity.ids)], limit=1):
            activity.unlink()

    # ------------------------------------------------------------
    # SETTLE
    # ------------------------------------------------------------

    @api.model
    def _cron_remind(self):
        """Remind users of e-mails that were not answered in time."""
        self._run_job("reminding of e-mails without an answer", self._remind_all)

    @api.model
    def _remind_all(self):
        """Remind piece by piece, as `sendgrid.job.mixin` asks for; yield the number of each piece."""
        is_full = True
        while is_full:
            count = self.sudo()._remind()
            is_full = count >= REMIND_AT_ONCE
            yield count

    @api.model
    def _remind(self):
        """Settle up to `REMIND_AT_ONCE` reminders that are due, and those of the same messages.

        :return: the number of reminders that were settled
        """
        self.flush_model()
        now = fields.Datetime.now()
        rows = self.env.execute_query(
            SQL(
                "SELECT id FROM sendgrid_reminder WHERE state = 'waiting' AND date <= %s ORDER BY date, id LIMIT %s",
                now,
                REMIND_AT_ONCE,
            )
        )
        ids = [id_ for (id_,) in rows]
        if not ids:
            return 0
        of_same_messages = SQL(
            """reminder.id = ANY(%(ids)s) OR reminder.id IN (
                   SELECT other.id
                     FROM sendgrid_reminder due
                     JOIN sendgrid_email about ON about.id = due.email_id
                     JOIN sendgrid_email copy ON copy.message_id = about.message_id
                     JOIN sendgrid_reminder other ON other.email_id = copy.id AND other.user_id = due.user_id
                    WHERE due.id = ANY(%(ids)s) AND other.state = 'waiting')""",
            ids=ids,
        )
        self._settle(of_same_messages, until=now + TOGETHER_WITHIN)
        return len(ids)

    @api.model
    def _settle_news(self, answered_ids, changed_ids):
        """Settle the reminders that news of documents concern. What is due is left to the scheduled action.

        :param answered_ids: ids of the documents that were answered
        :param changed_ids: ids of those that were refused, or were not refused after all
        """
        # An answer may answer other e-mails as well, see `_get_answered`.
        self._settle(
            SQL(
                """reminder.email_id IN (
                       SELECT unnest(%(changed)s)
                       UNION
                       SELECT other.id FROM sendgrid_email answered
                         JOIN sendgrid_email other ON other.message_id = answered.message_id
                        WHERE answered.id = ANY(%(answered)s)
                       UNION
                       SELECT other.id FROM sendgrid_email answered
                         JOIN sendgrid_email other
                              ON other.model = answered.model AND other.res_id = answered.res_id
                        WHERE answered.id = ANY(%(answered)s))""",
                changed=[*answered_ids, *changed_ids],
                answered=list(answered_ids),
            )
        )

    @api.model
    def _settle(self, condition, until=None):
        """Bring reminders, and their activities, into the state that their documents ask for.

        The number of queries does not depend on the number of reminders, as far as core allows.

        :param condition: SQL that says which; it calls the table ``reminder``
        :param until: naive `datetime` in UTC: what is due by then becomes an activity; None for nothing
        """
        self.flush_model()
        self.env["sendgrid.email"].flush_model(
            ["model", "res_id", "recipient", "partner_id", "reply_date", "sent_date"]
        )
        self.env["sendgrid.event"].flush_model(["email_id", "answer", "timestamp"])
        # The lock makes drain and scheduled action wait for each other, in the order of the ids.
        rows = self.env.execute_query(
            SQL(
                """SELECT reminder.id, %s FROM sendgrid_reminder reminder
                     JOIN sendgrid_email email ON email.id = reminder.email_id
                    WHERE reminder.state <> 'over' AND (%s)
                 ORDER BY reminder.id FOR NO KEY UPDATE OF reminder""",
                self._get_answered(),
                condition,
            )
        )
        if not rows:
            return
        answered = {id_ for id_, is_answered in rows if is_answered}
        reminders = self.browse(id_ for id_, _is_answered in rows)
        reminders.invalidate_recordset()
        reminders.email_id.fetch(["facts", "is_unsubscribed_by_machine", "reply_date", "status"])
        changes = defaultdict(self.browse)
        for reminder in reminders:
            state = reminder._get_state(reminder.id in answered, until)
            if state != reminder.state:
                changes[state] |= reminder
        changed = self.union(*changes.values())
        # Somebody has done or deleted its activity: what was done by hand stays done.
        done = changed.filtered(lambda one: one.state != "waiting" and not one.activity_id.active)
        activities = (changed - done).activity_id
        done.write({"state": "over"})
        for state, same in changes.items():
            (same - done).write({"state": state, "activity_id": False})
        self.flush_model()
        # The recipients of one message share an activity.
        kept = self.search([("activity_id", "in", activities.ids)]).activity_id
        (activities - kept).unlink()
        wanted = (changes["unanswered"] | changes["failed"]) - done
        each_alone(self.env.cr, self._create_activities, wanted, self._note_failure)

    @api.model
    def _get_answered(self):
        """Return SQL that tells whether an e-mail, which it calls ``email``, was answered.

        An answer to another copy of the message is one too, and an answer of the same person to another e-mail about
        the same record: in the portal nobody can tell which one is meant, and people answer the latest. `reply_date` is
        the first answer to that one, so that the others are asked of the events.
        """
        return SQL(
            """(email.reply_date IS NOT NULL
                OR EXISTS (SELECT FROM sendgrid_email copy
                            WHERE copy.message_id = email.message_id AND copy.reply_date IS NOT NULL)
                OR EXISTS (SELECT FROM sendgrid_email other
                            WHERE other.model = email.model AND other.res_id = email.res_id
                              AND (other.recipient = email.recipient OR other.partner_id = email.partner_id)
                              AND other.reply_date IS NOT NULL
                              AND (other.reply_date >= email.sent_date
                                   OR EXISTS (SELECT FROM sendgrid_event event
                                               WHERE event.email_id = other.id AND event.answer IN %s
                                                 AND event.timestamp >= email.sent_date))))""",
            REPLIES,
        )

    def _get_state(self, is_answered, until):
        """Return the state that the document asks for; the parameters are those of `_settle`."""
        if is_answered:
            return "over"
        facts = self.email_id.facts or {}
        if any(fact in facts for fact in FAILURES):
            return "failed"
        if self.state == "unanswered":
            return "unanswered"
        if until and self.date <= until:
            # Not before: until then more events may tell that it was a machine who unsubscribed.
            return "over" if self.email_id._is_unwanted() else "unanswered"
        return "waiting"

    @api.model
    def _note_failure(self, reminder, error):
        """Give up a reminder whose activity cannot be made, so that it does not stand in the way of others."""
        _logger.error("SendGrid: reminder %s has no activity", reminder.id, exc_info=error)
        reminder.write({"state": "over"})
