from odoo.tools import SQL

from odoo.addons.sendgrid_tracking.tools.sending.pixels import remove_pixels  # noqa: TID251

# So many messages are looked at in one query. Only those with a pixel are read.
CHUNK = 20_000


def migrate(cr, version):
    """Take SendGrid's pixels out of the answers that came in since the first tracked e-mail left.

    Else each look at such a chatter goes on counting as the recipient's. Older messages can only have the pixels of
    mails without documents.
    """
    if not version:
        return
    cr.execute(
        """
        SELECT first.sent, coalesce(min(message.id), 0), coalesce(max(message.id), -1)
          FROM (SELECT min(sent_date) AS sent FROM sendgrid_email) first
     LEFT JOIN mail_message message ON message.date >= first.sent
         GROUP BY first.sent
        """
    )
    sent, first, last = cr.fetchone()
    for start in range(first, last + 1, CHUNK):
        cr.execute(
            """
            SELECT id, body
              FROM mail_message
             WHERE id >= %s AND id < %s AND date >= %s
               AND message_type IN ('email', 'comment') AND body LIKE '%%/wf/open%%'
            """,
            [start, start + CHUNK, sent],
        )
        rows = [(message, clean) for message, body in cr.fetchall() if (clean := remove_pixels(body)) != body]
        if rows:
            cr.execute(
                SQL(
                    """
                    UPDATE mail_message
                       SET body = clean.body
                      FROM (VALUES %s) clean(id, body)
                     WHERE mail_message.id = clean.id
                    """,
                    SQL(", ").join(SQL("(%s, %s)", *row) for row in rows),
                )
            )
