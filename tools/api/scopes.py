"""Scopes say what an API key may do (Twilio docs: API key permissions)."""

from .client import ApiError, Client

MAIL_SEND = "mail.send"
# Connecting an account cannot do without these; without the others something else does not work.
NEEDED = (MAIL_SEND, "user.webhooks.event.settings.read", "user.webhooks.event.settings.update")
USEFUL = (
    "user.webhooks.event.test.create",
    "tracking_settings.read",
    "tracking_settings.open.update",
    "tracking_settings.click.update",
    "suppression.read",
    "suppression.delete",
    "asm.groups.read",
    "email_activity.read",
)


def read(client: Client) -> tuple[list[str], str | None]:
    """Return the names of the scopes of a client's API key, and the Date header of SendGrid's answer.

    :raise ApiError: as the client's calls
    """
    answer = client.call("get", ("scopes",))
    scopes = answer.body.get("scopes") if isinstance(answer.body, dict) else None
    if not isinstance(scopes, list):
        raise ApiError("answer")
    return scopes, answer.headers.get("date")
