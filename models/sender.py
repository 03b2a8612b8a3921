"""The address of a sender. The mails of a run have few senders, so each is read once: reading it takes long."""

from functools import lru_cache

from odoo.tools import email_normalize


@lru_cache(1024)
def read_sender(text, strict=True):
    """Return the address in a From header, as Odoo normalizes it; an empty text if there is none.

    :param str text: the header
    :param bool strict: several addresses count as none, as for Odoo's `email_normalize`
    """
    return email_normalize(text, strict=strict) or ""
