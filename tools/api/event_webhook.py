"""This module sets up SendGrid's side of an Event Webhook, through `tools.api.client` (Twilio docs: Event Webhook API).

Several webhooks may be there, other programs' too. Ours has our token in its address: nobody else's can.
"""

from collections.abc import Collection
from typing import Any

from .client import ApiError, Client

# Connecting gives this name to the webhooks that it makes. Others may use it too: it proves nothing without our token.
FRIENDLY_NAME = "Odoo SendGrid Email Tracking"
EVENTS = (
    "processed",
    "dropped",
    "deferred",
    "delivered",
    "bounce",
    "open",
    "click",
    "spam_report",
    "unsubscribe",
    "group_unsubscribe",
    "group_resubscribe",
)
SETTINGS = ("user", "webhooks", "event", "settings")
# The part of our address before the token.
PATH = "/sendgrid/webhook/"


def list_all(client: Client) -> tuple[list[dict[str, Any]], int | None]:
    """Return the account's webhooks as SendGrid describes them, and how many its plan allows (None: it does not say).

    :raise ApiError: as every call
    """
    answer = client.get((*SETTINGS, "all"))
    if not isinstance(answer, dict) or not isinstance(answer.get("webhooks"), list):
        raise ApiError("answer")
    for one in answer["webhooks"]:
        # It may be ours, and must not count as gone.
        if not isinstance(one, dict) or (one.get("url") and not one.get("id")):
            raise ApiError("answer")
    # Without any, the list may hold one empty object.
    webhooks = [one for one in answer["webhooks"] if one.get("id")]
    return webhooks, answer.get("max_allowed") or None


def find(webhooks: list[dict[str, Any]], token: str, webhook_id: str | None) -> dict[str, Any] | None:
    """Return the one of ``webhooks`` that is ours, or None.

    The token in its address names it, so that it is found also when its id never got here. ``webhook_id`` names it only
    while it leads to some address of this addon: somebody may have given it to another program.
    """
    for webhook in webhooks:
        if has_token(webhook, token):
            return webhook
    for webhook in webhooks:
        if webhook_id and webhook["id"] == webhook_id and PATH in (webhook.get("url") or ""):
            return webhook
    return None


def has_token(webhook: dict[str, Any], token: str) -> bool:
    """Tell whether a webhook leads to the address with this token."""
    return bool(token) and PATH + token in (webhook.get("url") or "")


def inspect(
    webhook: dict[str, Any] | None, url: str, verification_keys: Collection[str]
) -> tuple[str, str, str | None]:
    """Tell the worst that is wrong with our webhook.

    :param webhook: as SendGrid describes it, or None
    :param url: the address that it should lead to
    :param verification_keys: those that are accepted here
    :return: state, finding and detail, as `sendgrid.account.check` keeps them
    """
    if not webhook:
        return "problem", "webhook_gone", None
    if not webhook.get("enabled"):
        return "problem", "webhook_disabled", None
    # SendGrid shows it only of a webhook that signs (Twilio docs: Event Webhook API).
    if not isinstance(public_key := webhook.get("public_key"), str) or not public_key:
        return "problem", "webhook_unsigned", None
    if "".join(public_key.split()) not in verification_keys:
        return "problem", "webhook_key", None
    if webhook["url"] != url:
        # The detail leaves out the secret path.
        return "warning", "webhook_address", webhook["url"].partition(PATH)[0]
    if missing := [name for name in EVENTS if not webhook.get(name)]:
        return "warning", "webhook_partial", ", ".join(missing)
    return "ok", "webhook_ready", None


def create(client: Client, url: str) -> dict[str, Any]:
    """Make a webhook, switched off until what it posts is signed, and return it as SendGrid describes it.

    :raise ApiError: `refused`: the address is no URL, another webhook has it, or the plan allows no more
    """
    body = {"url": url, "enabled": False, "friendly_name": FRIENDLY_NAME, **dict.fromkeys(EVENTS, True)}
    webhook = client.call("post", SETTINGS, body=body).body
    if not isinstance(webhook, dict) or not webhook.get("id"):
        raise ApiError("answer")
    return webhook


def read_refusal(error: ApiError) -> str:
    """Say what a `refused` address is refused for: it `exists`, the plan's `maximum` is reached, or it is no `address`.

    Only SendGrid's words tell (Twilio's OpenAPI description: Webhooks).

    :param error: `create` or `update` raised it
    """
    words = str(error).lower()
    return "exists" if "already exists" in words else "maximum" if "maximum" in words else "address"


def update(client: Client, webhook_id: str, url: str, enabled: bool) -> None:
    """Have a webhook post all events to ``url``, those about the account itself too (only this call takes these)."""
    body = {"url": url, "enabled": enabled, **dict.fromkeys(EVENTS, True), "account_status_change": True}
    client.call("patch", (*SETTINGS, webhook_id), body=body)


def sign(client: Client, webhook_id: str) -> str:
    """Have a webhook sign what it posts, if it does not yet, and return the verification key.

    Switched on twice it keeps its signing key; only switching it off makes SendGrid forget it.
    """
    path = (*SETTINGS, "signed", webhook_id)
    answer = client.get(path)
    if not isinstance(answer, dict) or not answer.get("public_key"):
        answer = client.call("patch", path, body={"enabled": True}).body
    if not isinstance(answer, dict) or not isinstance(answer.get("public_key"), str):
        raise ApiError("answer")
    return answer["public_key"]


def test(client: Client, webhook_id: str, url: str) -> None:
    """Have SendGrid post its sample events to ``url``, signed as the webhook signs.

    The call may be repeated: a second test does no harm.
    """
    body = {"id": webhook_id, "url": url}
    client.call("post", ("user", "webhooks", "event", "test"), body=body, repeatable=True)


def delete(client: Client, webhook_id: str | None, token: str) -> bool | None:
    """Delete a webhook, if it still leads to the address with this token.

    :param webhook_id: None if only its address is known, because somebody set it up by hand
    :return: whether it is gone now; False when it leads elsewhere, so that it is somebody else's by now; None if no
        webhook has this address
    """
    try:
        if webhook_id is None:
            found = find(list_all(client)[0], token, None)
            if not found:
                return None
            webhook_id = found["id"]
        webhook = client.get((*SETTINGS, webhook_id))
        if not isinstance(webhook, dict) or not has_token(webhook, token):
            return False
        client.call("delete", (*SETTINGS, webhook_id))
    except ApiError as error:
        if error.kind != "missing":
            raise
    return True
