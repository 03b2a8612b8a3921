"""Clients for the end-to-end tests: an Odoo client over HTTP, the local SendGrid's API, our own signed POSTs.

SCREENSHOTS=<folder> keeps a picture of each page that the tests open, for the README.
"""

import asyncio
import contextlib
import email
import email.policy
import json
import os
import re
import smtplib
import socket
import time
from pathlib import Path

import psycopg2
import requests
from aiosmtpd.controller import Controller

from sandbox import keys
from script.lib import odoo as odoo_source
from script.lib import paths, process

# Generous, because several programs may be running on the machine. Most waits take less than a second.
PATIENCE = 30
LOG_LINE = re.compile(r"^\d{4}-\d\d-\d\d \S+ \d+ (?P<level>[A-Z]+) ")


def wait_for(probe, what, timeout=PATIENCE):
    """Call ``probe`` until it returns something true, and return that. Fail after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"After {timeout} s still not: {what}")
        time.sleep(0.05)


def picture(page, name):
    """Keep a picture of the page if SCREENSHOTS asks for it."""
    if folder := os.environ.get("SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}.png", animations="disabled")


def search(page, text):
    """Search the list that is open for a text."""
    page.fill(".o_searchview_input", text)
    # Enter searches for nothing until the suggestions have come.
    page.locator(".o_searchview_autocomplete .o-dropdown-item", has_text=text).first.wait_for()
    page.keyboard.press("Enter")
    page.locator(".o_searchview_facet", has_text=text).wait_for()


class OdooError(Exception):
    """Odoo refused a call: its exception's name and message."""

    def __init__(self, error):
        data = error.get("data") or {}
        super().__init__(f"{data.get('name')}: {data.get('message') or error.get('message')}")
        self.name = data.get("name")


class OdooClient:
    """A logged-in user's web client, as far as it calls methods."""

    def __init__(self, server, login="admin", password="admin"):
        self.server = server
        self.http = requests.Session()
        self.session = self.post(
            "/web/session/authenticate", {"db": server.database, "login": login, "password": password}
        )
        self.uid = self.session["uid"]

    def post(self, path, params):
        """Call a JSON route, and return its answer."""
        answer = self.http.post(self.server.url + path, json={"jsonrpc": "2.0", "params": params}, timeout=120)
        answer.raise_for_status()
        answer = answer.json()
        if "error" in answer:
            raise OdooError(answer["error"])
        return answer.get("result")  # it is missing if the method returned nothing

    def call(self, model, method, *args, **kwargs):
        """Call a public method; for one that works on records the first argument is their ids."""
        return self.post(
            f"/web/dataset/call_kw/{model}/{method}",
            {"model": model, "method": method, "args": args, "kwargs": kwargs},
        )

    def create(self, model, /, **values):
        """Create one record and return its id."""
        [record_id] = self.call(model, "create", [values])
        return record_id

    def write(self, model, record_id, /, **values):
        """Write to one record."""
        return self.call(model, "write", [record_id], values)

    def find(self, model, *domain, fields=(), order="id"):
        """Search and read records; many2one values are ids."""
        rows = self.call(model, "search_read", list(domain), list(fields), order=order, load=None)
        return [Row(row) for row in rows]

    def read(self, model, record_id, *fields):
        """Read one record; many2one values are ids."""
        [row] = self.call(model, "read", [record_id], list(fields), load=None)
        return Row(row)

    def ref(self, xmlid):
        """Return the id of a record by its external id."""
        module, name = xmlid.split(".")
        [data] = self.find("ir.model.data", ("module", "=", module), ("name", "=", name), fields=["res_id"])
        return data.res_id

    # records that the tests are about

    def contact(self, name, address, **values):
        """Create a contact and return its id."""
        return self.create("res.partner", name=name, email=address, **values)

    def user(self, name, login, *groups, **values):
        """Create a user of these groups (external ids) without an invitation; return his id and his contact's."""
        values = {"name": name, "login": login, "email": f"{login}@example.com", "password": login, **values}
        values["group_ids"] = [(6, 0, [self.ref(group) for group in groups or ["base.group_user"]])]
        [user_id] = self.call("res.users", "create", [values], context={"no_reset_password": True})
        return user_id, self.read("res.users", user_id, "partner_id").partner_id

    def compose(self, contact_id, subject, body, recipients=None, attachments=(), **values):
        """Send an e-mail to a contact through the composer, as from its chatter."""
        files = [
            self.create("ir.attachment", name=name, raw=text, res_model="mail.compose.message", res_id=0)
            for name, text in attachments
        ]
        values = {
            "composition_mode": "comment",
            "model": "res.partner",
            "res_ids": str([contact_id]),
            "partner_ids": recipients or [contact_id],
            "subject": subject,
            "body": body,
            "attachment_ids": files,
            **values,
        }
        composer_id = self.create("mail.compose.message", **values)
        return self.call("mail.compose.message", "action_send_mail", [composer_id])

    def send_mail(self, **values):
        """Create a `mail.mail` (kept after sending unless told otherwise), send it, and return its id."""
        values = {"auto_delete": False, "email_from": "odoo@example.com", **values}
        mail_id = self.create("mail.mail", **values)
        self.call("mail.mail", "send", [mail_id])
        return mail_id

    def documents(self, *domain, fields=()):
        """Return the e-mail documents of a domain, oldest first."""
        return self.find("sendgrid.email", *domain, fields=fields)

    def document_to(self, address, subject=None):
        """Wait for the one document to an address, and return it."""
        domain = [("recipient", "=", address)] + ([("subject", "=", subject)] if subject else [])
        found = wait_for(lambda: self.documents(*domain), f"a document to {address}")
        assert len(found) == 1, found
        return found[0]

    def events_of(self, document_id):
        """Return the events of a document, oldest first."""
        return self.find("sendgrid.event", ("email_id", "=", document_id), order="timestamp, id")


