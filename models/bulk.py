"""Writing many rows in one query, where the ORM would need a query for each row, or cannot do it (ON CONFLICT).

Values are those of the columns: ids for many2one, naive datetimes in UTC, None for NULL.
"""

import functools
import json

from odoo.tools import SQL

NO_CONFLICT = SQL()
SKIP_KNOWN = SQL("ON CONFLICT DO NOTHING")


def insert(records, rows, conflict=NO_CONFLICT, returning=("id",), condition=None, instead=None):
    """Insert rows into the table of a model. The ORM does not learn of it: invalidate what it may have cached.

    The rows ``[{"a": 1, "b": "x"}, {"a": 2, "b": None}]`` become ``INSERT INTO table AS known (a, b) SELECT a, b FROM
    unnest('{1,2}'::int4[], '{"x",NULL}'::varchar[]) AS new (a, b)``. With the default ``returning`` the result is
    ``[(17,), (18,)]``: the ids, not in any certain order. A single row, such as that of a mail, becomes ``VALUES``:
    PostgreSQL reads it faster than many arrays.

    :param records: a recordset of the model; its records do not matter
    :param rows: list of dicts, all with the same columns in the same order
    :param conflict: SQL that says what to do if a row exists; it calls the existing row ``known``, the other
        ``EXCLUDED``
    :param returning: names of the columns to return
    :param condition: SQL that a row has to meet, or it is left out; it calls the row ``new``
    :param instead: {column: SQL of what is inserted instead of the row's own value}; it calls the row ``new``
    :return: list of tuples, for the rows that were inserted or, by ``conflict``, updated
    :raise psycopg2.Error: the database's errors, without a line in the log: the caller knows which are expected
    """
    if not rows:
        return []
    names = tuple(rows[0])
    columns = values = _join(names)
    if instead:
        values = _join_instead(names, tuple(instead.items()))
    source = _to_row(records, rows[0]) if len(rows) == 1 else SQL("unnest(%s)", _to_arrays(records, rows))
    if len(rows) > 1 or instead or condition:
        source = SQL(
            "SELECT %(values)s FROM %(source)s AS new (%(columns)s) WHERE %(condition)s",
            values=values,
            source=source,
            columns=columns,
            condition=condition or SQL("TRUE"),
        )
    records.env.cr.execute(
        SQL(
            "INSERT INTO %(table)s AS known (%(columns)s) %(source)s %(conflict)s RETURNING %(returning)s",
            table=SQL.identifier(records._table),
            columns=columns,
            source=source,
            conflict=conflict,
            returning=_join(tuple(returning), "known"),
        ),
        log_exceptions=False,
    )
    return records.env.cr.fetchall()


def update(records, values_by_id):
    """Write values to many records, other ones for each, and tell the ORM so that it computes what depends on them.

    The values travel as JSON. PostgreSQL would know the length of arrays, could choose another kind of join for them,
    and would then lock the rows in another order.

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
            json.dumps(rows, default=str),
            SQL.identifier(records._table, "id"),
        )
    )
    written = records.browse(values_by_id)
    written.invalidate_recordset(columns)
    written.modified(columns)


@functools.lru_cache
def _join(names, table=None):
    """Return SQL that names columns, of a table if there is one. It is kept: a mail costs many names."""
    return SQL(", ").join(SQL.identifier(table, name) if table else SQL.identifier(name) for name in names)


@functools.lru_cache
def _join_instead(names, instead):
    """Return SQL as `_join`, but with other SQL in the place of some names: ``instead`` has pairs of a name and SQL."""
    return SQL(", ").join({**{name: SQL.identifier(name) for name in names}, **dict(instead)}.values())


@functools.lru_cache
def _join_types(types):
    return "(VALUES (" + ", ".join(f"%s::{type_}" for type_ in types) + "))"


def _to_row(records, row):
    types = tuple(records._fields[name].column_type[1] for name in row)
    values = [json.dumps(value) if isinstance(value, list | dict) else value for value in row.values()]
    return SQL(_join_types(types), *values)


def _to_arrays(records, rows):
    """Return an array of each column, as text: Python writes and PostgreSQL reads it faster than the rows as JSON."""
    columns = zip(*(row.values() for row in rows), strict=True)
    return SQL(", ").join(
        SQL(f"%s::{records._fields[name].column_type[1]}[]", _to_array(values))
        for name, values in zip(rows[0], columns, strict=True)
    )


def _to_array(values):
    # Many columns hold the same in all rows, mostly nothing.
    if values.count(values[0]) == len(values):
        return "{" + ",".join([_to_element(values[0])] * len(values)) + "}"
    # Where values differ, most are missing all the same.
    return "{" + ",".join(["NULL" if value is None else _to_element(value) for value in values]) + "}"


def _to_element(value):
    """Return a value as PostgreSQL reads it within an array: quoted, so that nothing in it means anything."""
    if value is None:
        return "NULL"
    if isinstance(value, int):  # a truth value too
        return str(value)
    if isinstance(value, bytes):
        return f'"\\\\x{value.hex()}"'
    text = json.dumps(value) if isinstance(value, list | dict) else str(value)
    if "\\" in text or '"' in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
