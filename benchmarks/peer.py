"""Measures our whole way from HTTP to document, beside OCA's mail_tracking_mailgun with as many events.

Theirs takes one event a POST, signed as Mailgun signs it, and has it in the database when it answers. Ours gets 500
events a POST, as SendGrid sends them, and is done when the last document is up to date.
"""

import hashlib
import hmac
import json
import secrets
import sys
import time

from script.lib import paths, process
from script.lib import stack as stacks

from . import _client, _events, _oca, _report, _stack

EVENTS, IN_POST, DOCUMENTS, LIMIT = 5_000, 500, 1_000, 20
WARM_UP = 200  # events sent first, to either side
SIGNING_KEY = "a-signing-key"
MAILGUN_EVENTS = {
    "processed": "accepted",
    "delivered": "delivered",
    "open": "opened",
    "click": "clicked",
    "deferred": "failed",
    "bounce": "failed",
}


def measure_ours(count: int) -> float:
    """Return events per second, from the first POST to the last document."""
    with _stack.draining(DOCUMENTS) as (stack, relay):
        events = list(relay.mixed(WARM_UP + count, DOCUMENTS))
        _post_ours(stack, events[:WARM_UP], 10, WARM_UP)
        return count / _post_ours(stack, events[WARM_UP:], IN_POST, len(events))


def _post_ours(stack: stacks.Stack, events: list[dict], in_post: int, total: int) -> float:
    """Post events, wait until ``total`` have found their documents, and return the seconds in all."""
    url = stack.webhook_url()
    requests = [_client.signed_request(url, body) for body in _events.bodies(events, in_post)]
    start = time.perf_counter()
    _client.post_all(url, requests)
    while _stack.query(stack.odoo.database, "SELECT count(*) FROM sendgrid_event WHERE email_id > 0") != [(total,)]:
        if time.perf_counter() - start > 300:
            raise RuntimeError("The drain does not finish.")
        time.sleep(0.05)
    return time.perf_counter() - start


def measure_theirs(count: int) -> float:
    """Return events per second, with four clients and two workers."""
    with _oca.fresh_database(_oca.MAILGUN) as name:
        fill(name)
        logs = paths.LOG / name
        logs.mkdir(exist_ok=True)
        options = [_oca.ADDONS_PATH, "--log-level=warn", _stack.NO_CRON]
        with stacks.Odoo(name, process.free_port(), logs / "odoo.log", workers=2, options=options) as odoo:
            url = f"{odoo.url}/mail/tracking/mailgun/all"
            [[first]] = _stack.query(name, "SELECT min(id) FROM mail_tracking_email")
            relay = _events.Relay(name, int(time.time()) - 86_400)
            bodies = [
                mailgun_body(name, first + number % DOCUMENTS, event)
                for number, event in enumerate(relay.mixed(WARM_UP + count, DOCUMENTS))
            ]
            warm_up, requests = bodies[:WARM_UP], bodies[WARM_UP:]
            _client.post_all(url, [mailgun_request(url, body) for body in warm_up])
            seconds, _latencies = _client.post_all(url, [mailgun_request(url, body) for body in requests])
            [[stored]] = _stack.query(name, "SELECT count(*) FROM mail_tracking_event")
            odoo.kill()
        if stored < 0.9 * count:  # OCA's addon leaves out repeated opens and clicks
            raise RuntimeError(f"Of {count} events OCA's tracking stored {stored}.")
        return len(requests) / seconds


def fill(name: str) -> None:
    """Create the documents of OCA's addon, and the settings of its webhook."""
    _stack.query(
        name,
        """INSERT INTO mail_tracking_email (name, display_name, recipient, recipient_address, sender, state, timestamp,
                                            time, date, token)
           SELECT subject, subject, address, address, 'sales@example.com', 'sent',
                  extract(epoch FROM now()), now() AT TIME ZONE 'UTC', now()::date, md5(number::text)
             FROM generate_series(1, %s) number,
                  LATERAL (SELECT 'Your quotation ' || number, 'contact' || number || '@bench.example.com')
                          AS made (subject, address)""",
        DOCUMENTS,
    )
    settings = {"apikey": "key", "domain": "example.com", "webhook_signing_key": SIGNING_KEY}
    for key, value in settings.items():
        _stack.query(name, "INSERT INTO ir_config_parameter (key, value) VALUES (%s, %s)", f"mailgun.{key}", value)


def mailgun_body(name: str, tracking_id: int, event: dict) -> dict:
    """Return the event that Mailgun would post where SendGrid posts ``event``, without the signature."""
    return {
        "id": secrets.token_urlsafe(16),
        "event": MAILGUN_EVENTS.get(event["event"], "complained"),
        "timestamp": float(event["timestamp"]),
        "recipient": event.get("email"),
        "ip": event.get("ip"),
        "url": event.get("url"),
        "user-agent": event.get("useragent"),
        "severity": "permanent" if event["event"] == "bounce" else "temporary",
        "delivery-status": {"code": 550, "message": event.get("reason"), "description": event.get("response")},
        "message": {"headers": {"message-id": event.get("smtp-id", "")}},
        "user-variables": {"odoo_db": name, "tracking_email_id": tracking_id},
    }


def mailgun_request(url: str, event_data: dict) -> bytes:
    """Return the bytes of one POST, signed as Mailgun signs it."""
    # OCA's addon wants a time in the past, less than ten minutes ago.
    timestamp, token = str(int(time.time()) - 5), secrets.token_hex(25)
    signature = hmac.new(SIGNING_KEY.encode(), f"{timestamp}{token}".encode(), hashlib.sha256).hexdigest()
    body = json.dumps(
        {"signature": {"timestamp": timestamp, "token": token, "signature": signature}, "event-data": event_data}
    ).encode()
    return _client.make_request(url, body, {"User-Agent": "mailgun/1.0", "Content-Type": "application/json"})


def measure(scale: float) -> list[_report.Row]:
    """Return the row of the table."""
    count = max(int(EVENTS * scale), 500)
    return [
        _report.at_least("OCA's mail_tracking_mailgun", measure_ours(count), measure_theirs(count), LIMIT, "events/s")
    ]


if __name__ == "__main__":
    sys.exit(_report.run(measure, __doc__))
