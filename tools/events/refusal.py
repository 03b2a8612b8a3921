"""Why a message was refused or dropped, and what that is evidence of."""

# Our own bounce, when SendGrid stopped trying after 72 hours without saying so.
EXPIRED = "expired"
# What SendGrid says when it drops a message for its address (Twilio docs: Event Webhook reference), as it begins in
# lower case. Everything else is about the message.
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


def bounce_status(bounce) -> str:
    """Tell a permanent refusal (``bounced``) from one of this message only (``blocked``).

    Without a ``type`` (seen in SendGrid's test events) the enhanced status decides: 4.x.x is not permanent.
    """
    if bounce.bounce_type in ("blocked", EXPIRED):
        return "blocked"
    if not bounce.bounce_type and bounce.smtp_status.startswith("4"):
        return "blocked"
    return "bounced"
