"""These settings decide on tracking where a message does not say so itself (Twilio docs: Tracking Settings)."""

from .client import ApiError, Client

SETTINGS = ("tracking_settings",)


def read(client: Client) -> dict[str, bool]:
    """Return {name of a setting, such as `open` or `click`: whether it is on} for the whole account.

    A setting that is not told, or not as true or false, is left out: it need not be off.

    :raise ApiError: as the client's calls
    """
    answer = client.get(SETTINGS)
    rows = answer.get("result") if isinstance(answer, dict) else None
    if not isinstance(rows, list):
        raise ApiError("answer")
    return {
        row["name"]: row["enabled"]
        for row in rows
        if isinstance(row, dict) and isinstance(row.get("name"), str) and isinstance(row.get("enabled"), bool)
    }


def is_on(client: Client, name: str) -> bool:
    """Tell whether one of them is on; an API key may be allowed to read only some.

    :raise ApiError: as the client's calls
    """
    answer = client.get((*SETTINGS, name))
    enabled = answer.get("enabled") if isinstance(answer, dict) else None
    if not isinstance(enabled, bool):
        raise ApiError("answer")
    return enabled


def switch(client: Client, name: str, enabled: bool) -> None:
    """Switch one of them, for the whole account.

    :raise ApiError: as the client's calls
    """
    client.call("patch", (*SETTINGS, name), body={"enabled": enabled})
