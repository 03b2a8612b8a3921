"""The real program as a subprocess, a real SMTP client, and a real HTTP server that receives the webhooks."""

import base64
import json
import re
import smtplib
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from email.message import EmailMessage
from email.policy import SMTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

ROOT = Path(__file__).parents[2]
API_KEY = "SG.test-key"
DEADLINE = 15


def wait_for(condition, what="the condition"):
    """Call `condition` until it returns something true, and return that. Fail after DEADLINE seconds."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"{what}: not within {DEADLINE} seconds")


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args):
        return None


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)


def http(method, url, data=None, headers=None, raw=None):
    body = raw if data is None else json.dumps(data).encode()
    request = urllib.request.Request(url, body, {"User-Agent": "test", **(headers or {})}, method=method)
    try:
        with urllib.request.build_opener(NoRedirect).open(request, timeout=DEADLINE) as answer:
            return Answer(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.headers, error.read())


class Receiver:
    """A server that receives webhooks.

    `statuses` are its answers to the next POSTs; it answers 200 when they run out.
    """

    def __init__(self):
        self.posts = []
        self.statuses = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = receiver.statuses.pop(0) if receiver.statuses else 200
                receiver.posts.append((self.path, self.headers, body, status))
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "/elsewhere")
                self.end_headers()
                self.wfile.write(b"no thanks" if status >= 300 else b"")

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def events(self):
        """All events of the POSTs that were answered 2xx, in the order of arrival."""
        return [event for _, _, body, status in list(self.posts) if status == 200 for event in json.loads(body)]

    def of(self, address):
        return [event for event in self.events if event.get("email") == address]

    def wait(self, count, address=None):
        """Wait until there are `count` events (for `address`), and return them."""

        def enough():
            found = self.of(address) if address else self.events
            return found if len(found) >= count else None

        return wait_for(enough, f"{count} events")


class Program:
    """A running sandbox."""

    def __init__(self, *arguments):
        command = [sys.executable, "-m", "sandbox", "--smtp-port", "0", "--http-port", "0", "--api-key", API_KEY]
        self.process = subprocess.Popen(
            [*command, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        line = self.process.stdout.readline()
        found = re.fullmatch(r"sandbox ready: smtp (\S+):(\d+) http (http://\S+)\n", line)
        assert found, line
        self.smtp_host, self.smtp_port, self.url = found[1], int(found[2]), found[3]

    def http(self, method, path, data=None, headers=None):
        return http(method, path if path.startswith("http") else self.url + path, data, headers)

    def v3(self, method, path, data=None, key=API_KEY, headers=None, raw=None):
        """Call SendGrid's API. The program itself checks a successful answer against the description."""
        headers = {"Authorization": f"Bearer {key}", **(headers or {})}
        answer = http(method, f"{self.url}/v3{path}", data, headers, raw)
        assert not (answer.status == 500 and "deviates" in answer.text), answer.text
        return answer

    def smtp(self, password=API_KEY, user="apikey"):
        client = smtplib.SMTP(self.smtp_host, self.smtp_port, timeout=DEADLINE)
        if user:
            client.login(user, password)
        return client

    def send_raw(self, data, recipients, sender="shop@example.com", options=()):
        """Send these bytes over SMTP, and return the message as the JSON API shows it."""
        with self.smtp() as client:
            client.ehlo()
            assert client.mail(sender, list(options))[0] == 250
            for address in recipients:
                assert client.rcpt(address)[0] == 250
            code, answer = client.data(data)
        assert code == 250, answer
        queued = re.fullmatch(rb"Ok: queued as ([\w-]{22})", answer)
        assert queued, answer
        return self.http("GET", f"/sandbox/messages/{queued[1].decode()}").json

    def send(self, recipients, html=None, text="Good morning.", smtpapi=None, subject="Hello"):
        message = EmailMessage()
        message["From"] = "Shop <shop@example.com>"
        message["To"] = ", ".join(recipients)
        message["Subject"] = subject
        message["Message-ID"] = f"<{time.time_ns()}@example.com>"
        if smtpapi is not None:
            message["X-SMTPAPI"] = smtpapi if isinstance(smtpapi, str) else json.dumps(smtpapi)
        message.set_content(text)
        if html:
            message.add_alternative(html, subtype="html")
        return self.send_raw(message.as_bytes(policy=SMTP), recipients)

    def fire(self, message, recipient, event, **details):
        path = f"/sandbox/messages/{message['id']}/{recipient}/events"
        answer = self.http("POST", path, {"event": event, **details})
        assert answer.status == 201, answer.text
        return answer.json

    def message(self, message):
        return self.http("GET", f"/sandbox/messages/{message['id']}").json

    def stop(self):
        self.process.terminate()
        return self.process.wait(timeout=DEADLINE)


def verified(public_key, headers, body):
    """Raise unless the signature holds over the raw bytes. This check shares no code with the program."""
    key = load_der_public_key(base64.b64decode(public_key))
    signature = base64.b64decode(headers["X-Twilio-Email-Event-Webhook-Signature"], validate=True)
    timestamp = headers["X-Twilio-Email-Event-Webhook-Timestamp"]
    key.verify(signature, timestamp.encode() + body, ec.ECDSA(hashes.SHA256()))
