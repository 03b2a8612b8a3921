"""A company's long history, written in SQL: contacts, leads, messages, documents and their events.

The company is the same however long its history is: it has as many contacts, leads and salespeople. Documents follow
one another at the same pace up to now, so that a short history is the last days of a long one. Half of the documents
are about contacts, most of the others about leads; a salesperson sees only his own leads. Chance chooses the record
that a document is about, a few of them more often than most. Chance also chooses how each mail ends, and its events fit
that.
"""

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from typing import NamedTuple

from psycopg2 import sql

from . import _stack, _world
from ._odoo import Cursor, Env

PACE = timedelta(seconds=95)  # a million documents in three years
CONTACTS_COUNT, LEADS_COUNT, SALESPEOPLE = 50_000, 20_000, 20
SHOWN_DOCUMENTS, SHOWN_EVENTS, SHOWN_AMONG = 50, 200, 10_000  # of the contact and the document that the benchmark opens

# Returns a number from 0 to 1, always the same for the same number and purpose.
FUNCTIONS = """
    CREATE FUNCTION pg_temp.draw(number bigint, purpose int) RETURNS float8 LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
    $$ SELECT (hashint8extended(number, purpose) & 2147483647) / 2147483648.0 $$
"""
# Of five contacts the first is a company, and the other four are its people.
CONTACTS = """
    INSERT INTO res_partner (id, name, complete_name, active, type, is_company, parent_id, commercial_partner_id, email,
                             email_normalized, lang, user_id, create_uid, write_uid, create_date, write_date)
    SELECT id, 'Contact ' || number, 'Contact ' || number, TRUE, 'contact', number %% 5 = 0,
           CASE WHEN number %% 5 > 0 THEN id - number %% 5 END, id - number %% 5,
           'contact' || number || '@bench.example.com', 'contact' || number || '@bench.example.com', 'en_US',
           (%(users)s::int[])[1 + number %% array_length(%(users)s::int[], 1)], 1, 1, now(), now()
      FROM (SELECT number, nextval('res_partner_id_seq') AS id FROM generate_series(0, %(contacts)s - 1) number) numbers
"""
LEADS = """
    INSERT INTO crm_lead (name, type, active, priority, stage_id, email_from, email_normalized, partner_id, user_id,
                          probability, create_uid, write_uid, create_date, write_date)
    SELECT 'Lead ' || number, 'opportunity', TRUE, '1', (SELECT min(id) FROM crm_stage),
           'lead' || number || '@bench.example.com', 'lead' || number || '@bench.example.com',
           CASE WHEN number %% 2 = 0 THEN %(first_contact)s + number END,
           (%(users)s::int[])[1 + number %% array_length(%(users)s::int[], 1)], 10, 1, 1, now(), now()
      FROM generate_series(1, %(leads)s) number
"""
# Decides for each document, by its number, what it is about and how it ends. The last number is `documents`.
PLAN = """
    CREATE TEMPORARY TABLE plan AS
    SELECT number, date_trunc('second', %(now)s - (%(documents)s - number) * %(pace)s) AS date,
           nextval('mail_message_id_seq') AS mail_message_id,
           CASE WHEN is_shown OR place < 0.5 THEN 'res.partner' WHEN place < 0.95 THEN 'crm.lead' END AS model,
           CASE WHEN is_shown THEN %(shown)s
                WHEN place < 0.5 THEN %(first_contact)s + floor(%(contacts)s * pg_temp.draw(number, 2) ^ 2)
                WHEN place < 0.95 THEN %(first_lead)s + floor(%(leads)s * pg_temp.draw(number, 2) ^ 2)
            END::int AS res_id,
           (%(users)s::int[])[1 + floor(pg_temp.draw(number, 3) * array_length(%(users)s::int[], 1))::int] AS user_id,
           pg_temp.draw(number, 4) < 0.04 AS is_bounced,
           CASE WHEN number = %(documents)s THEN %(shown_events)s - 2
                ELSE (array[0, 0, 1, 1, 2, 2, 3, 5, 7])[1 + floor(pg_temp.draw(number, 5) * 9)::int] END AS opens,
           CASE WHEN number = %(documents)s THEN 0
                ELSE (array[0, 0, 0, 1, 2])[1 + floor(pg_temp.draw(number, 6) * 5)::int] END AS clicks,
           CASE WHEN number = %(documents)s THEN 0
                ELSE (array[0, 0, 0, 0, 0, 0, 0, 0, 1, 2])[1 + floor(pg_temp.draw(number, 7) * 10)::int]
            END AS deferrals
      FROM (SELECT number, pg_temp.draw(number, 1) AS place,
                   number > %(documents)s - %(shown_among)s
                   AND (%(documents)s - number) %% (%(shown_among)s / %(shown_documents)s) = 0 AS is_shown
              FROM generate_series(1, %(documents)s) number) numbers
  ORDER BY number
"""
NOBODY_OPENS_WHAT_BOUNCED = "UPDATE plan SET opens = 0, clicks = 0 WHERE is_bounced AND number < %(documents)s"
MESSAGES = """
    INSERT INTO mail_message (id, model, res_id, message_type, subtype_id, date, subject, body, author_id, email_from,
                              message_id, is_internal, create_uid, write_uid, create_date, write_date)
    SELECT plan.mail_message_id, plan.model, plan.res_id, 'comment', subtype.res_id, plan.date,
           'Your quotation ' || plan.number,
           '<p>Dear customer, please find our quotation ' || plan.number || ' attached.</p>', author.partner_id,
           'sales@example.com', '<bench-' || plan.number || '@example.com>', FALSE, 1, 1, plan.date, plan.date
      FROM plan
      JOIN res_users author ON author.id = plan.user_id
      JOIN ir_model_data subtype ON subtype.module = 'mail' AND subtype.name = 'mt_comment'
  ORDER BY plan.number
"""
DOCUMENTS = """
    INSERT INTO sendgrid_email (odoo_id, account_id, mail_message_id, message_id, sg_message_id, partner_id, recipient,
                                is_alone, author_id, subject, sent_date, date, sent_count, recipient_domain,
                                recipient_role, email_from, company_id, model, res_id, is_in_chatter, status,
                                status_reason, processed_date, delivered_date, first_open_date, last_open_date,
                                open_count, click_count, machine_open_count, machine_click_count, facts, create_uid,
                                write_uid, create_date, write_date)
    SELECT md5(plan.number::text), %(account)s, plan.mail_message_id, '<bench-' || plan.number || '@example.com>',
           left(translate(encode(sha256(plan.number::text::bytea), 'base64'), '+/', '-_'), 22),
           CASE plan.model WHEN 'res.partner' THEN plan.res_id WHEN 'crm.lead' THEN lead.partner_id END,
           COALESCE(contact.email_normalized, lead.email_normalized, 'reader' || plan.number || '@bench.example.com'),
           TRUE, author.partner_id, 'Your quotation ' || plan.number, plan.date, plan.date, 1,
           split_part(COALESCE(contact.email_normalized, lead.email_normalized, '@bench.example.com'), '@', 2), 'to',
           'sales@example.com', 1, plan.model, plan.res_id, TRUE,
           CASE WHEN is_bounced THEN 'bounced' WHEN clicks > 0 THEN 'clicked' WHEN opens > 0 THEN 'opened'
                ELSE 'delivered' END,
           CASE WHEN is_bounced THEN '550 5.1.1 The email account that you tried to reach does not exist.' END,
           plan.date + interval '2 s', CASE WHEN NOT is_bounced THEN plan.date + interval '9 s' END,
           CASE WHEN opens > 0 THEN plan.date + interval '1 h' END,
           CASE WHEN opens > 0 THEN plan.date + opens * interval '1 h' END, opens, clicks, 0, 0,
           jsonb_build_object(CASE WHEN is_bounced THEN 'bounced' WHEN clicks > 0 THEN 'clicked' ELSE 'delivered' END,
                              CASE WHEN is_bounced THEN EXTRACT(EPOCH FROM plan.date)::bigint ELSE 0 END),
           1, 1, plan.date, plan.date
      FROM plan
      JOIN res_users author ON author.id = plan.user_id
 LEFT JOIN res_partner contact ON plan.model = 'res.partner' AND contact.id = plan.res_id
 LEFT JOIN crm_lead lead ON plan.model = 'crm.lead' AND lead.id = plan.res_id
  ORDER BY plan.number
"""
EVENTS = """
    INSERT INTO sendgrid_event (email_id, account_id, match, event, timestamp, recipient, reason, response,
                                smtp_status, attempt, bounce_type, bounce_classification, url, url_offset, ip,
                                user_agent, verdict, is_machine, sg_event_id, sg_message_id, odoo_id, fingerprint,
                                create_uid, write_uid, create_date, write_date)
    SELECT email.id, email.account_id, 'odoo_id', told.event, told.date, email.recipient,
           CASE told.event WHEN 'bounce' THEN email.status_reason END,
           CASE told.event WHEN 'delivered' THEN '250 2.0.0 OK 1795500003 d9443c01a7336-test - mx.example.org'
                           WHEN 'deferred' THEN '451 4.7.1 Greylisting in action, please come back later' END,
           CASE told.event WHEN 'bounce' THEN '5.1.1' END, CASE told.event WHEN 'deferred' THEN told.turn END,
           CASE told.event WHEN 'bounce' THEN 'bounce' END, CASE told.event WHEN 'bounce' THEN 'Invalid Address' END,
           CASE told.event WHEN 'click' THEN 'https://shop.example.com/quotations/' || plan.number END,
           CASE told.event WHEN 'click' THEN 'html:' || told.turn END,
           CASE WHEN told.event <> 'processed' THEN '203.0.113.' || plan.number %% 250 END,
           CASE WHEN told.event IN ('open', 'click') THEN
               'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/'
               || 100 + plan.number %% 41 || '.0.0.0 Safari/537.36' END,
           CASE WHEN told.event IN ('open', 'click') THEN 'human' END,
           CASE WHEN told.event IN ('open', 'click') THEN FALSE END,
           name.text, email.sg_message_id, email.odoo_id, left(name.text, 22), 1, 1, told.date, told.date
      FROM plan
      JOIN sendgrid_email email ON email.odoo_id = md5(plan.number::text)
     CROSS JOIN LATERAL (
            SELECT 'processed' AS event, 0 AS turn, plan.date + interval '2 s' AS date
             UNION ALL
            SELECT 'deferred', turn, plan.date + turn * interval '3 s' FROM generate_series(1, deferrals) turn
             UNION ALL
            SELECT CASE WHEN is_bounced THEN 'bounce' ELSE 'delivered' END, 0, plan.date + interval '9 s'
             UNION ALL
            SELECT 'open', turn, plan.date + turn * interval '1 h' FROM generate_series(1, opens) turn
             UNION ALL
            SELECT 'click', turn, plan.date + turn * interval '61 min' FROM generate_series(1, clicks) turn) told
     CROSS JOIN LATERAL (
            SELECT encode(sha256((told.event || told.turn || '-' || plan.number)::bytea), 'base64') AS text) name
  ORDER BY plan.number, told.date
"""
TABLES = ("mail_message", "res_partner", "crm_lead", "sendgrid_email", "sendgrid_event")
# Drops the indexes and foreign keys, and makes them again. Checking them row by row would take most of the time.
INDEXES = """
    SELECT format('DROP INDEX %%s', indexrelid::regclass), pg_get_indexdef(indexrelid)
      FROM pg_index
     WHERE indrelid = ANY(%s::regclass[]) AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
"""
REFERENCES = """
    SELECT format('ALTER TABLE %%s DROP CONSTRAINT %%I', conrelid::regclass, conname),
           format('ALTER TABLE %%s ADD CONSTRAINT %%I %%s', conrelid::regclass, conname, pg_get_constraintdef(oid))
      FROM pg_constraint WHERE conrelid = ANY(%s::regclass[]) AND contype = 'f'
"""


