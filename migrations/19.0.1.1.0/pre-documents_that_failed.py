"""Fill what documents newly say about their sending: all of them have left, and once as far as is known.

The ORM would compute the values record by record, so that the columns are added and filled here, in one UPDATE.
"""

from odoo.tools import SQL, sql

COLUMNS = {
    "date": ("timestamp", "Date"),
    "recipient_domain": ("varchar", "Recipient's Domain"),
    "company_id": ("int4", "Company"),
}


def migrate(cr, version):
    """Add the columns as the ORM does, which then finds them. A second run changes nothing."""
    if not sql.column_exists(cr, "sendgrid_email", "sent_count"):
        # With a default value PostgreSQL need not write the many rows.
        sql.create_column(cr, "sendgrid_email", "sent_count", "int4 DEFAULT 1", "Times Sent")
        cr.execute("ALTER TABLE sendgrid_email ALTER COLUMN sent_count DROP DEFAULT")
    for name, (kind, label) in COLUMNS.items():
        if not sql.column_exists(cr, "sendgrid_email", name):
            sql.create_column(cr, "sendgrid_email", name, kind, label)
    # What was sent is encoded for SMTP, so that the domains are in their ASCII form already.
    cr.execute(
        r"""
        UPDATE sendgrid_email email
           SET date = email.sent_date, company_id = account.company_id,
               recipient_domain = NULLIF(lower(substring(email.recipient FROM '@([^@]*)$')), '')
          FROM sendgrid_account account
         WHERE account.id = email.account_id AND email.date IS NULL
        """
    )
    cr.execute(SQL("DROP INDEX IF EXISTS %s", SQL.identifier("sendgrid_email_sent_date_idx")))
