"""Drop the contact of each event: it was the e-mail's, where it is read now. Its index and its check cost time."""


def migrate(cr, version):
    """Drop the column, and with it its index."""
    cr.execute("ALTER TABLE sendgrid_event DROP COLUMN IF EXISTS partner_id")
