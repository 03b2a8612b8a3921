"""The account's suppression lists: the addresses on them, the events that add one, and the drops that follow.

Source: Twilio docs, Suppressions overview. Addresses compare without regard to case. Blocks suppress nothing.
"""

import time

from sandbox.events import DEFAULT_GROUP, READER_IP

LISTS = ("bounces", "blocks", "invalid_emails", "spam_reports", "unsubscribes")
MOST = 500
"""The most rows that SendGrid gives in one answer, however many are asked for."""
_DEFAULTS = {
    "bounces": {"reason": "550 5.1.1 The email account that you tried to reach does not exist", "status": "5.1.1"},
    "blocks": {"reason": "552 5.2.2 mailbox over quota", "status": "5.2.2"},
    "invalid_emails": {"reason": "Mail domain mentioned in email address is unknown"},
    "spam_reports": {"ip": READER_IP},
    "unsubscribes": {},
}
"""The values of an entry besides `email` and `created`, unless they are given."""
_DROPS = (
    ("invalid_emails", "dropped-invalid"),
    ("spam_reports", "dropped-spam"),
    ("unsubscribes", "dropped-unsubscribed"),
    ("bounces", "dropped"),
)


class Group:
    """An unsubscribe group. `members` maps each address to the time when it left the group (Unix seconds)."""

    def __init__(self, group_id: int, name: str, description: str, is_default: bool):
        self.id = group_id
        self.name = name
        self.description = description
        self.is_default = is_default
        self.members: dict[str, int] = {}


class Suppressions:
    """All lists and groups of the account."""

    def __init__(self) -> None:
        self.lists: dict[str, dict[str, dict]] = {name: {} for name in LISTS}
        self.groups: dict[int, Group] = {}
        self._sorted: dict[str, list[dict]] = {}
        self.add_group("Newsletter", "What the tests send", True, DEFAULT_GROUP)

    # --- lists

    def add(self, name: str, email: str, **fields: str | int | None) -> None:
        """Put an address on a list, or renew its entry; `fields` left out or None get a plausible value."""
        given = {key: value for key, value in fields.items() if value is not None}
        own = {key: given.get(key, value) for key, value in _DEFAULTS[name].items()}
        self.lists[name][email.lower()] = {"created": given.get("created", int(time.time())), "email": email, **own}
        self._sorted.pop(name, None)

    def remove(self, name: str, emails: list[str]) -> None:
        """Take addresses off a list. Addresses that are not on it are ignored."""
        for email in emails:
            self.lists[name].pop(email.lower(), None)
        self._sorted.pop(name, None)

    def remove_all(self, name: str) -> None:
        """Empty a list."""
        self.lists[name].clear()
        self._sorted.pop(name, None)

    def get(self, name: str, email: str) -> dict | None:
        """Return the entry of an address on a list, or None."""
        return self.lists[name].get(email.lower())

    def newest_first(self, name: str) -> list[dict]:
        """Return the entries of a list, newest first."""
        if name not in self._sorted:
            self._sorted[name] = sorted(
                self.lists[name].values(), key=lambda entry: (-entry["created"], entry["email"].lower())
            )
        return self._sorted[name]

    # --- groups

    def add_group(self, name: str, description: str, is_default: bool, group_id: int | None = None) -> Group:
        """Add a group and return it. Without `group_id` it gets the next free one."""
        group = Group(group_id or max(self.groups, default=DEFAULT_GROUP) + 1, name, description, is_default)
        self.groups[group.id] = group
        return group

    def leave_group(self, group_id: int, email: str, created: int | None = None) -> None:
        """Take an address out of a group. If the group does not exist, take it out of everything, as SendGrid does."""
        if group_id in self.groups:
            self.groups[group_id].members[email.lower()] = created or int(time.time())
        else:
            self.add("unsubscribes", email, created=created)

    # --- events and sends

    def learn(self, wire: dict) -> None:
        """Put the recipient on the list where this event belongs."""
        name, email = wire.get("event"), wire.get("email")
        fields = {key: wire.get(key) for key in ("reason", "status")} | {"created": wire.get("timestamp")}
        if name == "bounce":
            self.add("blocks" if wire.get("type") == "blocked" else "bounces", email, **fields)
        elif name == "dropped" and wire.get("reason") == "Invalid" and not self.get("invalid_emails", email):
            self.add("invalid_emails", email, created=wire.get("timestamp"))
        elif name == "spamreport":
            self.add("spam_reports", email, created=wire.get("timestamp"))
        elif name == "unsubscribe":
            self.add("unsubscribes", email, created=wire.get("timestamp"))
        elif name == "group_unsubscribe":
            self.leave_group(wire.get("asm_group_id"), email, wire.get("timestamp"))
        elif name == "group_resubscribe" and wire.get("asm_group_id") in self.groups:
            self.groups[wire["asm_group_id"]].members.pop(email.lower(), None)

    def drop(self, email: str, group_id: int | None) -> str | None:
        """Return the kind of `dropped` event for a message of this group to the address; None: SendGrid sends it."""
        for name, kind in _DROPS:
            if self.get(name, email):
                return kind
        if group_id in self.groups and email.lower() in self.groups[group_id].members:
            return "dropped-unsubscribed"
        return None
