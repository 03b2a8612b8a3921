"""This module reads and clears the lists of addresses that SendGrid does not deliver to (Twilio docs: Suppressions)."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from ..events.lenient_json import get_kind
from ..events.parsing import EventError, read_integer, read_text, read_timestamp
from .client import ApiError, Client

# SendGrid's names; `groups` are the unsubscribe groups, all of them in one list.
LISTS = ("bounces", "blocks", "invalid_emails", "spam_reports", "unsubscribes", "groups")
# A person put his address on these himself; servers put it on the others.
WISHES = ("spam_reports", "unsubscribes", "groups")
PAGE = 500  # the most that SendGrid gives at once


class Entry(NamedTuple):
    """An address on a list. ``created`` is in Unix seconds (UTC), ``email`` in lower case; no group is 0."""

    email: str
    created: int
    reason: str = ""
    smtp_status: str = ""
    group_id: int = 0
    group_name: str = ""


class Page(NamedTuple):
    """A part of a list. ``rejected`` counts the rows that are no entry.

    ``next`` is where the following part begins, None at the end of the list; ``last`` names the row before it.
    """

    entries: list[Entry]
    rejected: int
    next: int | None
    last: str


def read_list(
    client: Client, name: str, since: int | None = None, until: int | None = None, offset: int = 0, last: str = ""
) -> Iterator[Page]:
    """Yield the pages of a list, from ``offset`` on. The next call is made when the next page is asked for.

    :param str name: one of `LISTS`
    :param int since: Unix seconds (UTC); entries that are older are left out. The groups know no such limit.
    :param int until: the same for younger ones, so that entries added meanwhile move nothing
    :param int offset: the ``next`` of the page before, with its ``last``
    :raise ApiError: as the client's calls
    """
    if name == "groups":
        yield from _read_groups(client, offset, last)
        return
    shifts = 3
    while offset is not None:
        # The row before is read again: if it has moved, some before it were taken off the list meanwhile, and as many
        # would be missed.
        again = 1 if last else 0
        rows = client.get(("suppression", name), start_time=since, end_time=until, limit=PAGE, offset=offset - again)
        _check_list(rows)
        if last and shifts and (not rows or _name_row(rows[0]) != last):
            shifts -= 1
            offset, last = max(offset - PAGE, 0), ""
            continue
        following = offset - again + len(rows) if len(rows) == PAGE else None
        page = _read_page(rows[again:], following)
        yield page
        offset, last = page.next, page.last


def _read_groups(client: Client, offset: int, last: str) -> Iterator[Page]:
    """Cut the groups into pages: they are documented without any."""
    rows = client.get(("asm", "suppressions"))
    _check_list(rows)
    if last and (offset > len(rows) or _name_row(rows[offset - 1]) != last):
        offset = 0  # some before it were taken off the list meanwhile, and as many would be missed
    while offset is not None:
        following = offset + PAGE if offset + PAGE < len(rows) else None
        yield _read_page(rows[offset : offset + PAGE], following)
        offset = following


def _read_page(rows: list[Any], following: int | None) -> Page:
    entries = []
    for row in rows:
        try:
            entries.append(_read_entry(row))
        except EventError:
            continue
    return Page(entries, len(rows) - len(entries), following, _name_row(rows[-1]) if rows else "")


def _name_row(row: Any) -> str:
    return str(row.get("email")) if isinstance(row, dict) else "?"


def _read_entry(row: Any) -> Entry:
    if not isinstance(row, dict):
        raise EventError("not_an_object", kind=get_kind(row))
    email = read_text(row, "email", limit=320).lower()
    if not email:
        raise EventError("missing", key="email")
    return Entry(
        email=email,
        created=read_timestamp({"timestamp": row.get("created", row.get("created_at"))}),
        reason=read_text(row, "reason"),
        smtp_status=read_text(row, "status"),
        group_id=read_integer(row, "group_id") or 0,
        group_name=read_text(row, "group_name", limit=1000),
    )


def find_address(client: Client, email: str) -> Iterator[tuple[str, Entry]]:
    """Yield where an address is, as pairs of a list's name and its `Entry`: a call for each list.

    SendGrid does not tell here when somebody unsubscribed from everything: then ``created`` is 0.
    """
    for name in ("bounces", "blocks", "invalid_emails", "spam_reports"):
        for entry in _read_page(_as_list(client.get(("suppression", name, email))), None).entries:
            yield name, entry
    if _as_dict(client.get(("asm", "suppressions", "global", email))).get("recipient_email"):
        yield "unsubscribes", Entry(email, 0)
    for group in _as_list(_as_dict(client.get(("asm", "suppressions", email))).get("suppressions")):
        if isinstance(group, dict) and group.get("suppressed") and isinstance(group.get("id"), int):
            yield "groups", Entry(email, 0, group_id=group["id"], group_name=str(group.get("name") or ""))


def clear_address(client: Client, name: str, email: str, group_id: int = 0) -> None:
    """Take an address off a list. If it is not there (any more), that is as good."""
    path = {
        "groups": ("asm", "groups", group_id, "suppressions", email),
        "unsubscribes": ("asm", "suppressions", "global", email),
    }.get(name, ("suppression", name, email))
    try:
        client.call("delete", path)
    except ApiError as error:
        if error.kind != "missing":
            raise


def _check_list(rows: Any) -> None:
    """Raise `ApiError` if an answer is no list: taken for an empty one, it would say that every address is off it."""
    if not isinstance(rows, list):
        raise ApiError("answer")


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _as_dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
