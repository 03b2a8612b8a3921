import functools
from collections import defaultdict, namedtuple

from odoo import api, models
from odoo.tools import SQL

from ..tools.events.fold import FAILURES, STRENGTH
from .lists import join_words

# These need somebody: whoever wrote the e-mail has to reach the recipient in another way, or to stop writing.
NEEDS_SOMEBODY = ("failed", *FAILURES, "spam")
# The columns that have the time of a status.
DATES = {
    "failed": "date",
    "sent": "sent_date",
    "processed": "processed_date",
    "delivered": "delivered_date",
    "opened": "first_open_date",
    "clicked": "person_click_date",
    "replied": "reply_date",
}
# The events whose time is that of a status without a column.
EVENTS = {
    "deferred": ("deferred",),
    "clicked": ("click",),
    "blocked": ("bounce",),
    "dropped": ("dropped",),
    "bounced": ("bounce",),
    "unsubscribed": ("unsubscribe", "group_unsubscribe"),
    "spam": ("spamreport",),
}
# The columns of a document that tell its state.
Shown = namedtuple(
    "Shown",
    [
        "id",
        "mail_message_id",
        "author_id",
        "partner_id",
        "recipient",
        "status",
        "refusal_cause",
        "measured",
        "person_open_date",
        "unknown_open_count",
        "unknown_click_count",
        "is_unsubscribed_by_machine",
        *DATES.values(),
    ],
)
# So many documents of a record are looked at: the chatter of a record with more than that opens as fast.
COUNTED = 1000


def weigh(state):
    """Return what orders the states of a recipient who has several documents of a message: the greatest is shown."""
    return state["needs_somebody"], state["strength"]


