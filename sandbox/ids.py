"""Makes ids in SendGrid's shape. A receiver may look at the shape, but must not rely on the decoded content."""

import base64
import itertools
import secrets
import string
import time

ACCOUNT = "48120033"
"""The SendGrid user number, a part of the ids of delivery events."""

_ALPHABET = string.ascii_lowercase + string.digits
_counter = itertools.count(1)


def random_id() -> str:
    """Return 22 base64url characters: an X-Message-Id ("queued as"), or the `sg_event_id` of an open or click."""
    return secrets.token_urlsafe(16)


def server_suffix(now: float | None = None) -> str:
    """Return the middle of `sg_message_id`, e.g. `recvd-7c9d5f6b8d-q2x4p-1-69244E10-5`: host, pod, hex time, count."""
    host = secrets.token_hex(5)
    pod = "".join(secrets.choice(_ALPHABET) for _ in range(5))
    return f"recvd-{host}-{pod}-1-{int(now or time.time()):X}-{next(_counter):X}"


def delivery_event_id(event: str, message_id: str, index: int, attempt: int) -> str:
    """Return a delivery event's `sg_event_id`: `delivered-0-48120033-<message id>-<index>` in unpadded base64url."""
    words = {
        "processed": ["processed"],
        "dropped": ["drop"],
        "deferred": ["deferred", str(attempt)],
        "delivered": ["delivered", str(attempt)],
        "bounce": ["bounce", str(attempt)],
    }[event]
    return _encode("-".join([*words, ACCOUNT, message_id, str(index)]))


def account_event_id(status: str, timestamp: int) -> str:
    """Return the `sg_event_id` of an account_status_change: `48120033-suspend-<timestamp>` in unpadded base64url."""
    return _encode(f"{ACCOUNT}-{status.removeprefix('compliance_')}-{timestamp}")


def _encode(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
