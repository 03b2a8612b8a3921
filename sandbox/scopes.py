"""The permissions of an API key (Twilio docs: API key permissions)."""

from sandbox.suppressions import LISTS

_WEBHOOK = "user.webhooks.event.settings"
_TEST = "user.webhooks.event.test"


def _suppression(list_name: str, action: str) -> tuple[str, ...]:
    return (f"suppression.{action}", f"suppression.{list_name}.{action}")


def _group(action: str) -> tuple[str, ...]:
    return (f"asm.groups.{action}",)


def _group_members(action: str) -> tuple[str, ...]:
    return (f"asm.groups.suppressions.{action}", f"asm.groups.{action}", f"suppression.{action}")


def _global(action: str) -> tuple[str, ...]:
    return (f"asm.suppressions.global.{action}", *_suppression("unsubscribes", action))


NEEDED: dict[tuple[str, str], tuple[str, ...]] = {
    ("POST", "/v3/mail/send"): ("mail.send",),
    ("GET", "/v3/user/webhooks/event/settings/all"): (f"{_WEBHOOK}.read",),
    # `create` and `delete` exist, but a key that may write settings has no more than `update`.
    ("POST", "/v3/user/webhooks/event/settings"): (f"{_WEBHOOK}.update", f"{_WEBHOOK}.create"),
    ("GET", "/v3/user/webhooks/event/settings/{id}"): (f"{_WEBHOOK}.read",),
    ("PATCH", "/v3/user/webhooks/event/settings/{id}"): (f"{_WEBHOOK}.update",),
    ("DELETE", "/v3/user/webhooks/event/settings/{id}"): (f"{_WEBHOOK}.update", f"{_WEBHOOK}.delete"),
    ("GET", "/v3/user/webhooks/event/settings/signed/{id}"): (f"{_WEBHOOK}.read",),
    ("PATCH", "/v3/user/webhooks/event/settings/signed/{id}"): (f"{_WEBHOOK}.update",),
    ("POST", "/v3/user/webhooks/event/test"): (f"{_TEST}.create", f"{_TEST}.update"),
    ("GET", "/v3/tracking_settings"): ("tracking_settings.read",),
    **{
        (method, f"/v3/tracking_settings/{name}"): (f"tracking_settings.{name}.{action}", *more)
        for name in ("click", "open", "subscription")
        for method, action, more in (("GET", "read", ("tracking_settings.read",)), ("PATCH", "update", ()))
    },
    **{
        (method, f"/v3/suppression/{name}{path}"): _suppression(name, action)
        for name in LISTS
        for path in ("", "/{email}")
        for method, action in (("GET", "read"), ("DELETE", "delete"))
        if name != "unsubscribes"
    },
    ("GET", "/v3/suppression/unsubscribes"): _suppression("unsubscribes", "read"),
    ("POST", "/v3/asm/suppressions/global"): _global("create"),
    ("GET", "/v3/asm/suppressions/global/{email}"): _global("read"),
    ("DELETE", "/v3/asm/suppressions/global/{email}"): _global("delete"),
    ("GET", "/v3/asm/groups"): _group("read"),
    ("POST", "/v3/asm/groups"): _group("create"),
    ("GET", "/v3/asm/groups/{group_id}"): _group("read"),
    ("GET", "/v3/asm/groups/{group_id}/suppressions"): _group_members("read"),
    ("POST", "/v3/asm/groups/{group_id}/suppressions"): _group_members("create"),
    ("DELETE", "/v3/asm/groups/{group_id}/suppressions/{email}"): _group_members("delete"),
    ("GET", "/v3/asm/suppressions"): _group_members("read"),
    ("GET", "/v3/asm/suppressions/{email}"): _group_members("read"),
    ("POST", "/v3/recipients/erasejob"): ("recipients.erasejob.create",),
    ("GET", "/v3/messages"): ("email_activity.read",),
    ("GET", "/v3/messages/{msg_id}"): ("email_activity.read",),
}
"""From an operation to the scopes of which one is enough. None is known for the Email Logs, and none needed here."""

ALL = frozenset(scope for enough in NEEDED.values() for scope in enough) | {"stats.read"}
"""What a key with full access has."""
