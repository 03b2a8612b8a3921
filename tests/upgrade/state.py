"""Read in SQL the parts of a database that an upgrade may change."""

import json
import re
from typing import NamedTuple

# Core's tables to which the addon writes: {table: SQL that says which rows are compared}.
CORE_TABLES = {
    "base_automation": "TRUE",
    "crm_lead": "TRUE",
    "ir_act_server": "base_automation_id IS NOT NULL",
    "ir_config_parameter": "key LIKE 'sendgrid%'",
    "ir_cron": "TRUE",
    "ir_mail_server": "TRUE",
    "mail_activity": "TRUE",
    "mail_blacklist": "TRUE",
    "mail_mail": "TRUE",
    "mail_message": "TRUE",
    "mail_notification": "TRUE",
    "res_company": "TRUE",
    "res_partner": "TRUE",
    "res_partner_category": "TRUE",
    "res_partner_res_partner_category_rel": "TRUE",
}
# Columns that differ from database to database, or that the administrator decides; "*" stands for all tables.
OWN_COLUMNS = {
    "*": {"id", "create_date", "create_uid", "parent_path", "write_date", "write_uid"},
    "base_automation": {"active", "webhook_uuid"},
    "ir_act_server": {"webhook_url"},
    "ir_cron": {"active", "lastcall", "nextcall"},
    "ir_ui_view": {"arch_prev"},
    "res_partner_category": {"color"},
}
OUR_TABLES = r"""
    SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename LIKE 'sendgrid\_%' ORDER BY tablename
"""
COLUMNS = "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public' AND table_name = %s"
REFERENCES = """
    SELECT attname FROM pg_constraint JOIN pg_attribute ON attrelid = conrelid AND attnum = ANY(conkey)
     WHERE contype = 'f' AND conrelid = %s::regclass
"""
SCHEDULE = """
    SELECT data.name, cron.active, cron.nextcall, cron.interval_number, cron.interval_type
      FROM ir_cron cron JOIN ir_model_data data ON data.model = 'ir.cron' AND data.res_id = cron.id
     WHERE data.module = 'sendgrid_tracking'
"""
STRUCTURE = {
    "columns": """
        SELECT table_name, column_name, data_type, character_maximum_length, is_nullable, column_default
          FROM information_schema.columns WHERE table_schema = 'public'
    """,
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
          FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    """,
    "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
}
# What Odoo has registered about the addon. Names are compared, because ids differ from database to database.
REGISTERED = {
    "external ids": """
        SELECT model, name, noupdate FROM ir_model_data
         WHERE module = 'sendgrid_tracking' AND name != 'sendgrid_account_demo'
    """,
    "models": "SELECT model, name->>'en_US', transient FROM ir_model WHERE model LIKE 'sendgrid%'",
    "fields": """
        SELECT model, name, ttype, relation, relation_field, store, required, readonly, on_delete,
               field_description->>'en_US', help->>'en_US'
          FROM ir_model_fields
         WHERE model LIKE 'sendgrid%'
            OR id IN (SELECT res_id FROM ir_model_data
                       WHERE module = 'sendgrid_tracking' AND model = 'ir.model.fields')
    """,
}
ACTIONS = "SELECT res_id, name FROM ir_model_data WHERE module = 'sendgrid_tracking' AND model LIKE 'ir.actions.%'"
# The number of an action, as a menu, a button and a link name it.
ACTION = re.compile(r'(?:(?<=ir\.actions\.act_window,)|(?<=name="))(\d+)')
# Models of the addon's records whose content is the same in each database: {model: table}.
RECORDS = {
    "base.automation": "base_automation",
    "ir.actions.act_window": "ir_act_window",
    "ir.actions.server": "ir_act_server",
    "ir.cron": "ir_cron",
    "ir.model.access": "ir_model_access",
    "ir.rule": "ir_rule",
    "ir.ui.menu": "ir_ui_menu",
    "ir.ui.view": "ir_ui_view",
    "res.partner.category": "res_partner_category",
}


class State(NamedTuple):
    """The contents of a database, and how it is built.

    :param columns: {table: names of its columns}, for the addon's own tables and `CORE_TABLES`
    :param rows: {table: rows as dicts}, for the same tables
    :param structure: {name in `STRUCTURE`: rows}
    :param registered: {name in `REGISTERED`: rows}
    :param records: {model in `RECORDS`: set of (external id without its module, column, value)}
    :param schedule: {external id: (active, next call, number and type of the interval)} of the scheduled actions
    """

    columns: dict[str, set[str]]
    rows: dict[str, list[dict]]
    structure: dict[str, set[tuple]]
    registered: dict[str, set[tuple]]
    records: dict[str, set[tuple]]
    schedule: dict[str, tuple]


def read(database):
    """Read the state of a `harness.Database`."""
    ours = [name for [name] in database.query(OUR_TABLES)]
    return State(
        {table: {name for [name] in database.query(COLUMNS, table)} for table in [*ours, *CORE_TABLES]},
        {table: _read_rows(database, table, CORE_TABLES.get(table, "TRUE")) for table in [*ours, *CORE_TABLES]},
        {name: set(database.query(query)) for name, query in STRUCTURE.items()},
        {name: set(database.query(query)) for name, query in REGISTERED.items()},
        {model: _read_records(database, model, table) for model, table in RECORDS.items()},
        {name: tuple(values) for name, *values in database.query(SCHEDULE)},
    )


def narrow(rows, columns):
    """Return a set with some columns of each row, as JSON, so that rows can be compared."""
    return {json.dumps({name: row[name] for name in sorted(columns)}) for row in rows}


def _read_rows(database, table, where):
    return [row for [row] in database.query(f"SELECT to_jsonb(t) FROM {table} t WHERE {where}")]


def _read_records(database, model, table):
    left_out = {name for [name] in database.query(REFERENCES, table)} | OWN_COLUMNS["*"] | OWN_COLUMNS.get(table, set())
    # The number of an action differs from database to database: put its name in its place.
    names = dict(database.query(ACTIONS))
    query = f"""SELECT data.name, to_jsonb(t) FROM {table} t JOIN ir_model_data data
                 ON data.res_id = t.id AND data.model = %s AND data.module = 'sendgrid_tracking'"""
    return {
        (name, column, ACTION.sub(lambda found: names.get(int(found[1]), found[1]), str(row[column])))
        for name, row in database.query(query, model)
        for column in row.keys() - left_out
    }
