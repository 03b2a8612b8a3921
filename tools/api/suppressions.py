"""This module reads and clears the lists of addresses that SendGrid does not deliver to (Twilio docs: Suppressions)."""

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ..address_form import comparable
from ..events.lenient_json import get_kind
from ..events.parsing import EventError, read_integer, read_text, read_timestamp
from .client import ApiError, Client

# SendGrid's names; `groups` are the unsubscribe groups, all of them in one list.
LISTS = ("bounces", "blocks", "invalid_emails", "spam_reports", "unsubscribes", "groups")
# A person put his address on these himself; servers put it on the others.
WISHES = ("spam_reports", "unsubscribes", "groups")
PAGE = 500  # the most that SendGrid gives at once
FEW = 10  # no server's pages are that short
SHIFTS = 3  # how often a list may move while it is read, before what was missed is not looked for any more
# A call that fails so will fail again; an `answer` cannot be read.
NO_WORD = ("scope", "missing", "refused", "size", "answer")


class Entry(NamedTuple):
    """An address on a list. ``created`` is in Unix seconds (UTC), ``email`` in lower case; no group is 0."""

    email: str
    created: int
    reason: str = ""
    smtp_status: str = ""
    group_id: int = 0
    group_name: str = ""


class Group(NamedTuple):
    """An unsubscribe group. SendGrid says that from ``least`` to ``most`` addresses are out of it, None: it does not
    say. The two differ if addresses came or went while the list was read.
    """

    id: int
    name: str
    least: int | None
    most: int | None


class Page(NamedTuple):
    """A part of a list. ``rejected`` counts the rows that are no entry.

    ``next`` is where the following part begins, None at the end of the list; ``last`` names the row before it.
    ``read`` is when SendGrid was asked (Unix seconds, UTC). ``gap`` says why entries may be missing before this page's
    end: `moved` (the list changed too much while it was read) or `same` (SendGrid gives the same part whatever it is
    asked for), else it is empty. The last page of the groups has all ``groups``; None: SendGrid does not tell them.
    """

    entries: list[Entry]
    rejected: int
    next: int | None
    last: str
    read: int = 0
    gap: str = ""
    groups: tuple[Group, ...] | None = ()


def read_list(
    client: Client,
    name: str,
    since: int | None = None,
    until: int | None = None,
    offset: int = 0,
    last: str = "",
    in_haste: bool = False,
) -> Iterator[Page]:
    """Yield the pages of a list, from ``offset`` on, up to its proven end. The calls are made when a page is asked for.

    An answer that is shorter than asked for is no proof: SendGrid may give less at once. It is the end if SendGrid has
    given a full page of this list before, or if there is nothing behind it.

    :param str name: one of `LISTS`
    :param int since: Unix seconds (UTC); entries that are older are left out. The groups know no such limit.
    :param int until: the same for younger ones, so that entries added meanwhile move nothing
    :param int offset: the ``next`` of the page before, with its ``last``
    :param bool in_haste: take an answer of a few entries for the end, which saves a call for each list. Do not conclude
        from such a list that anything is not on it.
    :raise ApiError: as the client's calls
    """
    if name == "groups":
        return _read_groups(client, offset, last)

    def ask(start: int) -> Any:
        return client.get(("suppression", name), start_time=since, end_time=until, limit=PAGE, offset=start)

    def is_end(_number: int, rows: list[Any], most: int) -> bool:
        return len(rows) < PAGE and (most >= PAGE or (in_haste and len(rows) < FEW))

    return _read_pages(ask, is_end, offset, last)


def _read_groups(client: Client, offset: int, last: str) -> Iterator[Page]:
    """Yield the pages of all groups' addresses, as `read_list`; the last one tells the groups too."""
    calls = _GroupCalls(client)
    for page in _read_pages(calls.ask, calls.is_end, offset, last, has_group=True):
        yield page if page.next else page._replace(groups=calls.get_groups())


