"""The choice of an event's document, by the strongest evidence there is.

The evidence is read from the database beforehand, for all events of a batch at once (`sendgrid.match`); this file only
decides. The order is that of the design: our own name of the copy, SendGrid's id of the message where it was
known before, the Message-ID, SendGrid's id where another event of the batch has just taught it, and for a bounce that
carries no id at all the address and the time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from .event import ACCOUNT_EVENT, TEST_RECIPIENT, Event


class Document(NamedTuple):
    """The document of one recipient of a copy, as far as matching needs it."""

    id: int
    odoo_id: str
    recipient: str
    is_alone: bool
    partner_id: int | None
    sg_message_id: str | None
    measured: str | None = None


Documents = Mapping[str, Sequence[Document]]


@dataclass
class Evidence:
    """The documents that the events of a batch may be about, by each of the names that an event may carry.

    ``by_address`` has the latest document to an address by (account id, address, Unix seconds). ``taught_by_key`` is
    filled by `learn_keys`.
    """

    odoo_db: str
    by_odoo_id: Documents = field(default_factory=dict)
    by_key: Documents = field(default_factory=dict)
    by_smtp_id: Documents = field(default_factory=dict)
    by_address: Mapping[tuple[int, str, int], Document] = field(default_factory=dict)
    taught_by_key: dict[str, Sequence[Document]] = field(default_factory=dict)


def learn_keys(events: Sequence[Event], evidence: Evidence) -> dict[int, str]:
    """Note in ``evidence`` which message keys belong to copies that were found by another name.

    :return: the message keys that are new to their documents, by document id
    """
    keys = {}
    for event in events:
        key = event.message_key
        if not key or key in evidence.by_key or key in evidence.taught_by_key:
            continue
        documents = evidence.by_odoo_id.get(event.odoo_id)
        if not documents and (of_mail := evidence.by_smtp_id.get(event.smtp_id)):
            document = pick_document(of_mail, event, is_exact=True)
            documents = [other for other in of_mail if document and other.odoo_id == document.odoo_id]
        if documents:
            evidence.taught_by_key[key] = documents
            keys |= {document.id: key for document in documents if not document.sg_message_id}
    return keys


def match_one(account_id: int, event: Event, evidence: Evidence) -> tuple[str, Document | None]:
    """Return how the event was matched, a value of `sendgrid.event.match`, and its document.

    Without a document the first part says why there is none.

    :param account_id: the account whose webhook or API told of the event
    """
    if event.event == ACCOUNT_EVENT:
        return "account", None
    if event.answer:
        return ("own", event.document) if event.document else ("early", None)
    match, documents = "odoo_id", evidence.by_odoo_id.get(event.odoo_id)
    if not documents:
        match, documents = "sg_message_id", evidence.by_key.get(event.message_key)
    if not documents:
        match, documents = "smtp_id", evidence.by_smtp_id.get(event.smtp_id)
    if not documents:
        match, documents = "sg_message_id", evidence.taught_by_key.get(event.message_key)
    if documents:
        document = pick_document(documents, event, is_exact=match == "smtp_id")
        return (match, document) if document else ("untracked", None)
    # Another event of the same second and address has nothing to do with a bounce that carries no ids.
    document = evidence.by_address.get((account_id, event.recipient, event.timestamp)) if has_no_ids(event) else None
    if document:
        return "address", document
    if not event.odoo_db:
        return ("test" if event.recipient == TEST_RECIPIENT else "unknown"), None
    if event.odoo_db != evidence.odoo_db:
        return "foreign", None
    return ("early" if event.odoo_id else "untracked"), None


def pick_document(documents: Sequence[Document], event: Event, is_exact: bool) -> Document | None:
    """Return the document of the event's recipient among those of a message, None if the recipient has none.

    A copy that went to one address needs no comparing, because SendGrid may spell the address otherwise. All copies of
    a mail share the Message-ID, so that by it only the address tells them apart (``is_exact``).
    """
    same = next((document for document in documents if document.recipient == event.recipient), None)
    if not same and not is_exact and len(documents) == 1 and documents[0].is_alone:
        return documents[0]
    return same


def has_no_ids(event: Event) -> bool:
    """Tell a bounce that came back to SendGrid as a mail of its own: it carries an address and a reason, nothing else.

    Source: Twilio docs, Event Webhook reference, asynchronous bounces.
    """
    return event.event == "bounce" and not (event.sg_message_id or event.smtp_id or event.odoo_id or event.odoo_db)
