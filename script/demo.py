"""Run in Odoo's shell: lead a database to the local SendGrid. What it made before it brings up to date."""

# ruff: noqa: F821  (the shell provides `env`)
import os

account_values = {
    "name": "Local SendGrid (sandbox)",
    "verification_key": os.environ["SANDBOX_PUBLIC_KEY"],
}
account = env.ref("sendgrid_tracking.sendgrid_account_demo", raise_if_not_found=False)
if account:
    account.write(account_values)
else:
    account = env["sendgrid.account"].create(account_values)
    env["ir.model.data"].create(
        {
            "module": "sendgrid_tracking",
            "name": "sendgrid_account_demo",
            "model": account._name,
            "res_id": account.id,
            "noupdate": True,
        }
    )

server_values = {
    "name": "Local SendGrid (sandbox)",
    "smtp_host": "127.0.0.1",
    "smtp_port": int(os.environ["SANDBOX_SMTP_PORT"]),
    "smtp_authentication": "login",
    "smtp_user": "apikey",
    "smtp_pass": os.environ["SANDBOX_API_KEY"],
    "smtp_encryption": "none",
    "sendgrid_account_id": account.id,
}
server = env["ir.mail_server"].search([("sendgrid_account_id", "=", account.id)], limit=1)
if server:
    server.write(server_values)
else:
    env["ir.mail_server"].create(server_values)

env["ir.config_parameter"].set_param("web.base.url", os.environ["ODOO_URL"])
env["ir.config_parameter"].set_param("web.base.url.freeze", "True")
env.cr.commit()
