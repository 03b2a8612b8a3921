"""Runs for each index of the large tables a query that needs it: without the index, and with it as the floor.

The queries ask about a document of a long history, its events, and the feed of its author. An index that has no query
here is an error.
"""

import statistics
import sys
import time

from psycopg2 import sql

from . import _million, _odoo, _report, _stack
from ._odoo import Cursor

DOCUMENTS, ROUNDS, FASTER = 200_000, 5, 2
SAMPLE = """
    SELECT email.id, email.odoo_id, email.recipient, email.model, email.res_id, email.sg_message_id, email.message_id,
           email.partner_id, email.author_id, email.account_id, email.mail_message_id, event.fingerprint,
           %(nobody)s AS nobody, (SELECT id FROM res_users WHERE partner_id = email.author_id) AS user_id
      FROM sendgrid_email email JOIN sendgrid_event event ON event.email_id = email.id
     WHERE email.id > (SELECT max(id) / 2 FROM sendgrid_email) AND email.partner_id IS NOT NULL LIMIT 1
"""
EMAIL, EVENT = "SELECT id FROM sendgrid_email WHERE ", "SELECT id FROM sendgrid_event WHERE "
INTERACTION = "SELECT id FROM sendgrid_interaction WHERE "
# The feeds of all authors, as the history's events would have filled them. Each author has not seen his last ones.
FEEDS = """
    INSERT INTO sendgrid_interaction (user_id, email_id, kind, mailing_res_id, date, is_seen, told_date)
    SELECT users.id, email.id, kind, CASE WHEN email.id %% 2 = 0 THEN email.id %% 4 + 1 END,
           email.date + interval '1 h', email.date < %(now)s - interval '1 day',
           CASE WHEN email.id %% 100 = 0 THEN email.date + interval '1 h' END
      FROM sendgrid_email email
      JOIN res_users users ON users.partner_id = email.author_id
      JOIN (VALUES ('opened'), ('clicked'), ('failed')) kinds (kind)
        ON CASE kind WHEN 'opened' THEN open_count > 0 WHEN 'clicked' THEN click_count > 0 ELSE status = 'bounced' END
"""
# As where another program sends through the same account: every tenth event belongs to no document.
STRANGERS = "UPDATE sendgrid_event SET email_id = NULL, match = 'unknown' WHERE id % 10 = 0"
# For each index its purpose, and the query.
QUERIES = {
    "sendgrid_email_odoo_id_recipient_uniq": ("an event's document by our id", EMAIL + "odoo_id = %(odoo_id)s"),
    "sendgrid_email__sg_message_id_index": ("by SendGrid's id", EMAIL + "sg_message_id = %(sg_message_id)s"),
    "sendgrid_email__message_id_index": ("by Message-ID", EMAIL + "message_id = %(message_id)s"),
    "sendgrid_email_recipient_idx": (
        "the latest to an address: a bounce without ids, a lead, a refusal",
        EMAIL + "recipient = %(recipient)s ORDER BY sent_date DESC LIMIT 1",
    ),
    "sendgrid_email__partner_id_index": ("the Documents of a contact", EMAIL + "partner_id = %(partner_id)s"),
    "sendgrid_email_model_res_id_idx": (
        "the Documents of a lead; what documents are about",
        EMAIL + "model = %(model)s AND res_id = %(res_id)s",
    ),
    "sendgrid_email_date_idx": (
        "the list, a report over a period",
        EMAIL + "TRUE ORDER BY date DESC, id DESC LIMIT 80",
    ),
    "sendgrid_email_deferred_idx": ("what to give up after 72 hours", EMAIL + "status = 'deferred'"),
    "sendgrid_email__mail_message_id_index": ("deleting a message", EMAIL + "mail_message_id = %(mail_message_id)s"),
    "sendgrid_email__mail_id_index": ("deleting a mail, its Tracking page", EMAIL + "mail_id = %(nobody)s"),
    "sendgrid_email__author_id_index": ("deleting a contact", EMAIL + "author_id = %(nobody)s"),
    "sendgrid_email__content_id_index": ("whether a content is still used", EMAIL + "content_id = %(nobody)s"),
    "sendgrid_email__again_of_id_index": ("what was sent again", EMAIL + "again_of_id = %(nobody)s"),
    "sendgrid_email_mailing_idx": ("the documents of a mailing", EMAIL + "mailing_res_id = %(nobody)s"),
    "sendgrid_event_fingerprint_uniq": ("what is known already", EVENT + "fingerprint = %(fingerprint)s"),
    "sendgrid_event__email_id_index": ("a document's events: its page, its fold", EVENT + "email_id = %(id)s"),
    "sendgrid_event__batch_id_index": ("forgetting a batch", EVENT + "batch_id = %(nobody)s"),
    "sendgrid_event_early_idx": ("events that wait for their document", EVENT + "match = 'early'"),
    "sendgrid_event_unmatched_idx": (
        "events whose SendGrid id has become known",
        EVENT + "email_id IS NULL AND sg_message_id = %(sg_message_id)s",
    ),
    "sendgrid_event_unmatched_recipient_idx": (
        "Privacy Lookup: an address's events without a document",
        EVENT + "email_id IS NULL AND recipient = %(recipient)s",
    ),
    "sendgrid_event_answer_recipient_idx": (
        "Privacy Lookup: an address's answers to somebody else's e-mails",
        EVENT + "answer IN ('contact', 'alone', 'other', 'automatic', 'report') AND recipient = %(recipient)s",
    ),
    "sendgrid_event_refusal_idx": (
        "the bounce behind a drop",
        EVENT + "event = 'bounce' AND recipient = %(recipient)s AND timestamp <= now() ORDER BY timestamp DESC LIMIT 1",
    ),
    "sendgrid_event_sender_refusal_idx": (
        "Health: what receivers refused lately because of the sender",
        EVENT + "refusal_cause = 'sender' AND account_id = %(account_id)s AND timestamp > now() - interval '1 day'",
    ),
    "sendgrid_event_unknown_idx": (
        "which events of unknown e-mails are old enough to be deleted",
        EVENT + "match = 'unknown' AND account_id = %(account_id)s AND id > 0 ORDER BY id LIMIT 1000",
    ),
    "sendgrid_event__answer_message_id_index": ("deleting a message", EVENT + "answer_message_id = %(nobody)s"),
    "sendgrid_event_asked_for_idx": (
        "what was asked for of the documents of a drain's chunk",
        EVENT + "source IS NOT NULL AND email_id = ANY(ARRAY(SELECT generate_series(%(id)s, %(id)s + 2000)))",
    ),
    "sendgrid_event_activity_idx": (
        "the few contacts and leads where somebody read or answered lately",
        "SELECT email_id FROM sendgrid_event WHERE timestamp > now() - interval '1 day' AND email_id IS NOT NULL AND "
        "(event IN ('open', 'click') AND verdict IN ('human', 'unknown') OR answer IN ('own', 'contact', 'alone', "
        "'portal')) LIMIT 10001",
    ),
    "sendgrid_interaction_email_kind_user_uniq": (
        "a document's interactions: filling the feed, deleting the document",
        INTERACTION + "email_id = %(id)s",
    ),
    "sendgrid_interaction_user_date_idx": (
        "the page of the feed",
        INTERACTION + "user_id = %(user_id)s ORDER BY date DESC, id DESC LIMIT 80",
    ),
    "sendgrid_interaction_line_idx": (
        "opening the feed: the newest of each mailing, its lines' numbers",
        INTERACTION + "user_id = %(user_id)s AND kind = 'opened' AND mailing_res_id > 1 "
        "ORDER BY mailing_res_id, date DESC, id DESC LIMIT 1",
    ),
    "sendgrid_interaction_unseen_idx": (
        "the number of unseen interactions",
        INTERACTION + "user_id = %(user_id)s AND is_seen IS NOT TRUE LIMIT 100",
    ),
    "sendgrid_interaction_told_mailing_idx": (
        "whether a mailing was told within the hour",
        INTERACTION + "user_id = %(user_id)s AND kind = 'opened' AND mailing_res_id = 3 AND told_date > now()",
    ),
}
PRESENT = """
    SELECT indexrelid::regclass::text FROM pg_index
     WHERE NOT indisprimary
       AND indrelid IN ('sendgrid_email'::regclass, 'sendgrid_event'::regclass, 'sendgrid_interaction'::regclass)
"""


