"""Drop the contact that each event had. It was its e-mail's, where it is read now: the index and its check cost time."""


def migrate(cr, version):
    """Drop the column, and with it its index."""
    cr.execute("ALTER TABLE sendgrid_event DROP COLUMN IF EXISTS partner_id")
