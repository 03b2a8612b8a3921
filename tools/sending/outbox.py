"""An outbox knows which message copies one run of sending hands to SendGrid, their names, and what became of each."""

import hashlib
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from ..address_form import comparable
from .contents import Contents, Kept
from .links import NOWHERE, Site

# Why opens and clicks are not measured. Of several reasons the first is told.
REASONS = ("access", "wish", "mail", "account", "company")


class Planned(NamedTuple):
    """A copy that core means to send: its addresses, and the id of the contact that it is for.

    ``text`` is what stands where an address should be, if there is none. ``cc`` are those of the addresses that are Cc.
    """

    recipients: Iterable[str]
    contact_id: int | None = None
    text: str = ""
    cc: Iterable[str] = ()


@dataclass(frozen=True)
class Copy:
    """One SMTP transaction or API call. ``recipients`` are all its addresses, ``tracked`` those that get a document.

    ``sg_message_id`` is SendGrid's id where its answer gave one: the Web API's does. ``body`` is the HTML as these
    recipients get it, with their secret links, and ``kept`` what their documents keep of it.
    """

    odoo_id: str
    message_id: str
    recipients: tuple[str, ...]
    tracked: tuple[str, ...]
    sg_message_id: str | None = None
    refused: Mapping[str, str | None] = field(default_factory=dict, compare=False)
    """Why an address of the copy did not get it, in the server's words or ours; None where the mail's reason holds."""
    contacts: Mapping[str, int | None] = field(default_factory=dict, compare=False)
    """The ids of the contacts of the addresses, as far as the mail names contacts."""
    roles: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Where the message names an address: ``to`` or ``cc``. Whoever is missing is Bcc."""
    sender: str = field(default="", compare=False)
    """The address in the From header."""
    is_tried: bool = field(default=True, compare=False)
    """Whether it was handed to the server; the mail may have failed before."""
    body: str | None = field(default=None, repr=False)
    kept: Kept | None = None
    unmeasured: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Why opens and clicks of each address are not measured: one of REASONS, or ``others``. Empty: they are."""


