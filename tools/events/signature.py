"""This module verifies SendGrid's webhook signature: ECDSA on P-256 with SHA-256 over timestamp header and raw body."""

import base64
import binascii
import re
from collections.abc import Collection

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

# Twilio docs, Event Webhook security features, name these headers.
SIGNATURE_HEADER = "X-Twilio-Email-Event-Webhook-Signature"
TIMESTAMP_HEADER = "X-Twilio-Email-Event-Webhook-Timestamp"


def normalize_key(text: str) -> str:
    """Return a pasted verification key as SendGrid shows it: base64 of the DER key, without PEM armour or white space.

    :raise ValueError: it is not the base64 of a P-256 public key
    """
    # Pasted into a form, the lines of a PEM are one: the armour is not always a line of its own.
    key = "".join(re.sub(r"-----[^-]*-----", "", text).split())
    _load(key)
    return key


def verify(key: str, signature: str, timestamp: str, body: bytes) -> bool:
    """Tell whether ``body`` was signed with ``key``.

    :param key: the webhook's verification key, base64 of DER SubjectPublicKeyInfo
    :param signature: the signature header, base64 of an ASN.1 DER signature
    :param timestamp: the timestamp header, signed as sent (decimal Unix seconds)
    :param body: the raw bytes of the request: parsed and dumped again, they no longer verify
    :return: False if anything is wrong, a broken key included; never raises
    """
    try:
        public_key = _load(key)
        public_key.verify(
            base64.b64decode(signature, validate=True),
            timestamp.encode() + body,
            ec.ECDSA(hashes.SHA256()),
        )
    except (InvalidSignature, ValueError):  # UnicodeEncodeError and binascii.Error are ValueErrors
        return False
    return True


def guess_cause(
    keys: Collection[str],
    signature: str | None,
    timestamp: str | None,
    body: bytes,
    is_in_time: bool,
    encoding: str | None,
) -> str:
    """Tell why a signature may be wrong, at the price of a look at both ends of the body.

    :param keys: the verification keys that were tried
    :param signature: the signature header, or None
    :param timestamp: the timestamp header, or None
    :param is_in_time: whether the timestamp is within the account's window
    :param encoding: the Content-Encoding of the request, which SendGrid does not use (captured 2025)
    :return: ``unsigned``, ``no_key``, ``age``, ``body`` (something on the way changed it) or ``key``
    """
    if not signature or not timestamp:
        return "unsigned"
    if not keys:
        return "no_key"
    if not is_in_time:
        return "age"
    # SendGrid writes `[{…},\r\n{…}]\r\n` (three signed captures); a proxy that parses and writes it again does not.
    if encoding or not (body.startswith(b"[{") and body.endswith(b"}]\r\n")):
        return "body"
    return "key"


def _load(key: str) -> ec.EllipticCurvePublicKey:
    try:
        public_key = load_der_public_key(base64.b64decode(key, validate=True))
    except (binascii.Error, UnsupportedAlgorithm) as error:
        raise ValueError("not_base64") from error
    if not isinstance(public_key, ec.EllipticCurvePublicKey) or not isinstance(public_key.curve, ec.SECP256R1):
        raise ValueError("not_p256")
    return public_key