class Row(dict):
    """A record as read; its fields are attributes too."""

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class SandboxClient:
    """The local SendGrid's JSON API."""

    def __init__(self, server):
        self.server = server
        self.http = requests.Session()
        # The last second in which `fire_by_person` had somebody do something, in Unix seconds.
        self._last_second = 0

    def _call(self, method, path, body=None):
        answer = self.http.request(method, self.server.url + path, json=body, timeout=60)
        answer.raise_for_status()
        return answer

    def webhook(self, **settings):
        """Change the webhook's settings, if any are given, and return its state."""
        if settings:
            return self._call("PUT", "/sandbox/webhook", settings).json()
        return self._call("GET", "/sandbox/webhook").json()

    def control(self, method, path, body=None):
        """Change the account behind the API: its API keys, its plan, its faults (sandbox/README.md)."""
        return self._call(method, f"/sandbox/{path}", body)

    def flush(self):
        """Make SendGrid send the held and failing events now; return the POSTs."""
        return self._call("POST", "/sandbox/webhook/flush").json()

    def clear(self):
        """Forget all messages, and the events that have not been sent."""
        self._call("DELETE", "/sandbox/messages")

    def messages(self, subject=None):
        """Return the messages received, oldest first."""
        found = self._call("GET", "/sandbox/messages").json()[::-1]
        return [one for one in found if subject is None or one["subject"] == subject]

    def message_to(self, address, subject=None):
        """Wait for the one message to an address, and return it."""

        def find():
            return [
                one
                for one in self.messages(subject)
                if address in [recipient["address"] for recipient in one["recipients"]]
            ]

        found = wait_for(find, f"a message to {address}")
        assert len(found) == 1, found
        return found[0]

    def source(self, message):
        """Return a message's bytes as the relay received them."""
        return self._call("GET", f"/sandbox/messages/{message['id']}/raw").content

    def received(self, message):
        """Return a message as the relay received it, parsed."""
        return email.message_from_bytes(self.source(message), policy=email.policy.default)

    def smtpapi(self, message):
        """Return the settings in the message's one X-SMTPAPI header, unfolded as SMTP servers unfold it."""
        [value] = [value for name, value in message["headers"] if name.lower() == "x-smtpapi"]
        return json.loads("".join(value.splitlines()))

    def delivered_html(self, message, recipient):
        """Return the HTML of the copy that a recipient gets: with tracked links and the pixel."""
        source = self._call("GET", f"/sandbox/messages/{message['id']}/{recipient}/raw").content
        return html_of(email.message_from_bytes(source, policy=email.policy.default))

    def fire(self, message, recipient, event, **details):
        """Make an event happen to a recipient's copy; return the events as they go over the wire."""
        body = {"event": event, **details}
        return self._call("POST", f"/sandbox/messages/{message['id']}/{recipient}/events", body).json()

    def fire_by_person(self, message, recipient, event, **details):
        """Do the same some minutes later by SendGrid's clock: right after the delivery it counts as a machine's.

        Each call is in a second of its own: of an open and a click at the same moment nobody knows whose they are.
        """
        self._last_second = max(int(time.time()) + 300, self._last_second + 2)
        return self.fire(message, recipient, event, timestamp=self._last_second, **details)

    def post_events(self, events):
        """Send an account event (an object) or any events as they are (a list)."""
        return self._call("POST", "/sandbox/events", events).json()


def html_of(message):
    """Return the HTML of a parsed message."""
    return message.get_body(("html",)).get_content().replace("\r\n", "\n")


