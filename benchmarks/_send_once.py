"""Sends mails from one database through an SMTP server, and prints the CPU seconds of Odoo and PostgreSQL.

Each line on the standard input starts a round, and one line of the output tells its seconds. This is a process of its
own, because a set of addons changes Odoo's classes for the rest of a process's life.
"""

import argparse
import json
import sys

from script.lib import postgres

from . import _odoo
from ._clock import Clock
from ._odoo import Env, Record


def create_mails(env: Env, count: int, server: Record) -> Record:
    """Create mails to as many contacts, as a campaign of salespeople leaves them in the queue.

    The contacts live in several countries, and with the addon some have agreed that they are measured, or declined.
    """
    countries = [env.ref(f"base.{code}").id for code in ("us", "fr", "cl")]
    emails = [f"contact{number}@bench.example.com" for number in range(count)]
    partners = env["res.partner"].create(
        [
            {"name": f"Contact {number}", "email": email, "country_id": countries[number % 3]}
            for number, email in enumerate(emails)
        ]
    )
    if "sendgrid.address" in env:
        Address = env["sendgrid.address"]
        known = set(Address.search([("email", "in", emails)]).mapped("email"))
        Address.create(
            [
                {"email": email, "email_tracking": "agreed" if number % 2 else "declined"}
                for number, email in enumerate(emails)
                if number % 5 == 0 and email not in known
            ]
        )
    return env["mail.mail"].create(
        [
            {
                "subject": f"Your quotation {partner.id}",
                "body_html": "<p>Dear customer,</p><p>please find <a href='https://www.example.com/'>our quotation</a> "
                "attached.</p>" * 10,
                "email_from": '"Sally" <sales@example.com>',
                "recipient_ids": [(6, 0, partner.ids)],
                "mail_server_id": server.id,
                "model": "res.partner",
                "res_id": partner.id,
                "auto_delete": True,
            }
            for partner in partners
        ]
    )


def main() -> None:
    """Print the seconds of each round, until the input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("database")
    parser.add_argument("addons_path")
    parser.add_argument("port", type=int)
    parser.add_argument("count", type=int)
    options = parser.parse_args()
    with postgres.running(), _odoo.environment(options.database, options.addons_path) as env:
        env["ir.config_parameter"].set_param("web.base.url", "http://127.0.0.1:8069")
        values = {"name": "Null", "smtp_host": "127.0.0.1", "smtp_port": options.port, "smtp_encryption": "none"}
        if "sendgrid.account" in env:
            values["sendgrid_account_id"] = env["sendgrid.account"].create({"name": "Benchmark"}).id
            env.company.write({"sendgrid_unasked": "country", "country_id": env.ref("base.us").id})
        server = env["ir.mail_server"].create(values)
        create_mails(env, 20, server).send()  # fills the caches
        sent = 20
        env.cr.commit()
        print("ready", flush=True)
        for _line in sys.stdin:
            mails = create_mails(env, options.count, server)
            env.cr.commit()
            env.invalidate_all()
            with Clock(env.cr) as clock:
                mails.send()
                env.cr.commit()
            sent += options.count
            if "sendgrid.account" in env:
                assert env["sendgrid.email"].search_count([("status", "=", "sent")]) == sent
                assert env["sendgrid.email"].search_count([("measured", "=", "none")])
            print(json.dumps(clock.cpu), flush=True)


if __name__ == "__main__":
    main()
