"""Leads a database to the local SendGrid; run it in Odoo's shell. A second run updates the records of the first."""

# ruff: noqa: F821 -- the shell provides `env`
import os
from typing import Any


def ensure(records: Any, values: dict[str, Any]) -> Any:
    """Write the values on the given record, or create one if there is none; return it."""
    if records:
        records.write(values)
        return records
    return records.create(values)


module, name = os.environ["SANDBOX_ACCOUNT"].split(".")
label = "Local SendGrid (sandbox)"

account = ensure(
    env.ref(f"{module}.{name}", raise_if_not_found=False) or env["sendgrid.account"],
    {
        "name": label,
        "api_key": os.environ["SANDBOX_API_KEY"],
        "verification_key": os.environ["SANDBOX_PUBLIC_KEY"],
    },
)
ensure(
    env["ir.model.data"].search([("module", "=", module), ("name", "=", name)]),
    {"module": module, "name": name, "model": account._name, "res_id": account.id, "noupdate": True},
)
ensure(
    env["ir.mail_server"].search([("sendgrid_account_id", "=", account.id)], limit=1),
    {
        "name": label,
        "smtp_host": "127.0.0.1",
        "smtp_port": int(os.environ["SANDBOX_SMTP_PORT"]),
        "smtp_authentication": "login",
        "smtp_user": "apikey",
        "smtp_pass": os.environ["SANDBOX_API_KEY"],
        "smtp_encryption": "none",
        "sendgrid_account_id": account.id,
    },
)
parameters = env["ir.config_parameter"]
parameters.set_param("sendgrid_tracking.api_host", os.environ["SANDBOX_URL"])
parameters.set_param("sendgrid_tracking.smtp_host", f"127.0.0.1:{os.environ['SANDBOX_SMTP_PORT']}")
parameters.set_param("web.base.url", os.environ["ODOO_URL"])
parameters.set_param("web.base.url.freeze", "True")
# The account belongs here, although the database had another name and address when it was made. The released version,
# from which the upgrade tests start, notes no place.
if hasattr(account, "_take_place"):
    account._take_place()
env.cr.commit()
