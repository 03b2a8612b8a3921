"""SendGrid's side of the webhook for the tests: events in its shape, its wire form, its signature."""

import base64
import json
import secrets
import time
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

SAMPLES = Path(__file__).parent / "data"
BROWSER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"

# The fields of each kind besides recipient, time and ids. The key is the test's own name of the kind.
KINDS = {
    "processed": {"event": "processed", "send_at": 0, "pool": {"name": "transactional", "id": "210"}},
    "dropped": {"event": "dropped", "reason": "Bounced Address"},
    "deferred": {
        "event": "deferred",
        "response": "451 4.7.1 Greylisting in action, please come back later",
        "attempt": "1",
        "ip": "198.51.100.24",
        "tls": 1,
    },
    "delivered": {"event": "delivered", "response": "250 2.0.0 OK\n", "ip": "198.51.100.24", "tls": 1},
    "bounce": {
        "event": "bounce",
        "type": "bounce",
        "reason": "550 5.1.1 Recipient address rejected: User unknown",
        "status": "5.1.1",
        "bounce_classification": "Invalid Address",
        "ip": "198.51.100.24",
        "tls": 1,
    },
    "blocked": {
        "event": "bounce",
        "type": "blocked",
        "reason": "552 5.2.2 mailbox over quota",
        "status": "5.2.2",
        "bounce_classification": "Mailbox Unavailable",
        "ip": "198.51.100.24",
        "tls": 1,
    },
    "open": {
        "event": "open",
        "ip": "203.0.113.7",
        "useragent": BROWSER,
        "sg_content_type": "html",
        "sg_machine_open": False,
    },
    "machine_open": {
        "event": "open",
        "ip": "203.0.113.200",
        "useragent": "Mozilla/5.0",
        "sg_content_type": "html",
        "sg_machine_open": True,
    },
    "click": {
        "event": "click",
        "ip": "203.0.113.7",
        "useragent": BROWSER,
        "url": "https://shop.example.com/é",
        "url_offset": {"index": 0, "type": "html"},
    },
    "spamreport": {"event": "spamreport"},
    "unsubscribe": {"event": "unsubscribe", "ip": "203.0.113.7", "useragent": BROWSER},
    "group_unsubscribe": {
        "event": "group_unsubscribe",
        "ip": "203.0.113.7",
        "useragent": BROWSER,
        "url": "https://u1.ct.sendgrid.net/asm/",
        "asm_group_id": 1042,
    },
    "group_resubscribe": {
        "event": "group_resubscribe",
        "ip": "203.0.113.7",
        "useragent": BROWSER,
        "url": "https://u1.ct.sendgrid.net/asm/",
        "asm_group_id": 1042,
    },
}
# Only the events of the delivery carry the Message-ID.
WITH_SMTP_ID = ("processed", "dropped", "deferred", "delivered", "bounce")


class Relayed:
    """A message as SendGrid took it: it has its own id, and knows the recipients and the unique arguments."""

    def __init__(self, recipients, unique_args=None, message_id=""):
        self.recipients = list(recipients)
        self.unique_args = dict(unique_args or {})
        self.message_id = message_id
        self.key = secrets.token_urlsafe(16)

    def event(self, kind, recipient=None, timestamp=None, **fields):
        """Return one event in SendGrid's shape; a field given as None is left out."""
        recipient = recipient or self.recipients[0]
        number = self.recipients.index(recipient) if recipient in self.recipients else 0
        said = KINDS.get(kind, {"event": kind})
        event = {
            "email": recipient,
            "timestamp": int(timestamp if timestamp is not None else time.time()),
            "sg_event_id": secrets.token_urlsafe(16),
            "sg_message_id": f"{self.key}.recvd-7c9d5f6b8d-q2x4p-1-69244E10-5.{number}",
            "category": [],
            **({"smtp-id": self.message_id} if said["event"] in WITH_SMTP_ID and self.message_id else {}),
            **self.unique_args,
            **said,
            **fields,
        }
        return {key: value for key, value in event.items() if value is not None}


def async_bounce(recipient, timestamp, **fields):
    """Return a bounce that came back as a mail of its own: it has an address and a reason, and no ids."""
    return {
        "email": recipient,
        "event": "bounce",
        "timestamp": int(timestamp),
        "sg_event_id": secrets.token_urlsafe(16),
        "sg_message_id": "",
        "type": "bounce",
        "status": "5.1.10",
        "reason": "550 5.1.10 RecipientNotFound",
        **fields,
    }


def account_event(timestamp, **fields):
    """Return an event about the account itself."""
    return {
        "event": "account_status_change",
        "sg_event_id": secrets.token_urlsafe(16),
        "timestamp": int(timestamp),
        "type": "compliance_suspend",
        **fields,
    }


def sample(name):
    """Return the events of one synthetic sample."""
    return json.loads((SAMPLES / f"{name}.json").read_text(encoding="utf-8"))


def sample_names():
    return sorted(path.stem for path in SAMPLES.glob("*.json"))


def to_wire(events):
    """Return the bytes of a POST: compact, CRLF behind each event, angle brackets escaped, other text as it is."""
    elements = (
        (json.dumps(event, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c").replace(">", "\\u003e"))
        for event in events
    )
    return ("[" + ",\r\n".join(elements) + "]\r\n").encode()


class Signer:
    """The pair of keys of one webhook."""

    def __init__(self):
        self._private_key = ec.generate_private_key(ec.SECP256R1())

    @property
    def public_key(self):
        """The public key as SendGrid shows it: base64 of the DER key."""
        der = self._private_key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return base64.b64encode(der).decode()

    def sign(self, body, timestamp=None):
        """Return the headers of a POST with this body, signed."""
        timestamp = str(int(time.time()) if timestamp is None else timestamp)
        signature = self._private_key.sign(timestamp.encode() + body, ec.ECDSA(hashes.SHA256()))
        return {
            "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
            "X-Twilio-Email-Event-Webhook-Timestamp": timestamp,
            "Content-Type": "application/json;charset=utf-8",
            "User-Agent": "SendGrid Event API",
        }
