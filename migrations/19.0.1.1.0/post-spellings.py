"""Store addresses with the domain as DNS knows it: until now they were stored as they were spelled.

Those that are not ASCII are few. Odoo runs this file after `post-addresses.py`.
"""

import json

from odoo.tools import SQL

from odoo.addons.sendgrid_tracking.tools.address_form import comparable  # noqa: TID251

# The addresses of a table, and the other columns of which they are unique together with them.
TABLES = {
    "sendgrid_address": ("email", ()),
    "sendgrid_suppression": ("email", ("account_id", "list", "group_id")),
    "sendgrid_event": ("recipient", None),
}
# The facts about an address of which the later counts, and what belongs to each.
FACTS = {
    "bounce_date": ("bounce_reason", "bounce_cause"),
    "valid_date": ("valid_uid",),
    "last_reply_date": (),
    "wish_date": (),
    "reminder_date": (),
    "wanted_date": ("wanted_uid",),
}


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
                _merge(cr, other[0], id_)
            cr.execute(SQL("DELETE FROM %s WHERE id = %s", SQL.identifier(table), id_))
            return
    cr.execute(SQL("UPDATE %s SET %s = %s WHERE id = %s", SQL.identifier(table), SQL.identifier(column), name, id_))


def _merge(cr, id_, other_id):
    """Add what is known of an address under another spelling, as `sendgrid.address` puts words together."""
    columns = [column for date, others in FACTS.items() for column in (date, *others)]
    cr.execute(
        SQL(
            """SELECT %s, groups::text AS groups, is_blacklisted_by_words FROM sendgrid_address
                WHERE id = ANY(%s) ORDER BY id = %s DESC""",
            SQL(", ").join(map(SQL.identifier, columns)),
            [id_, other_id],
            id_,
        )
    )
    one, other = cr.dictfetchall()
    values = {}
    for date, others in FACTS.items():
        is_later = other[date] and (not one[date] or other[date] > one[date])
        values |= {column: (other if is_later else one)[column] for column in (date, *others)}
    groups = {}
    for words in (one["groups"], other["groups"]):
        for group, word in (json.loads(words or "null") or {}).items():
            groups[group] = max(groups.get(group, word), word)
    values["groups"] = json.dumps(groups) if groups else None
    values["is_blacklisted_by_words"] = one["is_blacklisted_by_words"] or other["is_blacklisted_by_words"]
    assignments = [SQL("%s = %s", SQL.identifier(column), value) for column, value in values.items()]
    cr.execute(SQL("UPDATE sendgrid_address SET %s WHERE id = %s", SQL(", ").join(assignments), id_))