def compare(cr: Cursor) -> list[_report.Row]:
    """Return the rows of the table, one for each index in the database."""
    cr.execute(PRESENT)
    present = {name for [name] in cr.fetchall()}
    if present != QUERIES.keys():
        raise AssertionError(f"Indexes without a query, or the reverse: {sorted(present ^ QUERIES.keys())}")
    cr.execute(SAMPLE, {"nobody": 2**31 - 1})
    sample = dict(zip([column.name for column in cr.description], cr.fetchone(), strict=True))
    rows = []
    for index, (purpose, query) in QUERIES.items():
        cr.execute("SAVEPOINT without")
        having = _median(cr, query, sample)
        cr.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(index)))
        missing = _median(cr, query, sample)
        cr.execute("ROLLBACK TO SAVEPOINT without")
        rows.append(_report.at_least(f"index {index}: {purpose}", missing, having, FASTER, "µs"))
    return rows


def _median(cr: Cursor, query: str, sample: dict) -> float:
    """Return the median time of the query in microseconds."""
    times = []
    for _round in range(ROUNDS):
        start = time.perf_counter()
        cr.execute(query, sample)
        cr.fetchall()
        times.append((time.perf_counter() - start) * 1e6)
    return statistics.median(times)


def measure(scale: float) -> list[_report.Row]:
    """The rows of the table."""
    with _odoo.fresh_database() as name, _odoo.environment(name) as env:
        _million.write(env, int(DOCUMENTS * scale))
        env.cr.execute(FEEDS, {"now": env.cr.now()})
        env.cr.execute(STRANGERS)
        env.cr.commit()
        _stack.query(name, "VACUUM (ANALYZE) sendgrid_interaction, sendgrid_event")
        return compare(env.cr)


if __name__ == "__main__":
    sys.exit(_report.run(measure, __doc__))
