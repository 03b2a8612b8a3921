"""This module turns the settings of an ``X-SMTPAPI`` header into those of SendGrid's ``POST /v3/mail/send``.

Sources: Twilio docs, "Building an X-SMTPAPI Header" and "SMTP Filters", and the vendor's OpenAPI description.
"""

import json
from collections.abc import Callable
from typing import Any

from .errors import V3MailError
from .smtpapi import HEADER, is_on

KNOWN = {"unique_args", "category", "asm_group_id", "asm_groups_to_display", "send_at", "ip_pool", "filters"}
MAX_GROUPS = 25
IP_POOL_LENGTHS = range(2, 65)
BYPASSES = {
    "bypass_list_management",
    "bypass_bounce_management",
    "bypass_spam_management",
    "bypass_unsubscribe_management",
}
UTM = ("utm_source", "utm_medium", "utm_term", "utm_content", "utm_campaign")
SUBSCRIPTION = {"text/plain": "text", "text/html": "html", "replace": "substitution_tag"}
FOOTER = {"text/plain": "text", "text/html": "html"}


def convert(settings: dict[str, Any], is_click_tracked: Callable[[], bool]) -> dict[str, Any]:
    """Return the keys of the payload that say what the header says.

    :param settings: the header, see `tools.sending.smtpapi.read`
    :param is_click_tracked: whether the account tracks clicks; see `tools.sending.v3_mail.build`
    :raise V3MailError: the Web API lacks a setting, or would refuse its value
    """
    if unknown := sorted(key for key, value in settings.items() if value and key not in KNOWN):
        raise V3MailError("unknown_settings", header=HEADER, names=", ".join(unknown))
    payload = {}
    if args := _get_dict(settings, "unique_args"):
        payload["custom_args"] = {name: _to_text(value) for name, value in args.items()}
    category = settings.get("category") or []
    categories = category if isinstance(category, list) else [category]
    if names := list(dict.fromkeys(_to_text(one) for one in categories if one not in (None, ""))):
        payload["categories"] = names
    if group := settings.get("asm_group_id"):
        payload["asm"] = {"group_id": _to_number("asm_group_id", group), **_convert_groups(settings)}
    if send_at := settings.get("send_at"):
        payload["send_at"] = _to_number("send_at", send_at)
    if ip_pool := settings.get("ip_pool"):
        payload["ip_pool_name"] = _to_text(ip_pool)
        if len(payload["ip_pool_name"]) not in IP_POOL_LENGTHS:
            raise V3MailError("ip_pool", minimum=IP_POOL_LENGTHS.start, maximum=IP_POOL_LENGTHS.stop - 1)
    return payload | _convert_filters(_get_dict(settings, "filters"), is_click_tracked)


def _convert_groups(settings: dict[str, Any]) -> dict[str, list[int]]:
    groups = settings.get("asm_groups_to_display")
    if not groups:
        return {}
    if not isinstance(groups, list):
        raise V3MailError("not_a_list", header=HEADER, name="asm_groups_to_display")
    if len(groups) > MAX_GROUPS:
        raise V3MailError("too_many_groups", count=len(groups), limit=MAX_GROUPS)
    return {"groups_to_display": [_to_number("asm_groups_to_display", group) for group in groups]}


def _convert_filters(filters: dict[str, Any], is_click_tracked: Callable[[], bool]) -> dict[str, Any]:
    tracking, handling = {}, {}
    for name in filters:
        values = _get_dict(_get_dict(filters, name), "settings")
        if name == "clicktrack":
            tracking["click_tracking"] = _convert_click_tracking(values, is_click_tracked)
            continue
        if "enable" not in values:
            raise V3MailError("not_said_whether", header=HEADER, name=name)
        enable = {"enable": is_on(values["enable"])}
        if name == "opentrack":
            tracking["open_tracking"] = enable | _rename(values, {"replace": "substitution_tag"})
        elif name == "subscriptiontrack":
            tracking["subscription_tracking"] = enable | _rename(values, SUBSCRIPTION)
        elif name == "ganalytics":
            if unknown := sorted(key for key in values if key.startswith("utm_") and key not in UTM):
                raise V3MailError("unknown_settings", header=HEADER, names=", ".join(unknown))
            tracking["ganalytics"] = enable | _rename(values, {key: key for key in UTM})
        elif name == "footer":
            handling["footer"] = enable | _rename(values, FOOTER)
        elif name in BYPASSES:
            handling[name] = enable
        elif enable["enable"]:
            raise V3MailError("unknown_filter", header=HEADER, name=name)
    found = {"tracking_settings": tracking, "mail_settings": handling}
    return {key: settings for key, settings in found.items() if settings}


def _convert_click_tracking(values: dict[str, Any], is_click_tracked: Callable[[], bool]) -> dict[str, bool]:
    enable = is_on(values["enable"]) if "enable" in values else is_click_tracked()
    if "enable_text" not in values:
        return {"enable": enable}
    return {"enable": enable, "enable_text": enable and is_on(values["enable_text"])}


def _rename(values: dict[str, Any], names: dict[str, str]) -> dict[str, str]:
    """Return the texts of a filter under the names that the payload has for them; empty ones are left out."""
    return {names[key]: _to_text(value) for key, value in values.items() if key in names and value not in (None, "")}


def _get_dict(settings: dict[str, Any], name: str) -> dict[str, Any]:
    value = settings.get(name) or {}
    if not isinstance(value, dict):
        raise V3MailError("not_an_object", header=HEADER, name=name)
    return value


def _to_number(name: str, value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise V3MailError("not_a_number", header=HEADER, name=name) from error


def _to_text(value: Any) -> str:
    """Return a value as the events bring it back: text, whatever it was."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
