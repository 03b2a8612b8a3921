"""Name the mass mailing of documents that were sent before: lists group by it."""

from odoo.tools.sql import table_exists


def migrate(cr, version):
    if not table_exists(cr, "mailing_mailing"):
        return
    cr.execute(
        """UPDATE sendgrid_email email
              SET mailing_source_id = mailing.source_id
             FROM mailing_mailing mailing
            WHERE mailing.id = email.mailing_res_id AND email.mailing_source_id IS NULL"""
    )
