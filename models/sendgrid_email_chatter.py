from collections import defaultdict

from odoo import api, fields, models
from odoo.tools import SQL

from ..tools.address_form import comparable
from ..tools.events.fold import FAILURES, STRENGTH

# These need somebody: whoever wrote the e-mail has to reach the recipient in another way, or to stop writing.
NEEDS_SOMEBODY = ("failed", *FAILURES, "spam")
# The columns that have the time of a status and are not named after it.
DATES = {"failed": "date", "opened": "first_open_date", "clicked": "person_click_date", "replied": "reply_date"}
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
# The columns that tell a state, beside those of `DATES`.
SHOWN = (
    "mail_message_id",
    "partner_id",
    "recipient",
    "status",
    "refusal_cause",
    "measured",
    "sent_date",
    "processed_date",
    "delivered_date",
    "person_open_date",
    "unknown_open_count",
    "unknown_click_count",
    "is_unsubscribed_by_machine",
)
# So many documents of a record are looked at: the chatter of a record with more than that opens as fast.
COUNTED = 1000


class SendgridEmail(models.Model):
    """What the chatter shows of documents: each recipient's state beside a message, and their number above it."""

    _inherit = "sendgrid.email"

    @api.model
    def _as_seen_by(self, user):
        """Return an empty recordset of the user who is shown something: with his rights and in his language."""
        if user == self.env.user:
            return self.browse().with_user(user)
        # Which companies he has chosen in his window is not known here. He may read the records of all of his.
        context = {"allowed_company_ids": user.sudo()._get_company_ids(), "lang": user.sudo().lang}
        return self.browse().with_user(user).with_context(**context)

    @api.model
    def _get_notification_states(self, messages, user):
        """Return the states that a user is shown beside messages, of the documents that he may see.

        A recipient who has several documents of one message has the state of the one that needs somebody, else of the
        one with the strongest status. What was sent to the same address once more replaces what was sent before.

        :param messages: `mail.message` records
        :param user: `res.users` record
        :return: {(id of the message, id of the contact or False, address): state as `_get_chatter_state` has it}
        """
        if not user._is_internal():
            return {}
        names = {*SHOWN, *DATES.values()} & self._fields.keys()
        emails = self._as_seen_by(user).search_fetch([("mail_message_id", "in", messages.ids)], names, order="id")
        latest = {(email.mail_message_id.id, email.partner_id.id, email.recipient): email for email in emails}
        emails = emails.browse(email.id for email in latest.values())
        dates = emails._get_status_dates()
        return {key: email._get_chatter_state(dates[email]) for key, email in latest.items()}

    def _get_status_dates(self):
        """Return {document: when it got its status}; the dates are naive, in UTC, or False if they are not known."""
        dates, unknown = {}, []
        for email in self:
            name = DATES.get(email.status, f"{email.status}_date")
            dates[email] = email[name] if name in email._fields else False
            if not dates[email] and email.status in EVENTS:
                unknown.append(email)
        if unknown:
            # One query, and no record of an event: an e-mail may have hundreds.
            events = self.env["sendgrid.event"]
            events.flush_model(["email_id", "event", "timestamp", "is_machine", "is_colleague"])
            rows = self.env.execute_query(
                SQL(
                    """SELECT email_id, event, MAX(timestamp) FROM sendgrid_event
                        WHERE email_id = ANY(%s)
                          AND (event != 'click' OR (is_machine IS NOT TRUE AND is_colleague IS NOT TRUE))
                        GROUP BY 1, 2""",
                    [email.id for email in unknown],
                )
            )
            last = defaultdict(dict)
            for email_id, event, timestamp in rows:
                last[email_id][event] = timestamp
            for email in unknown:
                told = [last[email.id][event] for event in EVENTS[email.status] if event in last[email.id]]
                dates[email] = max(told, default=False)
        return dates

    def _get_chatter_state(self, date):
        """Return what a notification of the chatter shows of the document.

        :param date: when it got its status
        :return: dict with ``id`` of the document, ``status``, ``label``, ``note`` (a few words, or False), ``date``
            (text in UTC, or False), ``strength`` (the greater, the stronger is the news) and ``needs_somebody``
        """
        return {
            "id": self.id,
            "status": self.status,
            "label": self._get_chatter_label(),
            "note": self._get_chatter_note(),
            "date": fields.Datetime.to_string(date) or False,
            "strength": STRENGTH[self.status],
            "needs_somebody": self.status in NEEDS_SOMEBODY,
        }

    def _get_chatter_label(self):
        # What "Processed" says is true of SendGrid. For whoever wrote the e-mail it is on its way.
        return self.env._("Under way") if self.status == "processed" else self._get_step_labels()[self.status]

    def _get_chatter_note(self):
        """Return in a few words why the e-mail was refused, or that nobody can know whether it was opened."""
        if self.status in FAILURES:
            return {
                "address": self.env._("the address does not work"),
                "mailbox": self.env._("the mailbox is full or not available"),
                "message": self.env._("this message was not accepted"),
                "sender": self.env._("your domain, server or content was not accepted"),
                "temporary": self.env._("the recipient's server could not take it"),
                "unknown": self.env._("the server did not say why"),
            }.get(self.refusal_cause, False)
        if self._is_unmeasured() and STRENGTH[self.status] <= STRENGTH["delivered"] and self.status != "failed":
            return self.env._("opens and clicks are not measured")
        return False

    @api.model
    def _get_record_summary(self, record, user):
        """Return what the top bar of a record's chatter shows of the documents about it that a user may see.

        :param record: a record of any model
        :param user: `res.users` record
        :return: dict with ``count``, ``has_more`` (there are more than were counted), ``status`` (the one that needs
            somebody, else the strongest; False without documents), ``needs_somebody`` and ``text`` (how many of each)
        """
        if not user._is_internal():
            return {"count": 0, "has_more": False, "status": False, "needs_somebody": False, "text": ""}
        Email = self._as_seen_by(user)
        query = Email._search([("model", "=", record._name), ("res_id", "=", record.id)], limit=COUNTED + 1)
        names = ("id", "status", "again_of_id")
        columns = [SQL.identifier(query.table, name, to_flush=Email._fields[name]) for name in names]
        rows = self.env.execute_query(query.select(*columns))
        counted = rows[:COUNTED]
        # What was sent again needs nobody any more.
        settled = {again_of_id for _id, _status, again_of_id in counted}
        numbers = defaultdict(int)
        for _id, status, _again_of_id in counted:
            numbers[status] += 1
        open_statuses = {status for id_, status, _again_of_id in counted if id_ not in settled}
        needing = [status for status in open_statuses if status in NEEDS_SOMEBODY]
        labels = dict(Email._fields["status"]._description_selection(Email.env))
        return {
            "count": len(counted),
            "has_more": len(rows) > COUNTED,
            "status": max(needing or open_statuses, key=STRENGTH.get, default=False),
            "needs_somebody": bool(needing),
            "text": ", ".join(
                f"{labels[status]}: {numbers[status]}" for status in sorted(numbers, key=STRENGTH.get, reverse=True)
            ),
        }

    @api.model
    def _find_state(self, states, contact_id, address):
        """Return the state of a recipient of a message, or None.

        :param states: those of the message, as {(id of the contact or False, address): state}
        :param contact_id: the recipient's contact, or an empty value
        :param address: the address of a recipient without a contact, or an empty value
        """
        address = comparable(address or "")
        own = [
            state
            for (partner_id, recipient), state in states.items()
            if (contact_id and partner_id == contact_id) or (address and recipient == address)
        ]
        return max(own, key=lambda state: (state["needs_somebody"], state["strength"]), default=None)
