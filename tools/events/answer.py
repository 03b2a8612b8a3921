"""This module reads and writes answers: mails that answer one of ours, and what contacts write in the portal.

SendGrid knows nothing of them: Odoo itself gets them, and stores each as a batch, in a shape like that of SendGrid's.
It becomes an event of the e-mail that it answers. So an answer waits, counts once and is folded as all other events.
"""

import json
from dataclasses import replace
from typing import Any

from ..address_form import comparable
from .errors import BatchError, EventError
from .event import REPLY, Event
from .lenient_json import get_kind, read_list
from .matching import Document
from .parsing import (
    MAX_ADDRESS,
    MAX_ID,
    REPLACEMENT,
    UNSTORABLE,
    Rejected,
    read_text,
    read_timestamp,
)

__all__ = ("BatchError", "choose", "is_readable_id", "read_answers", "write_answer")

# How an answer came: as a person's mail, as a mail that a machine sent by itself, as a mail server's report of a
# delivery, or in the portal.
MAIL, AUTOMATIC, REPORT, PORTAL = "mail", "automatic", "report", "portal"
WAYS = (MAIL, AUTOMATIC, REPORT, PORTAL)
# Whose answer a person's mail is: it came from the recipient's own address, from another address of the contact, from
# elsewhere while the message has only one document, or it is not clear whose it is.
OWN, CONTACT, ALONE, OTHER = "own", "contact", "alone", "other"
# These count as the recipient's.
REPLIES = (OWN, CONTACT, ALONE, PORTAL)
# These may name another address than that of their document.
FROM_ANYWHERE = (CONTACT, ALONE, OTHER, AUTOMATIC, REPORT)
# These prove that the mail arrived.
PROOFS = (OWN, CONTACT, ALONE)


def is_readable_id(text: str) -> bool:
    """Tell whether a Message-ID can be one of ours: others are too long, or hold what no text of a database holds."""
    return len(text.encode("utf-8", "replace")) <= MAX_ID and not UNSTORABLE.search(text)


def write_answer(
    way: str, sender: str, timestamp: int, answer_id: str, message_id: str = "", odoo_id: str = ""
) -> bytes:
    """Return the body of a batch with one answer.

    :param way: one of `WAYS`
    :param sender: the address that answers, ``""`` if there is none. In the portal, that of the document
    :param timestamp: when it came in, in Unix seconds (UTC)
    :param answer_id: the Message-ID of the answer
    :param message_id: the Message-ID that it answers
    :param odoo_id: the name of the copy that it answers, if that is known
    """
    told = {
        "event": REPLY,
        "email": sender if len(sender) <= MAX_ADDRESS else "",
        "timestamp": timestamp,
        "way": way,
        "answer": UNSTORABLE.sub(REPLACEMENT, answer_id),
        "answers": message_id,
        "odoo_id": odoo_id,
    }
    return json.dumps([told]).encode()


def read_answers(body: bytes) -> tuple[list[Event], list[Rejected]]:
    """Read what `write_answer` wrote.

    The ``answer`` of an event is how it came, one of `WAYS`, until `choose` tells whose it is. Its ``smtp_id`` is the
    Message-ID that it answers.

    :return: as for `parsing.parse_batch`
    :raise BatchError: the body is no JSON list
    """
    events, rejected = [], []
    for index, element in enumerate(read_list(body)):
        try:
            events.append(_read_answer(element))
        except EventError as error:
            rejected.append(Rejected(index, str(error)))
    return events, rejected


def _read_answer(element: Any) -> Event:
    if isinstance(element, EventError):
        raise element
    if not isinstance(element, dict):
        raise EventError("not_an_object", kind=get_kind(element))
    way, answer_id = read_text(element, "way"), read_text(element, "answer")
    for key, value in (("way", way in WAYS), ("answer", answer_id)):
        if not value:
            raise EventError("missing", key=key)
    return Event(
        REPLY,
        read_timestamp(element),
        comparable(read_text(element, "email", limit=MAX_ADDRESS)),
        smtp_id=read_text(element, "answers"),
        odoo_id=read_text(element, "odoo_id"),
        answer=way,
        answer_id=answer_id,
    )


def choose(event: Event, documents: list[Document], contacts: set[int]) -> list[Event]:
    """Return an answer as the events of the documents that it is about: usually one.

    It is about all documents of the message if it is not clear whose it is. Contacts who share the address share the
    answer.

    :param event: an answer as `read_answers` returns it
    :param documents: those of the message that it answers, or of the copy
    :param contacts: the ids of the contacts with its sender's address
    """
    whose = OTHER
    for kind, found in (
        (OWN, [document for document in documents if event.recipient and document.recipient == event.recipient]),
        (CONTACT, [document for document in documents if document.partner_id in contacts]),
        (ALONE, documents if len(documents) == 1 else []),
    ):
        if found:
            whose, documents = kind, found
            break
    if event.answer == PORTAL:
        documents = documents if whose == OWN else []
    whose = whose if event.answer == MAIL else event.answer
    events = []
    for document in documents:
        told = replace(event, answer=whose, odoo_id=document.odoo_id)
        told.document = document
        # The first keeps the name, by which the answer is found if it comes again: so it stays with its documents,
        # whatever addresses the contacts have by now.
        told.fingerprint = event.fingerprint if not events else _name(event, document)
        events.append(told)
    return events


def _name(event: Event, document: Document) -> str:
    """Name the answer's event of a further document."""
    return replace(event, answer_id=repr((event.answer_id, document.odoo_id, document.recipient))).fingerprint
