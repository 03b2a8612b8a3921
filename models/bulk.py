"""Many rows in one query, where the ORM would need one each or knows no word for it (ON CONFLICT).

Values are those of the columns: moments in UTC, ids for many2one, None for NULL.
"""

import json

from odoo.tools import SQL

NO_CONFLICT = SQL()
SKIP_KNOWN = SQL("ON CONFLICT DO NOTHING")


def insert(records, rows, conflict=NO_CONFLICT, returning=("id",), condition=None):
    """Insert rows into the table of a model, and return what the new rows have in some columns.

    The rows ``[{"a": 1, "b": "x"}, {"a": 2, "b": None}]`` become ``INSERT INTO table AS known (a, b) SELECT a, b FROM
    unnest('{1,2}'::int4[], '{"x",NULL}'::varchar[]) AS new (a, b)``.

    :param records: an empty recordset of the model
    :param rows: list of dicts, all with the same columns in the same order
    :param conflict: SQL, what to do with a row that is there already; the table is called ``known`` in it
    :param condition: SQL on the columns of a row, which are called ``new``; other rows are left out
    :return: list of tuples
    """
    if not rows:
        return []
    columns = SQL(", ").join(map(SQL.identifier, rows[0]))
    records.env.cr.execute(
        SQL(
            """INSERT INTO %(table)s AS known (%(columns)s)
               SELECT %(columns)s FROM unnest(%(arrays)s) AS new (%(columns)s) WHERE %(condition)s
               %(conflict)s RETURNING %(returning)s""",
            table=SQL.identifier(records._table),
            columns=columns,
            arrays=_to_arrays(records, rows),
            condition=condition or SQL("TRUE"),
            conflict=conflict,
            returning=SQL(", ").join(SQL.identifier("known", name) for name in returning),
        ),
        log_exceptions=False,
    )
    return records.env.cr.fetchall()


def update(records, values_by_id):
    """Write differing values to many records, and tell the ORM of it.

    As JSON and not as arrays: of arrays PostgreSQL knows the number of rows, and might join them in another order.

    :param records: a recordset of the model
    :param values_by_id: {id: {column: value}}, the same columns for all; False is NULL
    """
    if not values_by_id:
        return
    columns = list(next(iter(values_by_id.values())))
    rows = [
        {"id": id_, **{name: None if value is False else value for name, value in values.items()}}
        # In one order for all who write, so that two transactions wait for each other instead of ending in a deadlock.
        for id_, values in sorted(values_by_id.items())
    ]
    table = SQL.identifier(records._table)
    records.env.cr.execute(
        SQL(
            "UPDATE %s SET %s FROM json_populate_recordset(NULL::%s, %s) new WHERE %s = new.id",
            table,
            SQL(", ").join(SQL("%s = new.%s", SQL.identifier(name), SQL.identifier(name)) for name in columns),
            table,
            json.dumps(rows, default=str),
            SQL.identifier(records._table, "id"),
        )
    )
    written = records.browse(values_by_id)
    written.invalidate_recordset(columns)
    written.modified(columns)


def _to_arrays(records, rows):
    """Return an array of each column, as text: Python writes and PostgreSQL reads it faster than the rows as JSON."""
    columns = zip(*(row.values() for row in rows), strict=True)
    return SQL(", ").join(
        SQL(f"%s::{records._fields[name].column_type[1]}[]", _to_array(values))
        for name, values in zip(rows[0], columns, strict=True)
    )


def _to_array(values):
    return "{" + ",".join([_to_element(value) for value in values]) + "}"


def _to_element(value):
    """Return a value as PostgreSQL reads it within an array: quoted, so that nothing in it means anything."""
    if value is None:
        return "NULL"
    if isinstance(value, int):  # a truth value too
        return str(value)
    text = json.dumps(value) if isinstance(value, list | dict) else str(value)
    if "\\" in text or '"' in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
