"""Builds the JSON object of each event. Source: Twilio docs, Event Webhook reference; real traffic where they differ.

A *kind* is a wire name (`open`) or a variant of one (`machine-open` is an `open` with `sg_machine_open` true). `build`
turns a kind into the flat JSON object that is posted; nothing here has side effects.
"""

import time

from sandbox import ids
from sandbox.message import Copy

DELIVERY = ("processed", "dropped", "deferred", "delivered", "bounce")
"""The kinds that carry `smtp-id` and a readable `sg_event_id`."""
ENGAGEMENT = ("open", "click", "spamreport", "unsubscribe", "group_unsubscribe", "group_resubscribe")
ACCOUNT = "account_status_change"
NAMES = (*DELIVERY, *ENGAGEMENT, ACCOUNT)
ACCOUNT_TYPES = ("compliance_suspend", "compliance_deactivate", "compliance_ban", "reactivate")

DROP_REASONS = (
    "Bounced Address",
    "Unsubscribed Address",
    "Spam Reporting Address",
    "Invalid",
    "Spam Content",
    "Invalid SMTPAPI header",
    "Recipient List over Package Quota",
)

SENDING_IP = "198.51.100.24"
READER_IP = "203.0.113.7"
READER_AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
PREFETCH_IP = "203.0.113.200"
SCANNER = {"ip": "203.0.113.66", "useragent": "Mozilla/5.0 (compatible; BarracudaCentral/1.0; link scanner)"}
DEFAULT_GROUP = 1042
"""The unsubscribe group of a message that names none."""

VARIANTS = {
    "blocked": (
        "bounce",
        {
            "type": "blocked",
            "reason": "552 5.2.2 mailbox over quota",
            "status": "5.2.2",
            "bounce_classification": "Mailbox Unavailable",
            "cert_err": "1",
        },
    ),
    "dropped-unsubscribed": ("dropped", {"reason": "Unsubscribed Address"}),
    "dropped-spam": ("dropped", {"reason": "Spam Reporting Address"}),
    "dropped-invalid": ("dropped", {"reason": "Invalid"}),
    "dropped-header": ("dropped", {"reason": "Invalid SMTPAPI header"}),
    "machine-open": ("open", {"sg_machine_open": True, "ip": PREFETCH_IP, "useragent": "Mozilla/5.0"}),
    "late-bounce": ("bounce", {}),
}


def is_kind(kind: str) -> bool:
    """Tell whether `build` knows this kind."""
    return kind in DELIVERY or kind in ENGAGEMENT or kind in VARIANTS


def build(kind: str, copy: Copy, timestamp: int, details: dict | None = None) -> dict:
    """Return the event object of `kind` for one recipient, at `timestamp` (Unix seconds).

    `details` override or add fields; None removes a field. A unique arg becomes a field of the event, unless this very
    event has a field of SendGrid's with the same name.
    """
    name, variant = VARIANTS.get(kind, (kind, {}))
    if kind == "late-bounce":
        wire, args = _late_bounce(copy, timestamp), {}
    else:
        wire = _common(name, copy, timestamp) | _own_fields(name, copy, timestamp)
        args = copy.message.options.unique_args
    wire |= variant | (details or {})
    wire = {key: value for key, value in wire.items() if value is not None}
    return wire | {key: value for key, value in args.items() if key not in wire}


def build_account(status: str, timestamp: int, details: dict | None = None) -> dict:
    """Return an `account_status_change`, which has no recipient and no message, at `timestamp` (Unix seconds)."""
    return {
        "event": ACCOUNT,
        "sg_event_id": ids.account_event_id(status, timestamp),
        "timestamp": timestamp,
        "type": status,
    } | (details or {})


