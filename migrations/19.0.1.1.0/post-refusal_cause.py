"""Tell the cause of the bounces and drops that version 19.0.1.0.0 stored, and of the documents that they decided.

Statuses, facts and flags stay as they are, because they had their consequences long ago. A document follows the new
rules as soon as another event of it arrives. Contacts that were flagged for another cause than the address stay flagged
until somebody confirms the address.
"""

# A migration is no part of the package, so that it cannot import relatively.
from odoo.addons.sendgrid_tracking.tools.events.refusal import (  # noqa: TID251
    CAUSES,
    HELD_BACK,
    drop_cause,
    refusal_cause,
)

# So many events are read and updated at once.
CHUNK = 10_000
# A server's reason may hold a whole returned mail. What it says comes first, so that much of it tells the cause.
REASON_LENGTH = 1000


def migrate(cr, version):
    """Read bounces and drops in chunks. All others are left alone: they are most of the events."""
    last = 0
    while last is not None:
        last = tell_causes(cr, last)
    tell_held(cr)
    tell_documents(cr)


def tell_causes(cr, last):
    """Tell the causes of the next chunk of events.

    :param int last: the id of the last event that was read
    :return: the same after the chunk, None if there is no further event
    """
    cr.execute(
        """
        SELECT id, event, left(reason, %s), smtp_status, bounce_type, bounce_classification
          FROM sendgrid_event
         WHERE event IN ('bounce', 'dropped') AND id > %s
      ORDER BY id LIMIT %s
        """,
        [REASON_LENGTH, last, CHUNK],
    )
    rows = cr.fetchall()
    ids, causes = [], []
    for id_, event, reason, *said in rows:
        cause = refusal_cause(reason, *said) if event == "bounce" else drop_cause(reason)
        if cause:
            ids.append(id_)
            causes.append(cause)
    cr.execute(
        """
        UPDATE sendgrid_event event SET refusal_cause = told.cause
          FROM unnest(%s::int[], %s::varchar[]) AS told (id, cause)
         WHERE event.id = told.id AND event.refusal_cause IS NULL
        """,
        [ids, causes],
    )
    return rows[-1][0] if rows else None


def tell_held(cr):
    """Give drops of addresses that bounced before the cause of the bounce behind them, as `_settle_held` does.

    The bounces are copied into a table with an index, because the indexes of this version may not exist yet.
    """
    cr.execute(
        """
        CREATE TEMPORARY TABLE sendgrid_hard_bounce ON COMMIT DROP AS
        SELECT account_id, recipient, timestamp, refusal_cause
          FROM sendgrid_event
         WHERE event = 'bounce' AND COALESCE(lower(bounce_type), '') !~ '^(block|expired)'
        """
    )
    cr.execute("CREATE INDEX ON sendgrid_hard_bounce (recipient, timestamp)")
    cr.execute("ANALYZE sendgrid_hard_bounce")
    cr.execute(
        """
        UPDATE sendgrid_event event SET refusal_cause = told.cause
          FROM (SELECT held.id,
                       (SELECT bounce.refusal_cause
                          FROM sendgrid_hard_bounce bounce
                         WHERE bounce.recipient = held.recipient AND bounce.account_id = held.account_id
                           AND bounce.timestamp <= held.timestamp
                      ORDER BY bounce.timestamp DESC, array_position(%s, bounce.refusal_cause) LIMIT 1) AS cause
                  FROM sendgrid_event held
                 WHERE held.event = 'dropped' AND lower(held.reason) LIKE %s) told
         WHERE event.id = told.id AND told.cause IS NOT NULL AND event.refusal_cause IS NULL
        """,
        [list(CAUSES), f"{HELD_BACK}%"],
    )
    cr.execute("DROP TABLE sendgrid_hard_bounce")


def tell_documents(cr):
    """Give documents that did not arrive the cause of the last event that may have decided their status."""
    cr.execute(
        """
        UPDATE sendgrid_email email SET refusal_cause = told.cause
          FROM (SELECT DISTINCT ON (event.email_id) event.email_id, event.refusal_cause AS cause
                  FROM sendgrid_event event
                  JOIN sendgrid_email refused ON refused.id = event.email_id
                 WHERE refused.status IN ('blocked', 'dropped', 'bounced')
                   AND event.event = CASE WHEN refused.status = 'dropped' THEN 'dropped' ELSE 'bounce' END
                   AND event.event IN ('bounce', 'dropped')
                   AND COALESCE(event.reason, '') = COALESCE(refused.status_reason, '')
              ORDER BY event.email_id, event.timestamp DESC, event.id DESC) told
         WHERE email.id = told.email_id AND told.cause IS NOT NULL AND email.refusal_cause IS NULL
        """
    )
