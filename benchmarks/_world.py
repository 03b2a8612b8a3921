"""A company's contacts, messages and documents by the thousand, written in SQL."""

from datetime import datetime, timedelta, timezone

from . import _events
from ._odoo import Env, Record

SALESPEOPLE = 10
RULES = ("bounce", "unsubscribe", "click", "spam")

# The documents are about these contacts, and their contents are in the contacts' chatter, as after "Send message".
CONTACTS = """
    INSERT INTO res_partner (name, complete_name, active, type, email, email_normalized, lang, user_id, company_id,
                             create_uid, write_uid, create_date, write_date)
    SELECT 'Contact ' || number, 'Contact ' || number, TRUE, 'contact', 'contact' || number || '@bench.example.com',
           'contact' || number || '@bench.example.com', 'en_US',
           (%(users)s::int[])[1 + number %% array_length(%(users)s::int[], 1)], NULL, 1, 1, now(), now()
      FROM generate_series(1, %(documents)s) number
"""
COMMERCIAL = "UPDATE res_partner SET commercial_partner_id = id WHERE commercial_partner_id IS NULL"
MESSAGES = """
    INSERT INTO mail_message (model, res_id, message_type, subtype_id, date, subject, body, author_id, email_from,
                              message_id, is_internal, create_uid, write_uid, create_date, write_date)
    SELECT 'res.partner', contact.id, 'comment', subtype.res_id, %(start)s + number * %(step)s,
           'Your quotation ' || number, '<p>Dear customer, please find our quotation ' || number || ' attached.</p>',
           author.partner_id, 'sales@example.com', '<bench-' || number || '@example.com>', FALSE, 1, 1,
           %(start)s + number * %(step)s, %(start)s + number * %(step)s
      FROM generate_series(1, %(documents)s) number
      JOIN res_partner contact ON contact.email_normalized = 'contact' || number || '@bench.example.com'
      JOIN res_users author ON author.id = contact.user_id
      JOIN ir_model_data subtype ON subtype.module = 'mail' AND subtype.name = 'mt_comment'
  ORDER BY number
"""
NOTIFICATIONS = """
    INSERT INTO mail_notification (mail_message_id, res_partner_id, author_id, notification_type, notification_status,
                                   is_read)
    SELECT id, res_id, author_id, 'email', 'sent', TRUE FROM mail_message WHERE message_id LIKE '<bench-%%'
"""
DOCUMENTS = """
    INSERT INTO sendgrid_email (odoo_id, account_id, mail_message_id, message_id, partner_id, recipient, is_alone,
                                author_id, subject, sent_date, date, sent_count, recipient_domain,
                                recipient_role, email_from, company_id, model, res_id, is_in_chatter, status,
                                open_count, click_count, machine_open_count, machine_click_count, create_uid,
                                write_uid, create_date, write_date)
    SELECT md5(message.message_id), %(account)s, message.id, message.message_id, contact.id, contact.email_normalized,
           TRUE, message.author_id, message.subject, message.date, message.date, 1,
           split_part(contact.email_normalized, '@', 2), 'to', 'sales@example.com', 1, message.model, message.res_id,
           TRUE, 'sent', 0, 0, 0, 0, 1, 1, message.date, message.date
      FROM mail_message message JOIN res_partner contact ON contact.id = message.res_id
     WHERE message.message_id LIKE '<bench-%%'
  ORDER BY message.id
"""


def create_salespeople(env: Env, count: int) -> Record:
    """Create ordinary salespeople, who see only their own records."""
    groups = env.ref("base.group_user") | env.ref("sales_team.group_sale_salesman")
    return (
        env["res.users"]
        .with_context(no_reset_password=True)
        .create(
            [
                {
                    "name": f"Salesperson {number}",
                    "login": f"bench{number}",
                    "password": f"bench{number}",
                    "email": f"bench{number}@example.com",
                    "group_ids": groups.ids,
                }
                for number in range(1, count + 1)
            ]
        )
    )


def prepare(env: Env, account: Record, documents: int) -> _events.Relay:
    """Write contacts, each with a salesperson and one document of the account, sent second by second from yesterday on.

    :return: SendGrid's side of the documents
    """
    cr = env.cr
    start = (datetime.now(timezone.utc) - timedelta(days=1)).replace(tzinfo=None, microsecond=0)
    users = create_salespeople(env, SALESPEOPLE)
    env.flush_all()
    cr.execute(CONTACTS, {"documents": documents, "users": users.ids})
    # PostgreSQL keeps the plan of a foreign key's check. Made while the table is small, it reads the whole table per
    # row.
    cr.execute("ANALYZE res_partner")
    cr.execute(COMMERCIAL)
    cr.execute(MESSAGES, {"documents": documents, "start": start, "step": timedelta(seconds=1)})
    cr.execute("ANALYZE mail_message")
    cr.execute(NOTIFICATIONS)
    cr.execute(DOCUMENTS, {"account": account.id})
    env.invalidate_all()
    cr.execute("ANALYZE")
    odoo_db = env["sendgrid.email"]._get_odoo_db()
    return _events.Relay(odoo_db, int(start.replace(tzinfo=timezone.utc).timestamp()))


def switch_on_rules(env: Env, webhook_url: str) -> None:
    """Switch on the automation rules that come with the addon, and have their webhook call this URL."""
    for name in RULES:
        rule = env.ref(f"sendgrid_tracking.base_automation_{name}")
        rule.active = True
        rule.action_server_ids.filtered(lambda action: action.state == "webhook").webhook_url = webhook_url
