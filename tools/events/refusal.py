"""This module tells why a message was refused or dropped, and which fact about it follows."""

from typing import Any

# Odoo's own bounces have this type: SendGrid stopped trying after 72 hours without saying so.
EXPIRED = "expired"
# SendGrid's reasons for a drop begin so if the address is the cause (Twilio docs: Event Webhook reference; in lower
# case). All others are about the message.
DROP_FACTS = (
    ("bounced address", "dropped_bounced"),
    ("invalid address", "dropped_bounced"),
    ("unsubscribed address", "dropped_unsubscribed"),
    ("spam reporting address", "dropped_spam"),
)


def drop_fact(reason: str | None) -> str:
    """Tell what a drop is about: ``dropped_bounced``, ``dropped_unsubscribed``, ``dropped_spam``, else ``dropped``."""
    reason = (reason or "").lower()
    if reason == "invalid":
        return "dropped_bounced"
    return next((fact for start, fact in DROP_FACTS if reason.startswith(start)), "dropped")


def bounce_status(bounce: Any) -> str:
    """Tell a permanent refusal (``bounced``) from one of this message only (``blocked``).

    Without a ``type`` (seen in SendGrid's test events) the enhanced status decides: 4.x.x is not permanent.

    :param bounce: anything with ``bounce_type`` and ``smtp_status``, such as an `Event` or a record
    """
    if bounce.bounce_type in ("blocked", EXPIRED):
        return "blocked"
    if not bounce.bounce_type and bounce.smtp_status.startswith("4"):
        return "blocked"
    return "bounced"