class Outbox:
    """The copies of the mail being sent, in order. `mail.mail` opens and closes it, `ir.mail_server` fills it."""

    def __init__(
        self, account_id: int, odoo_db: str, commits_each: bool = False, raises: bool = False, site: Site = NOWHERE
    ) -> None:
        """:param commits_each: each mail is committed once sent, so that nothing can take its document back
        :param raises: whoever sends wants an exception where a mail fails, and may undo all he did
        :param site: what is our own, so that its secret links are known
        """
        self.account_id = account_id
        self.odoo_db = odoo_db
        self.commits_each = commits_each
        self.raises = raises
        self.known = set()
        self.contents = Contents(site)
        self._colleagues = set()
        self.company_id: int | None = None
        """The company of what is about no record that has one."""
        self.owners: Mapping[tuple[str, int], tuple[int, int]] = {}
        """{(model, record id): (company id, sales team id)} for the records that the mails are about."""
        self.company_ids: dict[int, int] = {}
        """{mail id: the company whose the mail is}."""
        self.known_documents: Mapping[int, list[Any]] = {}
        """{mail id: the documents of its earlier tries}."""
        self.gathered: list[dict[str, Any]] = []
        """Rows of documents that are inserted together when the run ends."""
        self.created: list[tuple[list[int], list[dict[str, Any]]]] = []
        """Ids and columns of the new documents of which open pages hear when the run ends."""
        self.tried: set[int] = set()
        """Ids of the documents that failed, now or before: their authors hear of all of them when the run ends."""
        self.notice_companies: frozenset[int] | None = None
        """The companies whose mails end with a link to the page that tells how they are measured; None: unknown yet."""
        self.languages: dict[str, str | None] = {}
        """The languages of the recipients whose addresses were looked up for that; None if nothing tells one."""
        self.footers: dict[tuple[int, str | None], tuple[str, str]] = {}
        """Those ends, as HTML and as plain text, by company and language: they are the same for many mails."""
        self.acts_on_events = True
        """Whether the account's events have consequences in Odoo; else core itself counts what becomes of mailings."""
        self.tracks_nothing = False
        """Whether the account is known to track neither opens nor clicks."""
        self.reasons: dict[int, dict[str, str | None]] = {}
        """{company id: {address: why mails of the company do not measure it, or None}}, for all mails of this run."""
        self.targets: dict[str, str | None] = {}
        """{code: the address to which core's short link leads, or None}, for the links of mailings."""
        self.open("")

    def learn(self, addresses: set[str], colleagues: set[str]) -> None:
        """Note which of the ``addresses`` are internal users': it holds for all mails of this run."""
        self.known |= addresses
        self._colleagues |= colleagues

    def learn_reasons(self, reasons: Mapping[int, Mapping[str, str | None]]) -> None:
        """Note whom mails of some companies do not measure; see `reasons`."""
        for company_id, found in reasons.items():
            self.reasons.setdefault(company_id, {}).update(found)

    def get_outsiders(self, addresses: Iterable[str]) -> list[str]:
        """Return those of some comparable addresses that are no colleagues', as far as the outbox has learnt them."""
        return [address for address in addresses if address not in self._colleagues]

    def open(
        self,
        sender: str,
        about: dict[str, Any] | None = None,
        mail_id: int | None = None,
        contacts: Iterable[tuple] = (),
        mail: int | None = None,
        mail_message_id: int | None = None,
        mailing_id: int | None = None,
        opens_account: bool = False,
        can_wait: bool = True,
        unmeasured: str | None = None,
    ) -> None:
        """Begin a mail: ``sender`` is its From address.

        Its documents get the values ``about`` it if nothing more can be asked because the connection was lost.

        :param mail_id: what tells the mail from others of the same message, and is the same when it is sent again.
            Without it two mails of one message to one address have one name.
        :param contacts: the copies in the order of sending, each as the values of a `Planned`
        :param mail: the id of the mail, whether it is part of the names or not
        :param mail_message_id: the message that the mail belongs to, and ``mailing_id`` the mailing
        :param opens_account: the mail gives access to Odoo, so that its content is not kept
        :param can_wait: the mail may go later if it cannot be handed over now
        :param unmeasured: why nobody's opens and clicks of the mail are measured: ``access``, ``mail`` or ``account``
        """
        self.about = about or {}
        self.mail = mail
        self.mail_message_id = mail_message_id
        self.mailing_id = mailing_id
        self.opens_account = opens_account
        self._unmeasured = unmeasured
        self._can_wait = can_wait
        self._sender = sender
        self._mail_id = mail_id
        # Another module may hand a copy to other addresses than core means to, so what is planned is only looked up.
        self._planned = deque(
            Planned(_sorted(one.recipients), *one[1:]) for one in (Planned(*values) for values in contacts)
        )
        self._contacts = {
            address: one.contact_id for one in reversed(self._planned) if one.contact_id for address in one.recipients
        }
        self._same = Counter()
        self._last = None
        self._body = None
        self._taken = False
        self._waiting = []
        self._early = {}
        self._strays = set()
        self._stamped = set()
        self._accepted = []
        self._failed = []

    @property
    def can_go_later(self) -> bool:
        """Whether the whole mail can go later by itself: nothing of it has left, and nobody waits for the outcome."""
        return self._can_wait and not self.raises and not self._accepted

    @property
    def is_over(self) -> bool:
        """Whether nothing of the mail has left, and nothing more is planned."""
        return not self._accepted and not self._planned

    def hold(self, body: str | None) -> None:
        """Note the HTML of the message that was just built: the copies that are stamped next leave with it."""
        self._body = body

    def stamp(
        self, message_id: str, recipients: Iterable[str], sender: str = "", roles: Mapping[str, str] | None = None
    ) -> Copy:
        """Name the copy that is about to leave for ``recipients`` (the addresses of the envelope).

        A second try of the same mail gives the same name: that is how its events find the one document.

        :param sender: the address in the From header
        :param roles: see `Copy`
        """
        self._set_aside()
        refused, self._early = self._early, {}
        # Who is refused before sending belongs to the copy as well: its name is the same if he is not, another time.
        recipients = _sorted([*recipients, *refused])
        planned = self._take(recipients)
        contacts = self._get_contacts(recipients, planned)
        self._stamped.update(contacts.items())
        if not planned:
            self._strays.update(recipients)
        self._taken = False
        self._last = Copy(
            odoo_id=self._get_name(message_id, recipients, planned and planned.contact_id),
            message_id=message_id,
            recipients=recipients,
            tracked=self._get_tracked(recipients),
            refused=refused,
            contacts=contacts,
            roles=roles or {},
            sender=sender or self._sender,
            body=self._body,
            unmeasured=self.get_unmeasured(recipients),
        )
        return self._last

    def _take(self, recipients: tuple[str, ...]) -> Planned | None:
        """Take the next planned copy to these addresses, if there is one, off the list."""
        for one in self._planned:
            if one.recipients == recipients:
                self._planned.remove(one)
                return one
        return None

    def _get_contacts(self, recipients: tuple[str, ...], planned: Planned | None) -> dict[str, int | None]:
        if planned and planned.contact_id:
            return dict.fromkeys(recipients, planned.contact_id)
        return {address: self._contacts.get(address) for address in recipients}

    def foresee(self, message_id: str, recipients: Iterable[str]) -> str:
        """Return the name that `stamp` will give to the next copy for these addresses."""
        recipients = _sorted(recipients)
        planned = next((one for one in self._planned if one.recipients == recipients), None)
        return self._get_name(message_id, recipients, planned and planned.contact_id, is_next=True)

    def _get_name(
        self, message_id: str, recipients: tuple[str, ...], contact_id: int | None, is_next: bool = False
    ) -> str:
        """Return the name of a copy.

        :param is_next: it is only about to be built, so that it is not counted yet
        """
        said = (self.odoo_db, message_id, recipients)
        if self._mail_id:
            # Contacts may share an address, and one message may go to them in one mail or in several. Tell their copies
            # apart by the contact, because the order of the copies can be another when the mail is sent again.
            said += (self._mail_id, contact_id)
        # Copies that differ in nothing else are numbered.
        number = self._same[said] + 1
        if not is_next:
            self._same[said] = number
        return hashlib.sha256(repr((*said, number)).encode()).hexdigest()[:32]

    def refuse(self, refused: Mapping[str, str]) -> None:
        """Note which addresses of the copy stamped last, or of the next one, are refused: by the server or before.

        The others of the copy go on.

        :param refused: {address: the server's words, or ours}
        """
        if self._last:
            self._last = replace(self._last, refused={**self._last.refused, **refused})
        else:
            self._early |= refused

    def take(self, sg_message_id: str | None = None) -> None:
        """Note that the server took the copy stamped last, and which id SendGrid gave it."""
        if self._last:
            self._taken = True
            self._last = replace(self._last, sg_message_id=sg_message_id)

    def confirm(self, message_id: str | None) -> None:
        """Accept the copies that the server took if sending them ended with their Message-ID; else they failed.

        There are several where another module hands each recipient a copy of his own. It may return nothing, where it
        hides an error.
        """
        self._set_aside()
        waiting, self._waiting = self._waiting, []
        for copy in waiting:
            if message_id == copy.message_id:
                self._accepted.append(copy)
            else:
                self._add_failed(copy)

    def interrupt(self) -> None:
        """Note that sending ended with an exception: it is about the copy stamped last. Those before it have left."""
        self.fail()
        self._accepted += self._waiting
        self._waiting = []

    def _set_aside(self) -> None:
        """Let the copy stamped last wait until it is confirmed if the server took it; else it did not leave."""
        if self._last and self._taken:
            self._waiting.append(self._last)
            self._last = None
        self.fail()

    def fail(self, words: str | Mapping[str, str] | None = None) -> None:
        """Note that the copy stamped last, if it was not accepted, did not leave.

        :param words: why, for all its addresses or as {address: words}; None where the mail's reason holds
        """
        if self._last:
            self._add_failed(self._last, words)
            self._last = None

    def _add_failed(self, copy: Copy, words: str | Mapping[str, str] | None = None) -> None:
        if not isinstance(words, Mapping):
            words = dict.fromkeys(copy.recipients, words)
        refused = {address: words.get(address) for address in copy.recipients}
        self._failed.append(replace(copy, refused={**refused, **copy.refused}))

    def close(self) -> list[Copy]:
        """Return the accepted copies of the mail, once."""
        accepted, self._accepted = self._accepted, []
        return accepted

    def close_failed(self, message_id: str, has_stopped: bool) -> list[Copy]:
        """Return the copies of the mail that did not leave, once; each has the reasons in ``refused``.

        :param message_id: the mail's Message-ID
        :param has_stopped: the mail failed, so that what was planned and never stamped did not leave either
        """
        self.confirm(None)
        failed, self._failed = self._failed, []
        planned, self._planned = self._planned, deque()
        for one in planned if has_stopped else ():
            # Another module may have put the addresses into another copy. A copy to nobody is a contact's without an
            # address.
            recipients = one.recipients or ((one.text,) if one.text or one.contact_id else ())
            contacts = self._get_contacts(recipients, one)
            # Who is planned twice, as a recipient and as Cc, may be in one copy of such a module.
            left = tuple(to for to in recipients if to not in self._strays and (to, contacts[to]) not in self._stamped)
            if not left:
                continue
            failed.append(
                Copy(
                    odoo_id=self._get_name(message_id, recipients, one.contact_id),
                    message_id=message_id,
                    recipients=recipients,
                    tracked=tuple(address for address in self._get_tracked(recipients) if address in left),
                    refused=dict.fromkeys(left),
                    contacts=contacts,
                    roles={address: "cc" if address in one.cc else "to" for address in recipients},
                    sender=self._sender,
                    is_tried=False,
                    unmeasured=self.get_unmeasured(recipients),
                )
            )
        return failed

    def get_unmeasured(self, recipients: Iterable[str]) -> dict[str, str]:
        """Return why opens and clicks of a copy to some addresses are not measured; see `Copy`.

        They all get the same message, so that whoever is not to be measured lowers it for all. The others do not learn
        who it was.
        """
        recipients = _sorted(recipients)
        known = self.reasons.get(self.about.get("company_id"), {})
        found = {}
        for address in recipients:
            reasons = {self._unmeasured, known.get(address)}
            found[address] = next((one for one in REASONS if one in reasons), None)
        if not any(found.values()):
            return {}
        return {address: reason or "others" for address, reason in found.items()}

    def _get_tracked(self, recipients: tuple[str, ...]) -> tuple[str, ...]:
        # Colleagues' notifications would flood the lists, and a copy to oneself shows nothing.
        return tuple(
            address
            for address in recipients
            if address not in self._colleagues and (address != self._sender or len(recipients) == 1)
        )


def _sorted(addresses: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(addresses)))


def get_domain(address: str | None) -> str | None:
    """Return the domain of an address in lower case and in its ASCII form (punycode), or None if it has none."""
    _local, at, domain = comparable((address or "").strip()).rpartition("@")
    return (at and domain.strip()) or None
