"""Fill a database of the released version as a year of use does, through the doors that users and SendGrid have.

It runs on the *released* code, so it may use only what that version has.
"""

import base64
import contextlib
import gzip
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from harness import Database, OdooClient, SandboxClient, Webhook, wait_for, wire

BODY = '<p>Dear friend, the <a href="https://shop.example.com/offer?a=1">offer</a> you asked for.</p>'
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
DRAIN = "sendgrid_tracking.ir_cron_drain"
SHIPPED_RULES = ("bounce", "unsubscribe", "click", "spam")

# {name of a contact: the event that his document gets}
EVENTS = {
    "delivered": "delivered",
    "dropped": "dropped",
    "deferred": "deferred",
    "bounced": "bounce",
    "blocked": "blocked",
    "opened": "open",
    "machine": "machine-open",
    "clicked": "click",
    "spam": "spamreport",
    "unsubscribed": "unsubscribe",
    "left-group": "group_unsubscribe",
    "came-back": "group_resubscribe",
}
# The first two of each meet one of `OWN_RULES` before the upgrade, the others after it.
RULED = [f"{rule}-{number}" for rule in ("together", "pair", "single") for number in (1, 2, 3, 4)]
# The documents of these contacts get no event before the upgrade.
LATE = ("pending", "later", "late-bounce", "late-click", "late-unsubscribe", "late-spam")
NAMES = (*EVENTS, *RULED, *LATE, "no-ids", "noted", "interested", "nobody")

# Users' own rules: {name: (model, watched field, filter, code)}. The code writes to the contact how many records it
# got.
OWN_RULES = {
    "for many": (
        "sendgrid.email",
        "status",
        "[('status', '=', 'clicked'), ('recipient', 'like', 'together')]",
        "records.partner_id.write({'function': 'one of %s' % len(records)})",
    ),
    # The released version took this for code that may run once for all, and so served the first record only.
    "of the first": (
        "sendgrid.email",
        "status",
        "[('status', '=', 'opened'), ('recipient', 'like', 'pair')]",
        "env['sendgrid.email'].browse(records.ids[0]).partner_id.write({'function': 'one of %s' % len(records)})",
    ),
    "for one": (
        "sendgrid.email",
        "status",
        "[('status', '=', 'opened'), ('recipient', 'like', 'single')]",
        "record.partner_id.write({'function': 'one of %s' % len(records)})",
    ),
}


def address(name):
    """Return the address of the contact with this name."""
    return f"to-{name}@upgrade.test"  # without "to-" the local SendGrid would take some for its magic addresses


def fill(running):
    """Fill the database.

    :param running: the `script.lib.stack.Stack` that runs on it
    :return: {name: value}, for JSON: ids and events that the tests need to go on from there
    """
    filler = _Filler(running)
    with web_server() as calls:
        filler.make_people()
        filler.make_rules(calls.url)
        filler.send_mails()
        filler.receive_events()
        filler.receive_odd_posts()
        filler.compare_suppressions()
        filler.ask_for_missed_events()
        filler.decide_by_hand()
        filler.run_jobs()
        filler.leave_a_batch_pending()
        assert wait_for(lambda: calls, "the shipped rule called")[0]["event"] == "spamreport"
    return filler.told


