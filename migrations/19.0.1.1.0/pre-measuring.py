"""Leave open who is measured: version 19.0.1.0.0 measured everybody, and only an administrator may change that."""

from odoo.tools import sql


def migrate(cr, version):
    """Add the column as the ORM does, which then finds it and gives the companies no default.

    Empty, everybody is measured as before, and the accounts' Health says so until somebody has chosen.
    """
    if not sql.column_exists(cr, "res_company", "sendgrid_unasked"):
        sql.create_column(cr, "res_company", "sendgrid_unasked", "varchar", "Measure Who Was Not Asked")
