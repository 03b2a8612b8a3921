"""Add the counts that documents newly have, with the value 0: so PostgreSQL need not write the many rows."""

from odoo.tools import SQL, sql

COLUMNS = {"unknown_open_count": "Opens, by Whom Unknown", "unknown_click_count": "Clicks, by Whom Unknown"}


def migrate(cr, version):
    """Add the columns as the ORM does, which then finds them."""
    for name, label in COLUMNS.items():
        if sql.column_exists(cr, "sendgrid_email", name):
            continue
        sql.create_column(cr, "sendgrid_email", name, "int4 DEFAULT 0", label)
        cr.execute(SQL("ALTER TABLE sendgrid_email ALTER COLUMN %s DROP DEFAULT", SQL.identifier(name)))
