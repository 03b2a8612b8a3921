"""Store addresses with the domain as DNS knows it: until now they were stored as they were spelled.

Those that are not ASCII are few. Odoo runs this file after `post-addresses.py`.
"""

from odoo.tools import SQL

from odoo.addons.sendgrid_tracking.tools.address_form import comparable  # noqa: TID251

# The addresses of a table, and the other columns of which they are unique together with them.
TABLES = {
    "sendgrid_address": ("email", ()),
    "sendgrid_suppression": ("email", ("account_id", "list", "group_id")),
    "sendgrid_event": ("recipient", None),
}
# The facts about an address of which the later counts.
DATES = ("bounce_date", "valid_date", "last_reply_date", "wish_date", "reminder_date", "wanted_date")


def migrate(cr, version):
    """Rename the addresses. If the new name is there already, its row stays."""
    for table, (column, unique) in TABLES.items():
        cr.execute(
            SQL(
                "SELECT id, %(column)s FROM %(table)s WHERE octet_length(%(column)s) <> char_length(%(column)s)",
                column=SQL.identifier(column),
                table=SQL.identifier(table),
            )
        )
        for id_, address in cr.fetchall():
            if (name := comparable(address)) != address:
                _rename(cr, table, column, unique, id_, name)


def _rename(cr, table, column, unique, id_, name):
    if unique is not None:
        same = SQL(" AND ").join(
            [SQL("other.%s = %s", SQL.identifier(column), name)]
            + [SQL("other.%s IS NOT DISTINCT FROM own.%s", *[SQL.identifier(key)] * 2) for key in unique]
        )
        cr.execute(
            SQL(
                "SELECT other.id FROM %(table)s own JOIN %(table)s other ON %(same)s WHERE own.id = %(id)s",
                table=SQL.identifier(table),
                same=same,
                id=id_,
            )
        )
        if other := cr.fetchone():
            if table == "sendgrid_address":
                later = [SQL("%s = GREATEST(other.%s, own.%s)", *[SQL.identifier(date)] * 3) for date in DATES]
                later.append(SQL("bounce_reason = COALESCE(other.bounce_reason, own.bounce_reason)"))
                cr.execute(
                    SQL(
                        """UPDATE sendgrid_address other SET %s FROM sendgrid_address own
                            WHERE other.id = %s AND own.id = %s""",
                        SQL(", ").join(later),
                        other[0],
                        id_,
                    )
                )
            cr.execute(SQL("DELETE FROM %s WHERE id = %s", SQL.identifier(table), id_))
            return
    cr.execute(SQL("UPDATE %s SET %s = %s WHERE id = %s", SQL.identifier(table), SQL.identifier(column), name, id_))
