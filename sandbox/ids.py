"""Ids of the shape that SendGrid uses. Receivers must not rely on what they decode to; they may look at the shape."""

import base64
import itertools
import secrets
import string
import time

ACCOUNT = "48120033"
"""The SendGrid user number that delivery event ids carry."""

_ALPHABET = string.ascii_lowercase + string.digits
_counter = itertools.count(1)


def random_id() -> str:
    """22 base64url characters: a message's X-Message-Id ("queued as"), an engagement event's `sg_event_id`."""
    return secrets.token_urlsafe(16)


def server_suffix(now: float | None = None) -> str:
    """The middle of `sg_message_id`, e.g. `recvd-7c9d5f6b8d-q2x4p-1-69244E10-5`: host, pod, time and counter in hex."""
    host = secrets.token_hex(5)
    pod = "".join(secrets.choice(_ALPHABET) for _ in range(5))
    return f"recvd-{host}-{pod}-1-{int(now or time.time()):X}-{next(_counter):X}"


def delivery_event_id(event: str, message_id: str, index: int, attempt: int) -> str:
    """`sg_event_id` of a delivery event: unpadded base64url of e.g. `delivered-0-48120033-<message id>-<index>`."""
    words = {
        "processed": ["processed"],
        "dropped": ["drop"],
        "deferred": ["deferred", str(attempt)],
        "delivered": ["delivered", str(attempt)],
        "bounce": ["bounce", str(attempt)],
    }[event]
    return _encode("-".join([*words, ACCOUNT, message_id, str(index)]))


def account_event_id(status: str, timestamp: int) -> str:
    """`sg_event_id` of an account_status_change: unpadded base64url of `48120033-suspend-<timestamp>`."""
    return _encode(f"{ACCOUNT}-{status.removeprefix('compliance_')}-{timestamp}")


def _encode(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
