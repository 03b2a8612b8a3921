"""The P-256 key that signs event webhooks, and the signature (Twilio docs: Event Webhook security features)."""

import base64
import os
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


class KeyFileError(Exception):
    """The key file exists but is unusable, or it cannot be written."""


def generate() -> ec.EllipticCurvePrivateKey:
    """Return a new key."""
    return ec.generate_private_key(ec.SECP256R1())


def load_or_create(path: str | None) -> ec.EllipticCurvePrivateKey:
    """Return the key in the PEM file `path`; create the file (mode 0600) if it is missing. Without a path: a new key.

    :raise KeyFileError: if the file cannot be used
    """
    if path is None:
        return generate()
    try:
        if not Path(path).exists():
            _write(generate(), path)
        key = serialization.load_pem_private_key(Path(path).read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise KeyFileError(f"{path}: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
        raise KeyFileError(f"{path}: not a P-256 private key")
    return key


def _write(key: ec.EllipticCurvePrivateKey, path: str) -> None:
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:  # another sandbox created it first, and its key is as good
        return
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)


def public_text(key: ec.EllipticCurvePrivateKey) -> str:
    """Return the public key as SendGrid shows it: base64 of the DER SubjectPublicKeyInfo, 124 characters, one line."""
    der = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode()


def sign(key: ec.EllipticCurvePrivateKey, timestamp: str, body: bytes) -> str:
    """Return the ECDSA/SHA-256 signature of the timestamp header and the raw body, in ASN.1 DER and base64."""
    return base64.b64encode(key.sign(timestamp.encode() + body, ec.ECDSA(hashes.SHA256()))).decode()