class _Filler:
    """The steps of the filling. `fill` calls them in order, and each notes in ``told`` what tests need."""

    def __init__(self, running):
        self.odoo = log_in(running.odoo)
        self.sandbox = SandboxClient(running.sandbox)
        self.webhook = Webhook(self.sandbox.webhook()["url"])
        self.database = Database(running.odoo.database)
        self.account = self.odoo.ref("sendgrid_tracking.sendgrid_account_demo")
        self.contacts = {}
        self.ids = {}
        self.told = {"contacts": self.contacts, "ids": self.ids}

    def make_people(self):
        """Make two salespeople, a company with an account of its own, and a contact for each event or rule."""
        # Otherwise core would send the lead's address to a service of Odoo's.
        self.odoo.call("ir.config_parameter", "set_param", "crm.iap.lead.enrich.setting", "manual")
        self.sam, _contact = self.odoo.user("Sam Seller", "sam", "sales_team.group_sale_salesman")
        self.odoo.user("Mona All", "mona", "sales_team.group_sale_salesman_all_leads")
        company = self.odoo.create("res.company", name="Daughter", sendgrid_document_months=120)
        self.odoo.create("sendgrid.account", name="Daughter's SendGrid", company_id=company)
        self.odoo.write("sendgrid.account", self.account, group_unsubscribe_action="blacklist")
        for name in (*EVENTS, *RULED, *LATE, "no-ids", "noted", "interested"):
            self.contacts[name] = self.odoo.contact(name, address(name), user_id=self.sam)

    def make_rules(self, url):
        """Switch the shipped rules on, and make a user's own rules.

        :param url: where a shipped rule posts the event
        """
        for name in SHIPPED_RULES:
            rule = self.odoo.ref(f"sendgrid_tracking.base_automation_{name}")
            self.odoo.write("base.automation", rule, active=True)
        self.odoo.write("ir.actions.server", self.odoo.ref("sendgrid_tracking.ir_actions_server_spam"), webhook_url=url)
        for name, (model, field, domain, code) in OWN_RULES.items():
            [model_id] = [found.id for found in self.odoo.find("ir.model", ("model", "=", model), fields=["id"])]
            fields = self.odoo.find("ir.model.fields", ("model", "=", model), ("name", "=", field), fields=["id"])
            action = {"name": name, "usage": "base_automation", "state": "code", "code": code, "model_id": model_id}
            self.odoo.create(
                "base.automation",
                name=name,
                model_id=model_id,
                trigger="on_create_or_write",
                trigger_field_ids=[(6, 0, [found.id for found in fields])],
                filter_domain=domain,
                action_server_ids=[(0, 0, action)],
            )

    def send_mails(self):
        """Send mails by SMTP: about contacts, about a lead, about no record, and a note. No events come back yet."""
        self.sandbox.webhook(url=None)
        for name in (*EVENTS, *RULED, *LATE, "no-ids"):
            self.odoo.compose(self.contacts[name], f"About {name}", BODY)
        self.odoo.call(
            "res.partner",
            "message_post",
            [self.contacts["noted"]],
            body="Between us",
            partner_ids=[self.contacts["noted"]],
            subtype_xmlid="mail.mt_note",
        )
        lead = self.odoo.create(
            "crm.lead", name="A lead", type="opportunity", user_id=self.sam, partner_id=self.contacts["interested"]
        )
        contact = self.contacts["interested"]
        self.odoo.compose(contact, "About a lead", BODY, model="crm.lead", res_ids=str([lead]))
        self.told["sent"] = self.odoo.send_mail(subject="About nothing", body_html=BODY, email_to=address("nobody"))
        self.told["unsent"] = self.odoo.create(
            "mail.mail", subject="To be sent", body_html=BODY, email_to=address("unsent"), email_from="o@example.com"
        )
        wait_for(lambda: self.sandbox.webhook()["pending"] == 0, "nothing pending")
        self.sandbox.webhook(url=self.webhook.url)
        self.note_ids()

    def note_ids(self):
        """Note the ids and the address that SendGrid repeats in each event about a document."""
        for name in NAMES:
            message = self.sandbox.message_to(address(name))
            self.ids[name] = {
                "email": address(name),
                **message["smtpapi"]["unique_args"],
                "sg_message_id": f"{message['id']}.recvd-6f5b-q2x4p-1-69244E10-5.0",
            }

    def receive_events(self):
        """Receive every kind of event that SendGrid has, and some POSTs about several documents."""
        for name, event in EVENTS.items():
            self.sandbox.fire_by_person(self.sandbox.message_to(address(name)), address(name), event)
        for event, name in (("click", "together"), ("open", "pair"), ("open", "single")):
            self.post([make_event(event, **self.ids[f"{name}-{number}"]) for number in (1, 2)])
        self.told["known"] = make_event("click", **self.ids["clicked"], url="https://shop.example.com/offer?a=1")
        self.told["done"] = self.post([self.told["known"]])
        self.sandbox.post_events({"type": "compliance_suspend"})
        self.wait_until_drained()

    def receive_odd_posts(self):
        """Receive events without a document or without ids, bodies that cannot be understood, and an unsigned POST."""
        odoo_db = self.ids["later"]["odoo_db"]
        unknown = {"email": address("unknown"), "sg_message_id": secrets.token_urlsafe(16)}
        self.post([make_event("open", **unknown)])
        self.post([make_event("open", **unknown, odoo_db="another", odoo_id="x")])
        self.post([make_event("delivered", **unknown, odoo_db=odoo_db, odoo_id=secrets.token_urlsafe(16))])
        self.post([{**make_event("bounce", email=address("no-ids")), "sg_message_id": "", "reason": "550 5.1.1 gone"}])
        self.told["failed"] = self.post(b'{"no": "list"}')
        self.told["rejected"] = self.post([make_event("processed", **self.ids["later"]), {"event": "open"}, None])
        assert self.webhook.post([make_event()], headers={}).status_code == 403
        self.wait_until_drained()
        [event] = self.odoo.find("sendgrid.event", ("match", "=", "unknown"), fields=["id"], order="id")[:1]
        document = self.odoo.document_to(address("nobody"))
        attach = self.odoo.create("sendgrid.event.attach", event_ids=[(6, 0, [event.id])], email_id=document.id)
        self.odoo.call("sendgrid.event.attach", "action_attach", [attach])

    def compare_suppressions(self):
        """Compare SendGrid's lists, which have addresses that Odoo knows and others."""
        listed = int(time.time()) - 3600
        for name in ("bounces", "blocks", "invalid_emails", "spam_reports", "unsubscribes", "groups"):
            entries = [{"email": address(f"{name}-{number}"), "created": listed} for number in range(3)]
            if name == "groups":
                entries = [{**entry, "group_id": 1042} for entry in entries]
            self.sandbox.control("POST", f"suppressions/{name}", entries)
        self.contacts["listed"] = self.odoo.contact("listed", address("bounces-0"))
        sync = self.odoo.call("sendgrid.account", "action_sync_suppressions", [self.account])["res_id"]
        wait_for(lambda: self.odoo.read("sendgrid.suppression.sync", sync, "state").state == "done", "lists compared")

    def ask_for_missed_events(self):
        """Ask SendGrid for missed events of one e-mail, and of an hour in which nothing was sent."""
        self.odoo.call("sendgrid.email", "action_ask_sendgrid", [self.odoo.document_to(address("nobody")).id])
        backfill = self.odoo.create(
            "sendgrid.backfill",
            account_id=self.account,
            date_from=time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() - 7200)),
            date_to=time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() - 3600)),
        )
        self.odoo.call("sendgrid.backfill", "action_start", [backfill])
        wait_for(lambda: self.odoo.read("sendgrid.backfill", backfill, "state").state == "done", "asked")
        self.wait_until_drained()

    def decide_by_hand(self):
        """Decide as administrators do: confirm an address, put one on the blacklist, and take one off it.

        A further contact gets an address that has bounced before.
        """
        self.odoo.call("res.partner", "action_email_is_valid", [self.contacts["listed"]])
        self.odoo.create("mail.blacklist", email=address("by-hand"))
        self.contacts["twin"] = self.odoo.contact("twin", address("bounced"))
        removed = self.odoo.find("mail.blacklist", ("email", "=", address("left-group")), fields=["id"])
        self.odoo.call("mail.blacklist", "action_archive", [one.id for one in removed])

    def run_jobs(self):
        """Run the scheduled actions that check the account, expire deferred e-mails and forget old data."""
        for name in ("check_health", "expire", "forget"):
            self.odoo.call("ir.cron", "method_direct_trigger", [self.odoo.ref(f"sendgrid_tracking.ir_cron_{name}")])

    def leave_a_batch_pending(self):
        """Leave a batch that the server received but had no time to process. The drain stays switched off."""
        job = self.odoo.ref(DRAIN)

        def held():
            with contextlib.suppress(Exception):
                return self.odoo.write("ir.cron", job, active=False)

        wait_for(held, "the job held")
        self.told["pending"] = self.post([make_event("delivered", **self.ids["pending"])])
        self.told["job"] = job

    def post(self, events):
        """POST events, or a raw body (bytes), and return the id of the batch."""
        body = events if isinstance(events, bytes) else wire(events)
        assert self.webhook.post(body).status_code == 204
        # The local SendGrid POSTs what it has at the same time, so the newest batch may be another one.
        rows = self.database.query(
            "SELECT id, body_gzip FROM sendgrid_event_batch WHERE size = %s ORDER BY id DESC", len(body)
        )
        return next(id_ for id_, stored in rows if gzip.decompress(base64.b64decode(bytes(stored))) == body)

    def wait_until_drained(self):
        """Wait until Odoo has received and processed all events."""
        pending = "SELECT count(*) FROM sendgrid_event_batch WHERE state = 'pending'"
        wait_for(lambda: self.sandbox.webhook()["pending"] == 0, "nothing pending at SendGrid")
        wait_for(lambda: not self.database.value(pending), "nothing pending in Odoo")


def log_in(server):
    """Log the administrator in, and give him an address so that he can send mail."""
    client = OdooClient(server)
    client.write("res.partner", client.session["partner_id"], name="Marc Demo", email="marc@example.com")
    # Put core's scheduled action off, because it would send the mail that has to wait for the upgrade.
    client.write("ir.cron", client.ref("mail.ir_cron_mail_scheduler_action"), nextcall="2100-01-01 00:00:00")
    return client


def make_event(name="open", **fields):
    """Return a new event as SendGrid writes it, caused by a person.

    :param name: SendGrid's name of the event
    :param fields: further fields of the event
    """
    return {
        "event": name,
        "timestamp": int(time.time()) + 600,
        "sg_event_id": secrets.token_urlsafe(16),
        "useragent": AGENT,
        "ip": "203.0.113.7",
        **fields,
    }


@contextlib.contextmanager
def web_server():
    """Run a web server. The yielded list collects the JSON that is posted to it; its ``url`` is the address."""

    class Calls(list):
        url = ""

    calls = Calls()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):  # noqa: N802 (http.server)
            calls.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    calls.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield calls
    finally:
        server.shutdown()
        server.server_close()
