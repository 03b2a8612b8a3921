"""An outbox knows which message copies one run of sending hands to SendGrid, their names, and which were accepted."""

import hashlib
from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Copy:
    """One SMTP transaction or API call. ``recipients`` are all its addresses, ``tracked`` those that get a document.

    ``sg_message_id`` is SendGrid's id where its answer gave one: the Web API's does.
    """

    odoo_id: str
    message_id: str
    recipients: tuple[str, ...]
    tracked: tuple[str, ...]
    sg_message_id: str | None = None
    refused: dict[str, str] = field(default_factory=dict, compare=False)


class Outbox:
    """The copies of the mail being sent, in order. `mail.mail` opens and closes it, `ir.mail_server` fills it."""

    def __init__(self, account_id: int, odoo_db: str, commits_each: bool = False) -> None:
        """:param commits_each: each mail is committed once sent, so that nothing can take its document back"""
        self.account_id = account_id
        self.odoo_db = odoo_db
        self.commits_each = commits_each
        self.known = set()
        self._colleagues = set()
        self.open("")

    def learn(self, addresses: set[str], colleagues: set[str]) -> None:
        """Note which of the ``addresses`` are internal users': it holds for all mails of this run."""
        self.known |= addresses
        self._colleagues |= colleagues

    def open(
        self,
        sender: str,
        about: dict[str, Any] | None = None,
        mail_id: int | None = None,
        contacts: Iterable[tuple[list[str], int | None]] = (),
    ) -> None:
        """Begin a mail: ``sender`` is its From address.

        Its documents get the values ``about`` it if nothing more can be asked because the connection was lost.

        :param mail_id: what tells the mail from others of the same message, and is the same when it is sent again.
            Without it two mails of one message to one address have one name.
        :param contacts: for each copy in the order of sending, its addresses and the id of the contact that it is for
        """
        self.about = about or {}
        self._sender = sender
        self._mail_id = mail_id
        self._contacts = defaultdict(deque)
        for addresses, contact_id in contacts:
            self._contacts[_sorted(addresses)].append(contact_id)
        self._same = Counter()
        self._last = None
        self._accepted = []

    def stamp(self, message_id: str, recipients: list[str]) -> Copy:
        """Name the copy that is about to leave for ``recipients`` (the addresses of the envelope).

        A second try of the same mail gives the same name: that is how its events find the one document.
        """
        recipients = _sorted(recipients)
        self._last = Copy(
            odoo_id=self._get_name(message_id, recipients),
            message_id=message_id,
            recipients=recipients,
            tracked=self._get_tracked(recipients),
        )
        return self._last

    def _get_name(self, message_id: str, recipients: tuple[str, ...]) -> str:
        said = (self.odoo_db, message_id, recipients)
        if self._mail_id:
            # Contacts may share an address, and one message may go to them in one mail or in several. Tell their copies
            # apart by the contact, because the order of the copies can be another when the mail is sent again.
            contacts = self._contacts.get(recipients)
            said += (self._mail_id, contacts.popleft() if contacts else None)
        # Copies that differ in nothing else are numbered.
        self._same[said] += 1
        return hashlib.sha256(repr((*said, self._same[said])).encode()).hexdigest()[:32]

    def refuse(self, refused: dict[str, str]) -> None:
        """Note addresses of the copy stamped last that get nothing, with the reason in words. The others go on."""
        if self._last:
            self._last = replace(self._last, refused={**self._last.refused, **refused})

    def accept(self, sg_message_id: str | None = None) -> None:
        """Note that the server took the copy stamped last, and which id SendGrid gave it."""
        if self._last:
            self._accepted.append(replace(self._last, sg_message_id=sg_message_id))
            self._last = None

    def close(self) -> list[Copy]:
        """Return the accepted copies of the mail, once."""
        accepted, self._accepted = self._accepted, []
        return accepted

    def _get_tracked(self, recipients: tuple[str, ...]) -> tuple[str, ...]:
        # Colleagues' notifications would flood the lists, and a copy to oneself shows nothing.
        return tuple(
            address
            for address in recipients
            if address not in self._colleagues and (address != self._sender or len(recipients) == 1)
        )


def _sorted(addresses: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(addresses)))