class _GroupCalls:
    """The calls that read the addresses of all groups, and the numbers that prove it.

    SendGrid describes the list without pages. Yet its answer can be a page of 500, and then it takes ``limit`` and
    ``offset`` (github sendgrid/docs#5178). So only the groups' own numbers tell whether everything was read.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._answer: Any = None
        self._calls = 0
        # What SendGrid has told of the groups after the first answer, and then after the last.
        self._told: list[dict[int, Group] | None] = []

    def ask(self, start: int) -> Any:
        self._calls += 1
        try:
            self._answer = self._client.get(
                ("asm", "suppressions"), limit=PAGE if start else None, offset=start or None
            )
        except ApiError as error:
            if not start or error.kind != "refused":
                raise
            # It takes no parameters, so that there is no other part than the first.
            if self._answer is None:
                self._answer = self._client.get(("asm", "suppressions"))
        return self._answer

    def is_end(self, number: int, rows: list[Any], _most: int) -> bool:
        if not self._told:
            self._told.append(_read_groups_told(self._client))
        told = self._told[0]
        if told is None or any(_get(row, "group_id") not in told for row in rows):
            return False
        numbers = [group.most for group in told.values()]
        return None not in numbers and number >= sum(filter(None, numbers))

    def get_groups(self) -> tuple[Group, ...] | None:
        """Return the groups with their numbers while the list was read, None if SendGrid does not tell them."""
        if self._calls > 1 or not self._told:
            self._told.append(_read_groups_told(self._client))
        first, end = self._told[0], self._told[-1]
        if first is None or end is None:
            return None
        return tuple(_merge(first.get(number, group), group) for number, group in end.items())


def _merge(one: Group, other: Group) -> Group:
    if one.least is None or one.most is None or other.least is None or other.most is None:
        return other._replace(least=None, most=None)
    return other._replace(least=min(one.least, other.least), most=max(one.most, other.most))


def _read_groups_told(client: Client) -> dict[int, Group] | None:
    """Return the groups by id as SendGrid tells them now; None if the API key may not read them, or by a wrong answer.

    :raise ApiError: if the call may work later, or SendGrid refuses the API key
    """
    try:
        rows = client.get(("asm", "groups"))
    except ApiError as error:
        if error.kind not in NO_WORD:
            raise
        return None
    if not isinstance(rows, list):
        return None
    groups: dict[int, Group] = {}
    for row in rows:
        if type(group_id := _get(row, "id")) is not int:
            continue
        number = row.get("unsubscribes")
        # Numbers only: what this proves lets mails leave to people who did not want them.
        told = number if type(number) is int and number >= 0 else None
        group = Group(group_id, str(row.get("name") or ""), told, told)
        # Named twice with two numbers, it has no number that could prove anything.
        if group_id in groups and groups[group_id].most != told:
            group = group._replace(least=None, most=None)
        groups[group_id] = group
    return groups


def _read_pages(
    ask: Callable[[int], Any],
    is_end: Callable[[int, list[Any], int], bool],
    offset: int,
    last: str,
    has_group: bool = False,
) -> Iterator[Page]:
    """Yield the pages of a list, as `read_list`.

    :param ask: takes how many rows to skip, and returns SendGrid's answer
    :param is_end: takes how many rows of the list were read, the rows of the last answer, and the most rows of one
        answer until now; tells whether the answer surely was the last
    """
    shifts = SHIFTS
    most = 0
    before: list[Any] = []  # the answer before
    seen: set[str] = set()  # the names of some rows of which one has to be in the answer; empty: any answer will do
    held: Page | None = None  # the page before, if only the next answer tells whether it was the last
    while True:
        # The row before is read again: if it has moved, some before it were taken off the list meanwhile, and as many
        # would be missed.
        start = offset - 1 if last and most != 1 else offset
        read = int(time.time())
        rows = ask(start)
        _check_list(rows)
        if len(rows) > max(PAGE, start) and start < offset and _name_row(rows[0]) != last:
            rows = rows[start:]  # it was answered whole, though it was asked for a part
        if before and rows == before:
            yield (held or Page([], 0, None, ""))._replace(next=None, gap="same")
            return
        gap = "moved" if seen and not seen.intersection(map(_name_row, rows)) else ""
        seen = set()
        if start < offset and (not rows or _name_row(rows[0]) != last):
            if held:
                yield held
                held = None
            if shifts:
                shifts -= 1
                seen = {last, *map(_name_row, before)} if offset > PAGE else set()
                offset, last, before = max(offset - PAGE, 0), "", []
                continue
            gap = "moved"
        most = max(most, len(rows))
        new = rows[offset - start :]
        if not new and start < offset and most == 1:
            continue  # one row is all that it gives at once; now it is asked for the next one
        if held and not new:
            yield held._replace(next=None, gap=gap or held.gap)
            return
        if held:
            yield held
            held = None
        for number in range(0, max(len(new) - PAGE, 0), PAGE):
            yield _read_page(new[number : number + PAGE], offset + number + PAGE, read, has_group)
        rest = new[(len(new) - 1) // PAGE * PAGE :] if new else []
        offset += len(new)
        page = _read_page(rest, offset, read, has_group)._replace(gap=gap)
        if not new or is_end(offset, rows, most):
            yield page._replace(next=None)
            return
        if len(rows) < PAGE:
            held = page
        else:
            yield page
        last, before = page.last, rows


def _read_page(rows: list[Any], following: int | None, read: int = 0, has_group: bool = False) -> Page:
    entries = []
    for row in rows:
        try:
            entries.append(_read_entry(row, has_group))
        except EventError:
            continue
    return Page(entries, len(rows) - len(entries), following, _name_row(rows[-1]) if rows else "", read)


def _name_row(row: Any) -> str:
    return f"{_get(row, 'email')} {_get(row, 'group_id') or ''}".rstrip()


def _get(row: Any, key: str) -> Any:
    return row.get(key) if isinstance(row, dict) else None


def _read_entry(row: Any, has_group: bool = False) -> Entry:
    if not isinstance(row, dict):
        raise EventError("not_an_object", kind=get_kind(row))
    email = comparable(read_text(row, "email", limit=320))
    if not email:
        raise EventError("missing", key="email")
    group_id = read_integer(row, "group_id") or 0
    if has_group and not group_id:
        raise EventError("missing", key="group_id")
    return Entry(
        email=email,
        created=read_timestamp({"timestamp": row.get("created", row.get("created_at"))}),
        reason=read_text(row, "reason"),
        smtp_status=read_text(row, "status"),
        group_id=group_id,
        group_name=read_text(row, "group_name", limit=1000),
    )


def find_address(client: Client, email: str) -> Iterator[tuple[str, Entry]]:
    """Yield where an address is, as pairs of a list's name and its `Entry`: a call for each list.

    SendGrid does not tell here when somebody unsubscribed from everything or left a group: then ``created`` is 0.

    :raise ApiError: as the client's calls
    """
    for name in ("bounces", "blocks", "invalid_emails", "spam_reports"):
        rows = client.get(("suppression", name, email))
        _check_list(rows)
        for entry in _read_page(rows, None).entries:
            yield name, entry
    answer = client.get(("asm", "suppressions", "global", email))
    if not isinstance(answer, dict):
        raise ApiError("answer")
    if answer.get("recipient_email"):
        yield "unsubscribes", Entry(email, 0)
    for group_id, group_name in find_groups(client, email).items():
        yield "groups", Entry(email, 0, group_id=group_id, group_name=group_name)


def find_groups(client: Client, email: str) -> dict[int, str]:
    """Return the groups that an address is out of, as {id: name}.

    SendGrid may name other groups as well, and then says that the address is not out of them (Twilio's OpenAPI
    description: Suppressions).

    :raise ApiError: as the client's calls; `answer` also if a part of the answer cannot be read
    """
    answer = client.get(("asm", "suppressions", email))
    rows = answer.get("suppressions") if isinstance(answer, dict) else None
    _check_list(rows)
    groups = {}
    for row in rows:
        if type(_get(row, "id")) is not int or type(_get(row, "suppressed")) is not bool:
            raise ApiError("answer")
        if row["suppressed"]:
            groups[row["id"]] = str(row.get("name") or "")
    return groups


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
