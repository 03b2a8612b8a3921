"""Two records with a long chatter, written in SQL, and the requests with which a browser opens a chatter.

With the addon each recipient of each message has a document, without it Odoo's notification only.
"""

from typing import NamedTuple

from . import _stack, _world
from ._odoo import Env

RECIPIENTS, FEW, MANY = 5, 200, 10_000
REQUESTED = (
    "activities",
    "attachments",
    "contact_fields",
    "followers",
    "scheduledMessages",
    "suggestedRecipients",
    "sendgridEmails",  # Odoo without the addon passes over it
)
MESSAGES = """
    INSERT INTO mail_message (model, res_id, message_type, subtype_id, date, subject, body, author_id, email_from,
                              message_id, is_internal, create_uid, write_uid, create_date, write_date)
    SELECT 'res.partner', %(record)s, 'comment', subtype.res_id, now() - number * interval '1 h',
           'Your quotation ' || number, '<p>Dear customer, please find our quotation ' || number || ' attached.</p>',
           %(author)s, 'sales@example.com', '<chatter-' || %(record)s || '-' || number || '@example.com>', FALSE, 1, 1,
           now(), now()
      FROM generate_series(1, %(messages)s) number
      JOIN ir_model_data subtype ON subtype.module = 'mail' AND subtype.name = 'mt_comment'
  ORDER BY number DESC
"""
NOTIFICATIONS = """
    INSERT INTO mail_notification (mail_message_id, res_partner_id, author_id, notification_type, notification_status,
                                   is_read)
    SELECT message.id, recipient.id, message.author_id, 'email', 'sent', TRUE
      FROM mail_message message JOIN res_partner recipient ON recipient.id = ANY(%(recipients)s)
     WHERE message.message_id LIKE '<chatter-%%'
  ORDER BY message.id, recipient.id
"""
DOCUMENTS = """
    INSERT INTO sendgrid_email (odoo_id, account_id, mail_message_id, message_id, partner_id, recipient, is_alone,
                                author_id, subject, sent_date, date, sent_count, recipient_domain, recipient_role,
                                email_from, company_id, model, res_id, is_in_chatter, status, refusal_cause, measured,
                                processed_date, delivered_date, first_open_date, person_open_date, person_click_date,
                                open_count, click_count, machine_open_count, machine_click_count, create_uid, write_uid,
                                create_date, write_date)
    SELECT md5(message.message_id || recipient.id), %(account)s, message.id, message.message_id, recipient.id,
           recipient.email_normalized, TRUE, message.author_id, message.subject, message.date, message.date, 1,
           'bench.example.com', 'to', 'sales@example.com', 1, message.model, message.res_id, TRUE, ended.status,
           CASE ended.status WHEN 'bounced' THEN 'address' END, 'full', message.date, message.date, message.date,
           message.date, message.date, 1, 1, 0, 0, 1, 1, message.date, message.date
      FROM mail_message message
      JOIN res_partner recipient ON recipient.id = ANY(%(recipients)s)
CROSS JOIN LATERAL (SELECT (array['delivered', 'opened', 'clicked', 'delivered', 'opened', 'clicked', 'bounced'])
                           [1 + (message.id + recipient.id) %% 7] AS status) ended
     WHERE message.message_id LIKE '<chatter-%%'
  ORDER BY message.id, recipient.id
"""


class Chatters(NamedTuple):
    """The login of a salesperson, and by title the id of the contact whose chatter he opens."""

    login: str
    records: dict[str, int]


def write(env: Env, scale: float) -> Chatters:
    """Write the chatters of two contacts into a fresh database, and commit them."""
    [user] = _world.create_salespeople(env, 1)
    Contact = env["res.partner"]
    recipients = Contact.create(
        [{"name": f"Reader {number}", "email": f"reader{number}@bench.example.com"} for number in range(RECIPIENTS)]
    )
    records = {}
    for count in (FEW, MANY):
        messages = max(int(count * scale), 30)
        record = Contact.create({"name": f"Contact with {messages} messages"})
        records[f"a chatter of {count:,} messages to {RECIPIENTS} each"] = record.id
        env.flush_all()
        values = {"author": user.partner_id.id, "messages": messages, "record": record.id}
        env.cr.execute(MESSAGES, values)
    values = {"recipients": recipients.ids}
    env.cr.execute(NOTIFICATIONS, values)
    if "sendgrid.email" in env:
        account = env["sendgrid.account"].create({"name": "Benchmark"})
        env.flush_all()
        env.cr.execute(DOCUMENTS, {**values, "account": account.id})
    env.cr.commit()
    _stack.query(env.cr.dbname, "VACUUM (ANALYZE)")
    return Chatters(user.login, records)


def list_requests(record: int) -> list[tuple[str, dict]]:
    """Return the requests with which a browser opens a contact's chatter: paths and parameters."""
    thread = {"thread_model": "res.partner", "thread_id": record}
    return [
        ("/mail/data", {"fetch_params": [["mail.thread", {**thread, "request_list": list(REQUESTED)}]]}),
        ("/mail/thread/messages", {**thread, "fetch_params": {"limit": 30}}),
    ]