def sample() -> list[dict]:
    """Return the events of SendGrid's "Test Your Integration": each kind once, for a recipient that does not exist."""
    now = int(time.time())
    common = {
        "email": "example@test.com",
        "timestamp": now,
        "smtp-id": "<14c5d75ce93.dfd.64b469@ismtpd-555>",
        "category": ["cat facts"],
        "sg_message_id": "14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0",
    }
    reader = {"useragent": "Mozilla/4.0 (compatible; MSIE 6.1; Windows XP)", "ip": "255.255.255.255"}
    group = {"url": "http://www.sendgrid.com/", "asm_group_id": 10}
    own = {
        "processed": {},
        "deferred": {"response": "400 try again later", "attempt": "5"},
        "delivered": {"response": "250 OK"},
        "open": reader,
        "click": {**reader, "url": "http://www.sendgrid.com/"},
        "bounce": {"reason": "500 unknown recipient", "status": "5.0.0"},  # SendGrid really sends no `type` here
        "dropped": {"reason": "Bounced Address", "status": "5.0.0"},
        "spamreport": {},
        "unsubscribe": {},
        "group_unsubscribe": {**reader, **group},
        "group_resubscribe": {**reader, **group},
    }
    return [{**common, "event": name, "sg_event_id": f"{ids.random_id()}==", **more} for name, more in own.items()]


def again(wire: dict) -> dict:
    """Return the event as SendGrid delivers it a second time: the same but for its `sg_event_id`."""
    return wire | {"sg_event_id": ids.random_id()}


def _common(name: str, copy: Copy, timestamp: int) -> dict:
    message, options = copy.message, copy.message.options
    wire = {"email": copy.address, "event": name, "timestamp": timestamp}
    if name in DELIVERY:
        wire["sg_event_id"] = ids.delivery_event_id(name, message.sg_id, copy.number, copy.attempts)
    else:
        wire["sg_event_id"] = ids.random_id()
    wire["sg_message_id"] = copy.sg_message_id
    if options.category:
        wire["category"] = list(options.category)
    if name in DELIVERY:
        wire["smtp-id"] = message.message_id
    if options.asm_group_id is not None and name not in ("spamreport", "unsubscribe"):
        wire["asm_group_id"] = options.asm_group_id
    return wire


def _own_fields(name: str, copy: Copy, timestamp: int) -> dict:
    if name in DELIVERY:
        return _delivery_fields(name, copy, timestamp)
    if name == "spamreport":
        return {}
    wire = {"ip": READER_IP, "useragent": READER_AGENT}
    if name == "open":
        wire |= {"sg_content_type": "html", "sg_machine_open": False}
    elif name == "click":
        wire |= link_fields(copy, 0)
    elif name != "unsubscribe":  # so it is one of the two group events
        wire["url"] = f"https://u{ids.ACCOUNT}.ct.sendgrid.net/asm/?user_id={ids.ACCOUNT}"
        wire["asm_group_id"] = copy.message.options.asm_group_id or DEFAULT_GROUP
    return wire


def link_fields(copy: Copy, number: int) -> dict:
    """Return the fields of a click on link `number` of the message, or on a stand-in if the message has no links."""
    links = copy.message.links
    if 0 <= number < len(links):
        link = links[number]
        return {"url": link.url, "url_offset": {"index": link.index, "type": link.type}}
    return {"url": "https://www.example.com/", "url_offset": {"index": 0, "type": "html"}}


def _delivery_fields(name: str, copy: Copy, timestamp: int) -> dict:
    message = copy.message
    domain = copy.address.rpartition("@")[2]
    sent = {"ip": SENDING_IP, "tls": 1}
    if name == "processed":
        pool = {"name": message.options.ip_pool or "transactional", "id": "210"}
        return {"send_at": message.options.send_at, "pool": pool}
    if name == "dropped":
        return {"reason": DROP_REASONS[0]}
    if name == "deferred":
        response = "451 4.7.1 Greylisting in action, please come back later"
        return {
            "response": response, "attempt": str(copy.attempts), **sent,
            "domain": domain, "from": message.envelope_from,
        }  # fmt: skip
    if name == "delivered":
        return {**sent, "response": f"250 2.0.0 OK {timestamp} {message.id[:13]} - mx.{domain}\n"}
    return {
        "type": "bounce",
        "reason": f"550 5.1.1 <{copy.address}>: Recipient address rejected: User unknown",
        "status": "5.1.1",
        "bounce_classification": "Invalid Address",
        **sent,
    }


def _late_bounce(copy: Copy, timestamp: int) -> dict:
    """Return a bounce that came as a mail of its own, after the delivery: it has only an address and a reason."""
    return {
        "email": copy.address,
        "event": "bounce",
        "timestamp": timestamp,
        "sg_event_id": ids.random_id(),
        "sg_message_id": "",
        "type": "bounce",
        "status": "5.1.10",
        "reason": "550 5.1.10 RecipientNotFound; recipient not found by SMTP address lookup",
    }
