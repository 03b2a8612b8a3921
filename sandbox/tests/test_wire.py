"""The bytes of a POST and their signature."""

import base64
import json

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from sandbox import keys
from sandbox.webhook import wire_body, wire_object

# A known answer that the vendor publishes: a real POST of 2020.
VECTOR_KEY = (
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE"
    "83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g=="
)
VECTOR_SIGNATURE = "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM="
VECTOR_TIMESTAMP = "1600112502"
VECTOR_BODY = (
    b'[{"email":"hello@world.com","event":"dropped","reason":"Bounced Address",'
    b'"sg_event_id":"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA",'
    b'"sg_message_id":"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0",'
    b'"smtp-id":"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>","timestamp":1600112492}]\r\n'
)


def check(public_key, signature, timestamp, body):
    key = load_der_public_key(base64.b64decode(public_key))
    key.verify(base64.b64decode(signature), timestamp.encode() + body, ec.ECDSA(hashes.SHA256()))


def test_published_vector():
    assert len(VECTOR_BODY) == 327
    check(VECTOR_KEY, VECTOR_SIGNATURE, VECTOR_TIMESTAMP, VECTOR_BODY)


@pytest.mark.parametrize(
    "body", [VECTOR_BODY.strip(), VECTOR_BODY.replace(b"\r\n", b"\n"), json.dumps(json.loads(VECTOR_BODY)).encode()]
)
def test_published_vector_fails_when_touched(body):
    with pytest.raises(InvalidSignature):
        check(VECTOR_KEY, VECTOR_SIGNATURE, VECTOR_TIMESTAMP, body)


def test_our_body_has_the_vectors_form():
    body = wire_body([wire_object(event) for event in json.loads(VECTOR_BODY)])
    assert body.replace(b"\\u003c", b"<").replace(b"\\u003e", b">") == VECTOR_BODY


def test_our_signature_has_the_vectors_form():
    key = keys.generate()
    check(keys.public_text(key), keys.sign(key, VECTOR_TIMESTAMP, VECTOR_BODY), VECTOR_TIMESTAMP, VECTOR_BODY)
    assert len(keys.public_text(key)) == 124
    assert keys.public_text(key).startswith("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE")
    assert keys.sign(key, "1", b"").startswith("ME")


def test_body_bytes():
    objects = [{"a": "é<&>\u2028", "b": [1, {"c": None}]}, {"d": "\n\ud800"}]
    body = wire_body([wire_object(one) for one in objects])
    assert body == ('[{"a":"é\\u003c\\u0026\\u003e\u2028","b":[1,{"c":null}]},\r\n{"d":"\\n\\ud800"}]\r\n'.encode())
    assert json.loads(body) == objects
