"""SendGrid's POSTs about the documents of `_world`: bodies of the vendor's shape and size."""

import itertools
import json
import random
from collections.abc import Iterable, Iterator

from sandbox import events as vendor
from sandbox import message, webhook

from . import _names

# For each kind its share in percent, and the seconds between the sending and the event.
MIX = {
    "processed": (38, 2),
    "delivered": (36, 8),
    "open": (15, 600),
    "click": (5, 700),
    "deferred": (3, 5),
    "bounce": (2, 9),
}
# These kinds share the remaining percent.
REST = ("dropped", "spamreport", "unsubscribe", "group_unsubscribe", "group_resubscribe", "machine-open", "blocked")


class Relay:
    """SendGrid's side of the documents: it knows the message of each."""

    def __init__(self, odoo_db: str, start: int):
        """:param start: Unix seconds at which the first document was sent; the others follow second by second"""
        self.odoo_db = odoo_db
        self.start = start
        self._copies: dict[int, message.Copy] = {}
        self._moments = itertools.count()

    def event(self, kind: str, number: int, delay: int = 0) -> dict:
        """Return one event of a document, as an object."""
        return vendor.build(kind, self._copy(number), self.start + number + delay)

    def _copy(self, number: int) -> message.Copy:
        if number not in self._copies:
            arguments = json.dumps({"unique_args": {"odoo_db": self.odoo_db, "odoo_id": _names.odoo_id(number)}})
            headers = f"Message-ID: {_names.message_id(number)}\r\nX-SMTPAPI: {arguments}\r\n\r\n"
            recipient = _names.address(number)
            [self._copies[number]] = message.Message(headers.encode(), [recipient], "sales@example.com").copies
        return self._copies[number]

    def mixed(self, count: int, documents: int, seed: int = 19) -> Iterator[dict]:
        """Give events of the mix in a random order, no two of one kind in the same second of a document's life."""
        chance = random.Random(seed)
        kinds = [kind for kind, (percent, _delay) in MIX.items() for _ in range(count * percent // 100)]
        kinds += [REST[number % len(REST)] for number in range(count - len(kinds))]
        chance.shuffle(kinds)
        seen = set()
        for kind in kinds:
            number, delay = chance.randint(1, documents), MIX.get(kind, (0, 800))[1]
            while (kind, number, delay) in seen:
                delay += 1
            seen.add((kind, number, delay))
            yield self.event(kind, number, delay)


def bodies(events: Iterable[dict], size: int) -> Iterator[bytes]:
    """Give the bodies of POSTs of ``size`` events each."""
    events = iter(events)
    while chunk := list(itertools.islice(events, size)):
        yield webhook.wire_body([webhook.wire_object(event) for event in chunk])
