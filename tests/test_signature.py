import base64
import json

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from odoo.tests import BaseCase, tagged

from ..tools.events.signature import normalize_key, verify
from .properties import given, quick, st
from .simulator import Signer, to_wire

# The vendor publishes this known answer with its libraries (github.com/sendgrid, MIT).
KEY = (
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6"
    "wEA3F+g=="
)
SIGNATURE = "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM="
TIMESTAMP = "1600112502"
BODY = (
    b'[{"email":"hello@world.com","event":"dropped","reason":"Bounced Address",'
    b'"sg_event_id":"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA",'
    b'"sg_message_id":"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0",'
    b'"smtp-id":"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>","timestamp":1600112492}]\r\n'
)


@tagged("post_install", "-at_install")
class TestSignature(BaseCase):
    def test_published_vector(self):
        """Test the vendor's own known answer: true as it is, false after the least change."""
        self.assertEqual(len(BODY), 327)
        self.assertIs(verify(KEY, SIGNATURE, TIMESTAMP, BODY), True)
        changed = {
            "end of line stripped": (KEY, SIGNATURE, TIMESTAMP, BODY.strip()),
            "only a line feed": (KEY, SIGNATURE, TIMESTAMP, BODY.replace(b"\r\n", b"\n")),
            "JSON dumped again": (KEY, SIGNATURE, TIMESTAMP, json.dumps(json.loads(BODY)).encode() + b"\r\n"),
            "nothing": (KEY, SIGNATURE, TIMESTAMP, b""),
            "another time": (KEY, SIGNATURE, "1600112503", BODY),
            "time with a blank": (KEY, SIGNATURE, " 1600112502", BODY),
            "no time": (KEY, SIGNATURE, "", BODY),
            "another key": (Signer().public_key, SIGNATURE, TIMESTAMP, BODY),
            "no key": ("", SIGNATURE, TIMESTAMP, BODY),
            "half a key": (KEY[:60], SIGNATURE, TIMESTAMP, BODY),
            "no signature": (KEY, "", TIMESTAMP, BODY),
            "signature that is no base64": (KEY, "not base64!", TIMESTAMP, BODY),
            "signature that is not ASCII": (KEY, "é" * 96, TIMESTAMP, BODY),
            "half a signature": (KEY, SIGNATURE[:48], TIMESTAMP, BODY),
            "base64 of no signature": (KEY, base64.b64encode(b"no signature").decode(), TIMESTAMP, BODY),
        }
        for name, arguments in changed.items():
            with self.subTest(name):
                self.assertIs(verify(*arguments), False)

    def test_every_byte_counts(self):
        """Test that no byte of the body can be changed."""
        for position in range(len(BODY)):
            body = bytearray(BODY)
            body[position] ^= 1
            self.assertFalse(verify(KEY, SIGNATURE, TIMESTAMP, bytes(body)), f"byte {position}")

    @quick
    @given(st.text(), st.text(), st.text(), st.binary())
    def test_never_raises(self, key, signature, timestamp, body):
        """Test that no input makes it raise, and that none is valid by chance."""
        for arguments in (
            (key, signature, timestamp, body),
            (KEY, signature, timestamp, body),
            (KEY, base64.b64encode(body).decode(), timestamp, body),
            (KEY, SIGNATURE, timestamp + "é\ud800", BODY),
            (base64.b64encode(body).decode(), SIGNATURE, TIMESTAMP, BODY),
            (base64.b64encode(base64.b64decode(KEY)[:27] + body).decode(), SIGNATURE, TIMESTAMP, BODY),
        ):
            self.assertIs(verify(*arguments), False)

    @quick
    @given(st.binary(), st.integers(min_value=0))
    def test_signed_here(self, body, timestamp):
        """Test that any bytes verify as they were signed, so that the simulator signs as SendGrid does."""
        signer = Signer()
        headers = signer.sign(body, timestamp)
        signature = headers["X-Twilio-Email-Event-Webhook-Signature"]
        self.assertIs(verify(signer.public_key, signature, str(timestamp), body), True)
        self.assertIs(verify(signer.public_key, signature, str(timestamp), body + b"\n"), False)

    def test_normalize_key(self):
        """Test that a pasted key becomes the key that SendGrid shows, whatever was pasted around it."""
        armoured = f"-----BEGIN PUBLIC KEY-----\n{KEY[:64]}\n{KEY[64:]}\n-----END PUBLIC KEY-----\n"
        pasted = {
            "as shown": KEY,
            "end of line": KEY + "\r\n",
            "blanks around": f"  {KEY}\t",
            "wrapped": f"{KEY[:64]}\n{KEY[64:]}",
            "PEM": armoured,
            "PEM with CRLF": armoured.replace("\n", "\r\n"),
            "PEM, indented": armoured.replace("\n", "\n    "),
            # A form's input has one line: the browser removes line ends.
            "PEM in one line": armoured.replace("\n", ""),
            "PEM with blanks for line ends": armoured.replace("\n", " "),
        }
        for name, text in pasted.items():
            with self.subTest(name):
                self.assertEqual(normalize_key(text), KEY)

    def test_normalize_key_refuses(self):
        """Test that a text that is no P-256 public key is refused with a ValueError."""
        info = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        other_curve = ec.generate_private_key(ec.SECP384R1()).public_key().public_bytes(*info)
        other_kind = rsa.generate_private_key(65537, 2048).public_key().public_bytes(*info)
        off_the_curve = base64.b64decode(KEY)[:-1] + b"\x00"
        wrong = {
            "nothing": "",
            "blanks": " \n ",
            "words": "the key that SendGrid shows",
            "an API key": "SG.aaaaaaaaaaaaaaaaaaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
            "not ASCII": KEY[:-1] + "é",
            "cut": KEY[:-10],
            "P-384": base64.b64encode(other_curve).decode(),
            "RSA": base64.b64encode(other_kind).decode(),
            "a point off the curve": base64.b64encode(off_the_curve).decode(),
            "armour alone": "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----",
        }
        for name, text in wrong.items():
            with self.subTest(name), self.assertRaises(ValueError):
                normalize_key(text)

    @quick
    @given(st.text())
    def test_normalize_key_raises_nothing_else(self, text):
        """Test that a key is refused with a ValueError and nothing else."""
        with self.assertRaises(ValueError):
            normalize_key(text)

    def test_wire_form_of_the_simulator(self):
        """Test that the simulator writes an event as SendGrid does: compact, with CRLF, angle brackets escaped."""
        wire = to_wire([{"smtp-id": "<a@b>", "url": "é"}, {"n": 1}])
        self.assertEqual(wire, '[{"smtp-id":"\\u003ca@b\\u003e","url":"é"},\r\n{"n":1}]\r\n'.encode())