class History(NamedTuple):
    """The ids that the benchmark opens, the same in each history, and the login of the salesperson who opens them."""

    contact: int
    document: int
    login: str


def write(env: Env, documents: int) -> History:
    """Write a history into a fresh database, and commit it.

    :return: the `History`: a contact with 50 e-mails, one of them with 200 events, and a salesperson
    """
    cr = env.cr
    account = env["sendgrid.account"].create({"name": "Benchmark"})
    users = _world.create_salespeople(env, SALESPEOPLE)
    shown = env["res.partner"].create({"name": "Ada Lovelace", "email": "ada@bench.example.com"})
    env.flush_all()
    values = {
        "account": account.id,
        "contacts": CONTACTS_COUNT,
        "documents": documents,
        "first_contact": shown.id + 1,
        "leads": LEADS_COUNT,
        "now": env.cr.now(),
        "pace": PACE,
        "shown": shown.id,
        "shown_among": SHOWN_AMONG,
        "shown_documents": SHOWN_DOCUMENTS,
        "shown_events": SHOWN_EVENTS,
        "users": users.ids,
    }
    cr.execute("SET LOCAL maintenance_work_mem = '256MB'")
    with _bare_tables(cr):
        cr.execute(FUNCTIONS)
        cr.execute(CONTACTS, values)
        cr.execute(LEADS, values)
        cr.execute("SELECT min(id) FROM crm_lead WHERE email_normalized LIKE 'lead%%@bench.example.com'")
        [values["first_lead"]] = cr.fetchone()
        for statement in (PLAN, NOBODY_OPENS_WHAT_BOUNCED, MESSAGES, DOCUMENTS):
            cr.execute(statement, values)
        cr.execute("ANALYZE plan, sendgrid_email")
        cr.execute(EVENTS, values)
        cr.execute("DROP TABLE plan")
    cr.execute("SELECT max(id) FROM sendgrid_email")
    [document] = cr.fetchone()
    cr.commit()
    # PostgreSQL would do this by itself sooner or later; do it now, so that it does not happen during a measurement.
    _stack.query(cr.dbname, sql.SQL("VACUUM (ANALYZE) {}").format(sql.SQL(", ").join(map(sql.Identifier, TABLES))))
    return History(shown.id, document, users[0].login)


@contextlib.contextmanager
def _bare_tables(cr: Cursor) -> Iterator[None]:
    """Take the indexes and references of the tables away for a while."""
    back = []
    for query in (REFERENCES, INDEXES):
        cr.execute(query, [list(TABLES)])
        for drop, create in cr.fetchall():
            cr.execute(drop)
            back.insert(0, create)
    yield
    for create in back:
        cr.execute(create)