class Webhook:
    """SendGrid's side of the webhook, for POSTs that the real one would never send."""

    def __init__(self, url):
        self.url = url
        self.key = keys.load_or_create(str(paths.SANDBOX_KEY))

    def sign(self, body):
        """Return the headers of a signed POST of ``body``."""
        timestamp = str(int(time.time()))
        return {
            "Content-Type": "application/json;charset=utf-8",
            "User-Agent": "SendGrid Event API",
            "X-Twilio-Email-Event-Webhook-Timestamp": timestamp,
            "X-Twilio-Email-Event-Webhook-Signature": keys.sign(self.key, timestamp, body),
        }

    def post(self, events, headers=None, **options):
        """POST events (or raw bytes), signed unless ``headers`` are given; return the answer."""
        body = events if isinstance(events, bytes) else wire(events)
        return requests.post(
            self.url, data=body, headers=self.sign(body) if headers is None else headers, timeout=60, **options
        )

    def connect(self):
        """Open a bare TCP connection to the server, for requests that no client makes."""
        host, port = self.url.split("/")[2].split(":")
        return socket.create_connection((host, int(port)), timeout=30)

    @property
    def path(self):
        """The webhook's path."""
        return "/" + self.url.split("/", 3)[3]


def wire(events):
    """Return the bytes of events as SendGrid writes them."""
    lines = ",\r\n".join(json.dumps(event, ensure_ascii=False, separators=(",", ":")) for event in events)
    return f"[{lines}]\r\n".encode()


class Database:
    """A connection of our own to the server's database, which sees only committed rows."""

    def __init__(self, name):
        self.name = name

    def query(self, statement, *values):
        """Run one statement in a transaction of its own; return its rows."""
        with contextlib.closing(psycopg2.connect(dbname=self.name)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement, values or None)
                return cursor.fetchall() if cursor.description else []

    def value(self, statement, *values):
        """Return the one value of a statement."""
        [[value]] = self.query(statement, *values)
        return value

    def minute_is_over(self):
        """Make Odoo's scheduler look now for due jobs, as it does each minute."""
        with contextlib.closing(psycopg2.connect(dbname="postgres")) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify('cron_trigger', %s)", [self.name])
            connection.commit()


class Log:
    """A server's log from here on."""

    def __init__(self, path):
        self.path = Path(path)
        self.start = self.path.stat().st_size if self.path.exists() else 0

    def problems(self):
        """Return the entries that are errors or have a traceback, each with all of its lines."""
        with open(self.path, "rb") as file:
            file.seek(self.start)
            lines = file.read().decode(errors="replace").splitlines()
        entries = []
        for line in lines:
            if LOG_LINE.match(line) or not entries:
                entries.append([line])
            else:
                entries[-1].append(line)
        return ["\n".join(entry) for entry in entries if self._is_problem(entry)]

    def _is_problem(self, entry):
        head = LOG_LINE.match(entry[0])
        return bool(head and head["level"] in ("ERROR", "CRITICAL")) or any("Traceback (most" in line for line in entry)


class PlainServer:
    """Another mail server, not SendGrid's. It keeps its messages, and refuses the recipients that a test names."""

    def __init__(self, refused=()):
        self.refused = set(refused)
        self.sources = []
        self.port = process.free_port()
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802 (aiosmtpd)
        """Accept or refuse a recipient."""
        if address in self.refused:
            return "550 5.1.1 No such user here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 (aiosmtpd)
        """Keep a message."""
        self.sources.append(envelope.original_content or envelope.content)
        return "250 OK"

    def __enter__(self):
        self._controller.start()
        return self

    def __exit__(self, *exception):
        self._controller.stop()


class Gateway:
    """A company's mail server: what comes in by SMTP it pipes into Odoo by core's own script, `odoo-mailgate.py`."""

    def __init__(self, server, login="admin", password="admin"):
        self.port = process.free_port()
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)
        script = odoo_source.source() / "odoo/addons/mail/static/scripts/odoo-mailgate.py"
        host, port = server.url.split("/")[2].split(":")
        uid = OdooClient(server, login, password).uid
        self._command = [paths.VENV_PYTHON, script, f"--host={host}", f"--port={port}", f"--database={server.database}"]
        self._command += [f"--userid={uid}", f"--password={password}"]

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 (aiosmtpd)
        """Accept a message once Odoo has it."""
        pipe = await asyncio.create_subprocess_exec(*self._command, stdin=asyncio.subprocess.PIPE)
        await pipe.communicate(envelope.content)
        return "451 Odoo did not take it" if pipe.returncode else "250 OK"

    def send(self, message):
        """Send a message (`email.message.EmailMessage`) as the program of somebody outside does."""
        with smtplib.SMTP("127.0.0.1", self.port, timeout=60) as smtp:
            smtp.send_message(message)

    def __enter__(self):
        self._controller.start()
        return self

    def __exit__(self, *exception):
        self._controller.stop()
