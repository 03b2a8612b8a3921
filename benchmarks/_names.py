"""What the documents of `_world` are called, by their number: as its SQL says it."""

import hashlib


def message_id(number):
    """The Message-ID of a document's message."""
    return f"<bench-{number}@example.com>"


def odoo_id(number):
    """The name that the copy of a document was given."""
    return hashlib.md5(message_id(number).encode()).hexdigest()  # as PostgreSQL makes it


def address(number):
    """Whom a document went to."""
    return f"contact{number}@bench.example.com"
