"""The names of the documents of `_world`, by their number. Its SQL makes the same ones."""

import hashlib


def message_id(number: int) -> str:
    """Return the Message-ID of a document's message."""
    return f"<bench-{number}@example.com>"


def odoo_id(number: int) -> str:
    """Return the `odoo_id` of a document's copy."""
    return hashlib.md5(message_id(number).encode()).hexdigest()  # PostgreSQL makes it the same way


def address(number: int) -> str:
    """Return the recipient's address of a document."""
    return f"contact{number}@bench.example.com"
