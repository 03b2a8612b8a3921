"""Writing many rows in one query, where the ORM would need a query for each row, or cannot do it (ON CONFLICT).

Values are those of the columns: ids for many2one, naive datetimes in UTC, None for NULL. They travel as JSON; what JSON
does not know, such as a datetime, is written by `str`.
"""

import json

from odoo.tools import SQL

NO_CONFLICT = SQL()
SKIP_KNOWN = SQL("ON CONFLICT DO NOTHING")


def insert(records, rows, conflict=NO_CONFLICT, returning=("id",), condition=None):
    """Insert rows into the table of a model. The ORM does not learn of it: invalidate what it may have cached.

    For the rows ``[{"a": 1, "b": "x"}, {"a": 2, "b": None}]`` the query is ``INSERT INTO table AS known (a, b) SELECT
    a, b FROM json_populate_recordset(NULL::table, …)``. PostgreSQL takes the types of the columns from the table. With
    the default ``returning`` the result is ``[(17,), (18,)]``: the ids, not in any certain order.

    :param records: a recordset of the model; its records do not matter
    :param rows: list of dicts, all with the same columns
    :param conflict: SQL that says what to do if a row exists; it calls the existing row ``known``, the other
        ``EXCLUDED``
    :param returning: names of the columns to return
    :param condition: SQL that a row has to meet, or it is left out; it calls the row ``new``
    :return: list of tuples, for the rows that were inserted or, by ``conflict``, updated
    :raise psycopg2.Error: the database's errors, without a line in the log: the caller knows which are expected
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
    """Write values to many records, other ones for each, and tell the ORM so that it computes what depends on them.

    :param records: a recordset of the model; its records do not matter
    :param values_by_id: {id: {column: value}}, the same columns for all; False is written as NULL
    """
    if not values_by_id:
        return
    columns = list(next(iter(values_by_id.values())))
    rows = [
        {"id": id_, **{name: None if value is False else value for name, value in values.items()}}
        # All transactions write in the order of the ids. So one waits for the other, and they never end in a deadlock.
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
    """Return rows (list of dicts) as the JSON that PostgreSQL's `json_populate_recordset` reads."""
    return json.dumps(rows, default=str)
