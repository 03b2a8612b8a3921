"""Many rows in one query, where the ORM would need one each or knows no word for it (ON CONFLICT).

Values are those of the columns, as JSON can carry them or `str` writes them: moments in UTC, ids for many2one.
"""

import json

from odoo.tools import SQL

NO_CONFLICT = SQL()
SKIP_KNOWN = SQL("ON CONFLICT DO NOTHING")


def insert(records, rows, conflict=NO_CONFLICT, returning=("id",), condition=None):
    """Insert rows into the table of a model, and return what the new rows have in some columns.

    With the rows ``[{"a": 1, "b": "x"}, {"a": 2, "b": None}]`` the query is ``INSERT INTO table AS known (a, b) SELECT
    a, b FROM json_populate_recordset(…)``: PostgreSQL reads the types of the columns out of the table.

    :param records: an empty recordset of the model
    :param rows: list of dicts, all with the same columns
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
               SELECT %(columns)s FROM json_populate_recordset(NULL::%(table)s, %(rows)s) new WHERE %(condition)s
               %(conflict)s RETURNING %(returning)s""",
            table=SQL.identifier(records._table),
            columns=columns,
            rows=to_json(rows),
            condition=condition or SQL("TRUE"),
            conflict=conflict,
            returning=SQL(", ").join(SQL.identifier("known", name) for name in returning),
        ),
        log_exceptions=False,
    )
    return records.env.cr.fetchall()


def update(records, values_by_id):
    """Write differing values to many records, and tell the ORM of it.

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
            to_json(rows),
            SQL.identifier(records._table, "id"),
        )
    )
    written = records.browse(values_by_id)
    written.invalidate_recordset(columns)
    written.modified(columns)


def to_json(rows):
    """Return rows as `json_populate_recordset` reads them."""
    return json.dumps(rows, default=str)
