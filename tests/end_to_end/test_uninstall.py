"""Uninstalling the addon from a database in use: mails go on, and nothing of it stays, here or at SendGrid."""

import contextlib
import threading

import pytest
import requests
from harness import Database, OdooClient, OdooError, SandboxClient, wait_for
from test_connect import KEY, SETTINGS, run_dialog

from script.lib import database as databases
from script.lib import stack as stacks

# What a database has, by what names it.
TRACES = {
    "columns": "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'",
    "indexes": "SELECT indexname FROM pg_indexes WHERE schemaname = 'public'",
    "constraints": "SELECT conname FROM pg_constraint",
    "models": "SELECT model FROM ir_model",
    "fields": "SELECT model, name FROM ir_model_fields",
    "external ids": "SELECT module, name FROM ir_model_data WHERE name LIKE '%sendgrid%' OR module LIKE 'sendgrid%'",
    "scheduled actions": "SELECT cron_name FROM ir_cron",
    "automation rules": "SELECT name::text FROM base_automation",
    "server actions": "SELECT name::text FROM ir_act_server",
    "parameters": "SELECT key FROM ir_config_parameter WHERE key LIKE '%sendgrid%'",
    "views": "SELECT name FROM ir_ui_view",
    "menus": "SELECT name::text FROM ir_ui_menu",
    "attachments": "SELECT id FROM ir_attachment WHERE res_model LIKE 'sendgrid.%'",
    "messages": "SELECT id FROM mail_message WHERE model LIKE 'sendgrid.%'",
    "activities": "SELECT id FROM mail_activity WHERE res_model LIKE 'sendgrid.%'",
}


@pytest.fixture(scope="module")
def running():
    """A stack on a database of its own, which the test may spoil."""
    with stacks.for_tests() as stack:
        yield stack


def traces(name):
    database = Database(name)
    return {what: set(database.query(statement)) for what, statement in TRACES.items()}


def webhooks(sandbox):
    answer = requests.get(f"{sandbox.server.url}{SETTINGS}/all", headers={"Authorization": f"Bearer {KEY}"}, timeout=60)
    return [one for one in answer.json()["webhooks"] if one.get("id")]


def is_uninstalled(odoo, uninstall):
    """Press the dialog's button; tell whether core has taken it: while a scheduled action runs, it does not."""
    try:
        odoo.call("base.module.uninstall", "action_uninstall", [uninstall])
    except OdooError as error:
        if "scheduled action" not in str(error):
            raise
        return False
    return True


@contextlib.contextmanager
def events_coming_in(sandbox, message, recipient):
    """Let SendGrid report something all the time."""
    over = threading.Event()

    def report():
        while not over.wait(0.02):
            sandbox.fire(message, recipient, "open")

    thread = threading.Thread(target=report)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_uninstall(running):
    """A database that was connected, sent and received sends by SMTP afterwards, and looks as if never installed."""
    with databases.for_tests(with_addon=False) as base:
        never = traces(base)
    odoo, sandbox = OdooClient(running.odoo), SandboxClient(running.sandbox)
    odoo.write("res.partner", odoo.session["partner_id"], email="marc@example.com")
    [demo] = odoo.find("sendgrid.account", fields=["mail_server_ids"])
    odoo.call("ir.mail_server", "write", demo.mail_server_ids, {"active": False})
    dialog = odoo.create("sendgrid.account.connect", name="Going", api_key=KEY, sending="sendgrid_api")
    account_id = run_dialog(odoo, {"res_id": dialog})
    [server_id] = odoo.read("sendgrid.account", account_id, "mail_server_ids").mail_server_ids
    odoo.write("ir.mail_server", server_id, sequence=1)
    assert webhooks(sandbox)
    odoo.compose(odoo.contact("Ada", "ada@example.org"), "Before", "<p>Hello</p>")
    document = odoo.document_to("ada@example.org")
    wait_for(lambda: odoo.read("sendgrid.email", document.id, "status").status == "delivered", "the delivery")

    module_id = odoo.ref("base.module_sendgrid_tracking")
    uninstall = odoo.create("base.module.uninstall", module_ids=[(6, 0, [module_id])])
    told = odoo.read("base.module.uninstall", uninstall, "sendgrid_consequences").sendgrid_consequences
    assert "instead of the Web API" in told
    with events_coming_in(sandbox, sandbox.message_to("ada@example.org", "Before"), "ada@example.org"):
        wait_for(lambda: is_uninstalled(odoo, uninstall), "the uninstallation")

    odoo = OdooClient(running.odoo)
    assert odoo.read("ir.module.module", module_id, "state").state == "uninstalled"
    assert not webhooks(sandbox)
    server = odoo.read("ir.mail_server", server_id, "active", "smtp_authentication", "smtp_host", "smtp_port")
    assert (server.active, server.smtp_authentication) == (True, "login")
    assert (server.smtp_host, server.smtp_port) == ("127.0.0.1", running.sandbox.smtp_port)
    odoo.send_mail(subject="After", body_html="<p>Hello</p>", email_to="bob@example.org")
    message = sandbox.message_to("bob@example.org", "After")
    assert not [name for name, _value in message["headers"] if name.lower() == "x-smtpapi"]
    after = traces(running.odoo.database)
    left = {what: sorted(names - never[what]) for what, names in after.items() if names - never[what]}
    missing = {what: sorted(never[what] - names) for what, names in after.items() if never[what] - names}
    assert not left
    assert not missing