class SendgridEmail(models.Model):
    """What the chatter shows of documents: each recipient's state beside a message, and their number above it."""

    _inherit = "sendgrid.email"

    @api.model
    def _as_seen_by(self, user):
        """Return an empty recordset of the user who is shown something: with his rights and in his language."""
        # Core speaks in the name of others too, in the language of whoever caused it.
        # His language is cached; to read it of his contact would be a query for each page.
        context = {"lang": self.env["res.users"].with_user(user).context_get()["lang"]}
        if user != self.env.user:
            # Which companies he has chosen in his window is not known here. He may read the records of all of his.
            context["allowed_company_ids"] = user.sudo()._get_company_ids()
        return self.browse().with_user(user).with_context(**context)

    @api.model
    def _get_notification_states(self, messages, user):
        """Return the states that a user is shown beside messages, of the documents that he may see.

        A recipient who has several documents of one message has the state of the one that needs somebody, else of the
        one with the strongest status. What was sent to the same address once more replaces what was sent before.

        :param messages: `mail.message` records
        :param user: `res.users` record
        :return: {(id of the message, id of a contact or an address): state}. A state has the ``id`` of the document,
            the ``date`` of its status (text in UTC, or False), and all that `_describe_chatter_state` returns
        """
        if not user._is_internal() or not self.env["sendgrid.account"]._has_told():
            return {}
        Email = self._as_seen_by(user)
        rows = Email._get_chatter_rows(messages)
        latest = {(row.mail_message_id, row.partner_id, row.recipient): row for row in rows}.values()
        dates = Email._get_status_dates(latest)
        left = [row.id for row in latest if row.status == "unsubscribed" and row.is_unsubscribed_by_machine]
        labels = {email.id: {"label": email._get_step_labels()["unsubscribed"]} for email in Email.browse(left)}
        describe = functools.cache(Email._describe_chatter_state)
        states = {}
        for row in latest:
            date = dates[row.id]
            state = {
                "id": row.id,
                # As `fields.Datetime.to_string` writes it, which takes several times as long.
                "date": date.isoformat(" ", "seconds") if date else False,
                **describe(
                    row.status,
                    row.refusal_cause,
                    row.measured == "none",
                    bool(row.unknown_open_count and not row.person_open_date),
                    bool(row.unknown_click_count and not row.person_click_date),
                ),
                **labels.get(row.id, {}),
            }
            for recipient in (row.partner_id, row.recipient):
                key = row.mail_message_id, recipient
                if recipient and (key not in states or weigh(states[key]) < weigh(state)):
                    states[key] = state
        return states

    @api.model
    def _get_chatter_rows(self, messages):
        """Return what tells the states of the documents of messages, of those that the user may see: `Shown` tuples.

        A page may have hundreds of them. To make a record of each, and read it field by field, would take twice as
        long. The query reads all of them at first, because most people look at what they have written themselves: to
        ask who may see it takes longer than all the rest.
        """
        self.check_access("read")
        query = self.sudo()._search([("mail_message_id", "in", messages.ids)], order="id")
        columns = [SQL.identifier(query.table, name, to_flush=self._fields[name]) for name in Shown._fields]
        rows = [Shown(*row) for row in self.env.execute_query(query.select(*columns))]
        author_id = self.env.user.partner_id.id
        others = self.browse(row.id for row in rows if row.author_id != author_id)
        others = others.with_context(sendgrid_models=sorted(set(filter(None, messages.mapped("model")))))
        hidden = set((others - others._filtered_access("read")).ids) if others else ()
        return [row for row in rows if row.id not in hidden]

    @api.model
    def _get_status_dates(self, rows):
        """Return {document id: when it got its status}; the dates are naive, in UTC, or None if they are not known.

        :param rows: list of `Shown`
        """
        dates, unknown = {}, []
        for row in rows:
            dates[row.id] = getattr(row, DATES.get(row.status, ""), None)
            if not dates[row.id] and row.status in EVENTS:
                unknown.append(row)
        if unknown:
            # One query, and no record of an event: an e-mail may have hundreds.
            events = self.env["sendgrid.event"]
            events.flush_model(["email_id", "event", "timestamp", "is_machine", "is_colleague"])
            found = self.env.execute_query(
                SQL(
                    """SELECT email_id, event, MAX(timestamp) FROM sendgrid_event
                        WHERE email_id = ANY(%s)
                          AND (event != 'click' OR (is_machine IS NOT TRUE AND is_colleague IS NOT TRUE))
                        GROUP BY 1, 2""",
                    [row.id for row in unknown],
                )
            )
            last = defaultdict(dict)
            for email_id, event, timestamp in found:
                last[email_id][event] = timestamp
            for row in unknown:
                told = [last[row.id][event] for event in EVENTS[row.status] if event in last[row.id]]
                dates[row.id] = max(told, default=None)
        return dates

    @api.model
    def _describe_chatter_state(self, status, cause, is_unmeasured, is_opener_unknown, is_clicker_unknown):
        """Return what the chatter shows of all documents that are alike.

        :return: dict with ``status``, ``label`` (the name of the status), ``note`` (a few words, or False: why it was
            refused, or what nobody can know of it), ``strength`` (the greater, the stronger is the news) and
            ``needs_somebody``
        """
        return {
            "status": status,
            # What "Processed" says is true of SendGrid. For whoever wrote the e-mail it is on its way.
            "label": self.env._("Under way")
            if status == "processed"
            else self._get_status_labels(is_opener_unknown, is_clicker_unknown)[status],
            "note": self._get_chatter_note(status, cause, is_unmeasured),
            "strength": STRENGTH[status],
            "needs_somebody": status in NEEDS_SOMEBODY,
        }

    @api.model
    def _get_chatter_note(self, status, cause, is_unmeasured):
        """Return why an e-mail was refused, or what nobody can know of it, in a few words; False for all others."""
        if status in FAILURES:
            return {
                "address": self.env._("the address does not work"),
                "mailbox": self.env._("the mailbox is full or not available"),
                "message": self.env._("this message was not accepted"),
                "sender": self.env._("your domain, server or content was not accepted"),
                "temporary": self.env._("the recipient's server could not take it"),
                "unknown": self.env._("the server did not say why"),
            }.get(cause, False)
        if is_unmeasured and STRENGTH[status] <= STRENGTH["delivered"] and status != "failed":
            return self.env._("opens and clicks are not measured")
        return False

    @api.model
    def _count_about(self, record, order=None):
        """Count the documents about a record that the user may see, up to one more than `COUNTED`.

        :return: list of (status, how many have it, whether one of them was not sent again)
        """
        query = self._search([("model", "=", record._name), ("res_id", "=", record.id)], limit=COUNTED + 1, order=order)
        names = ("id", "status", "again_of_id")
        columns = [SQL.identifier(query.table, name, to_flush=self._fields[name]) for name in names]
        return self.env.execute_query(
            SQL(
                """WITH shown AS MATERIALIZED (%s)
                   SELECT status, count(*), bool_or(NOT is_settled)
                     FROM (SELECT status,
                                  -- What was sent again needs nobody any more.
                                  EXISTS (SELECT FROM shown again WHERE again.again_of_id = shown.id) AS is_settled
                             FROM shown) judged
                    GROUP BY status""",
                query.select(*columns),
            )
        )

    @api.model
    def _get_record_summary(self, record, user):
        """Return what the top bar of a record's chatter shows of the documents about it that a user may see.

        :param record: a record of any model
        :param user: `res.users` record
        :return: dict with ``count``, ``has_more`` (there are more than were counted), ``status`` (the one that needs
            somebody, else the strongest; False without documents), ``needs_somebody`` and ``text`` (how many of each)
        """
        if not user._is_internal() or not self.env["sendgrid.account"]._has_told():
            return {"count": 0, "has_more": False, "status": False, "needs_somebody": False, "text": ""}
        Email = self._as_seen_by(user).with_context(sendgrid_models=[record._name])
        rows = Email._count_about(record)
        if sum(number for _status, number, _is_open in rows) > COUNTED:
            # To put all in order takes time, and is worth it for the few records that have more than are counted.
            rows = Email._count_about(record, order="id desc")
        numbers = {status: number for status, number, _is_open in rows}
        open_statuses = [status for status, _number, is_open in rows if is_open]
        needing = [status for status in open_statuses if status in NEEDS_SOMEBODY]
        total = sum(numbers.values())
        labels = dict(Email._fields["status"]._description_selection(Email.env))
        return {
            "count": min(total, COUNTED),
            "has_more": total > COUNTED,
            "status": max(needing or open_statuses, key=STRENGTH.get, default=False),
            "needs_somebody": bool(needing),
            "text": join_words(
                Email.env,
                [
                    Email.env._("%(status)s: %(number)s", status=labels[status], number=numbers[status])
                    for status in sorted(numbers, key=STRENGTH.get, reverse=True)
                ],
            ),
        }
