"""The token in a recipient's link tells whom it is for. Nobody but us can read or make one.

It is all that is needed: nothing is stored for it, so that it costs nothing to send, and nothing to refuse.
"""

import base64
import json
import os
import re
from functools import lru_cache
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

# The key serves this purpose only. A token of another version of the format would not be understood.
PURPOSE = b"sendgrid_tracking: how an e-mail is measured, 1"
LOOK = "look"
CONFIRM = "confirm"
NONCE = 12  # bytes (NIST SP 800-38D, 8.2.2: made by chance, good for 2**32 tokens of one key)
TAG = 16  # bytes
MAX_LENGTH = 1500  # characters; an address has at most 254
MIN_LENGTH = (NONCE + TAG) * 4 // 3
FORM = re.compile(rf"[A-Za-z0-9_\-]{{{MIN_LENGTH},{MAX_LENGTH}}}", re.ASCII)


class Holder(NamedTuple):
    """What a token tells: whom the link is for.

    ``kind`` is `LOOK` in a mail, or `CONFIRM` in the mail that asks whether somebody agrees. ``address`` is that of
    the only recipient, in its comparable form. A copy with several has its name ``odoo_id`` instead, which is a hash of
    its recipients: other copies of the same message are other people's. ``time`` is when the token was made (Unix
    seconds, UTC).
    """

    kind: str
    company_id: int
    time: int
    address: str = ""
    odoo_id: str = ""


def seal(holder: Holder, secret: str) -> str:
    """Return the token of a holder, in letters that an address may have.

    :param secret: the database's
    """
    nonce = os.urandom(NONCE)
    told = json.dumps(holder, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    sealed = nonce + _get_cipher(secret).encrypt(nonce, told, PURPOSE)
    return base64.urlsafe_b64encode(sealed).decode().rstrip("=")


def read(token: str, secret: str) -> Holder | None:
    """Return the holder of a token, or None if it is no token that was sealed with this secret.

    :param token: any text, since it comes from outside
    """
    if not FORM.fullmatch(token):
        return None
    try:
        sealed = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        told = _get_cipher(secret).decrypt(sealed[:NONCE], sealed[NONCE:], PURPOSE)
    except (ValueError, InvalidTag):  # the former is a base of `binascii.Error`
        return None
    return Holder(*json.loads(told.decode("utf-8", "surrogatepass")))


@lru_cache(maxsize=64)
def _get_cipher(secret: str) -> AESGCM:
    """Return the cipher of a database, which is known by its secret: another secret has another cipher."""
    return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=None, info=PURPOSE).derive(secret.encode()))
