"""Note from where the accounts are connected: version 19.0.1.0.0 did not tell a copied database from its original."""

from odoo import SUPERUSER_ID, api
from odoo.tools import str2bool

from odoo.addons.sendgrid_tracking.models.sendgrid_account_place import UNKNOWN_PLACE  # noqa: TID251


def migrate(cr, version):
    """Take this database for the one that the accounts were connected from. A copy of it is asked from now on.

    One that is neutralised is a copy itself, and asks too: nobody knows the place of its original.
    """
    env = api.Environment(cr, SUPERUSER_ID, {})
    is_copy = str2bool(env["ir.config_parameter"].get_param("database.is_neutralized", "False"), False)
    for account in env["sendgrid.account"].search([("active", "in", [True, False])]):
        # Not by the ORM, because nobody has changed the account.
        cr.execute(
            """
            UPDATE sendgrid_account
               SET connected_uuid = %(connected_uuid)s,
                   connected_database = %(connected_database)s,
                   connected_url = %(connected_url)s
             WHERE id = %(id)s
            """,
            {**(UNKNOWN_PLACE if is_copy else account._get_place()), "id": account.id},
        )
