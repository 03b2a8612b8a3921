"""The contents of one run of sending: each is stored once, and beside a document only what differs from it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .difference import common, difference, pack, unpack
from .disarm import disarm
from .links import NOWHERE, Site, leads_to_credentials

# What is known of the content of a document.
KEPT = "kept"
EMPTY = "empty"
CREDENTIALS = "credentials"  # it gives access to Odoo: nobody but its recipient may see it
REMEMBERED = 8  # bodies of the run that are not read again


@dataclass(eq=False)
class Content:
    """A content that documents share. ``id`` is None until it is stored.

    ``is_common`` tells that it is no e-mail of anybody, but only the words that several have in common.
    """

    packed: bytes
    mailing_id: int | None = None
    is_common: bool = False
    id: int | None = None


@dataclass(frozen=True)
class Kept:
    """What a document keeps of the body of its copy.

    ``changes`` lead from the shared ``content`` to its own, or are None if it is the same. ``has_secrets`` tells
    whether secret links were cut out.
    """

    state: str
    content: Content | None = None
    changes: bytes | None = None
    has_secrets: bool = False


class Contents:
    """The memory of one run: the last contents, with which the next body is compared.

    The copies of one message share the first one's content. Of the mails of a mailing, or to many records, the second
    one makes a content of what both have in common, and the others are compared with that. So no content holds what
    was written to one person only, longer than that person's document is kept.
    """

    def __init__(self, site: Site = NOWHERE) -> None:
        self._site = site
        self._bodies: dict[str, tuple[str, bool, bool]] = {}
        self._mailing_id = None
        self._last = self._common = None
        self._last_message_id = None

    def keep(
        self,
        body: str,
        message_id: int,
        mailing_id: int | None = None,
        documents: int = 1,
        find: Callable[[int], Iterable[tuple[int, bytes, bool]]] = lambda _mailing_id: (),
    ) -> Kept:
        """Return what the documents of a body keep.

        :param body: the HTML as its recipient gets it; an empty one is known as such
        :param message_id: the message that the mail belongs to; its copies may be compared with each other
        :param mailing_id: the mailing that it belongs to
        :param documents: how many documents have this body
        :param find: returns the latest stored contents of a mailing, as (id, packed, is_common). It is called once for
            each mailing of the run: a large mailing is sent in many.
        """
        if not body:
            return Kept(EMPTY)
        body = str(body)  # markup would escape what is put together with it
        text, has_secrets, is_credentials = self._disarm(body)
        if is_credentials:
            return Kept(CREDENTIALS)
        if mailing_id != self._mailing_id:
            self._mailing_id, self._last, self._common = mailing_id, None, None
            if mailing_id:
                self._learn(mailing_id, find(mailing_id))
        is_same_message = message_id == self._last_message_id
        found = self._find(text, is_same_message, documents)
        if not found:
            found = self._add(text, is_same_message, documents)
            if not found[0].is_common:
                self._last_message_id = message_id
        return Kept(KEPT, *found, has_secrets)

    def _disarm(self, body: str) -> tuple[str, bool, bool]:
        if body not in self._bodies:
            if len(self._bodies) == REMEMBERED:
                del self._bodies[next(iter(self._bodies))]
            # Whoever looks for the link to set a password in a text would find it: that text is not kept at all.
            self._bodies[body] = (*disarm(body, self._site), leads_to_credentials(body))
        return self._bodies[body]

    def _learn(self, mailing_id: int, stored: Iterable[tuple[int, bytes, bool]]) -> None:
        """Go on where an earlier run of the mailing has ended."""
        for id_, packed, is_common in stored:
            known = (Content(packed, mailing_id, is_common, id_), unpack(packed))
            if is_common:
                self._common = self._common or known
            else:
                self._last = self._last or known

    def _find(self, text: str, is_same_message: bool, documents: int) -> tuple[Content, bytes | None] | None:
        """Return the known content that a text is the same as or little different from, and the difference."""
        for content, known in filter(None, (self._common, self._last)):
            if known == text:
                return content, None
        base = self._last if is_same_message and self._last else self._common
        if not base:
            return None
        content, known = base
        changes = difference(known, text)
        return (content, changes) if self._is_worth_it(changes, content, documents) else None

    def _add(self, text: str, is_same_message: bool, documents: int) -> tuple[Content, bytes | None]:
        """Return a new content for a text: what it has in common with the last one if that is much, else all of it."""
        if self._last and not is_same_message:
            shared = common(self._last[1], text)
            changes = difference(shared, text)
            content = Content(pack(shared), self._mailing_id, is_common=True)
            if self._is_worth_it(changes, content, documents):
                self._common = (content, shared)
                return content, changes
        content = Content(pack(text), self._mailing_id)
        self._last = (content, text)
        return content, None

    @staticmethod
    def _is_worth_it(changes: bytes, content: Content, documents: int) -> bool:
        return len(changes) * documents < len(content.packed) / 2
