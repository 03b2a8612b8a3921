import random

import pytest

from sandbox import mime, rewrite, smtpapi
from sandbox.message import Message

MIXED = (
    b"From: a@example.com\r\n"
    b"Subject: =?utf-8?b?R3LDvMOfZQ==?= and\r\n more\r\n"
    b"Content-Type: multipart/mixed; boundary=outer\r\n\r\n"
    b"preamble\r\n--outer\r\n"
    b"Content-Type: multipart/alternative; boundary=outer2\r\n\r\n"
    b"--outer2\r\nContent-Type: text/plain\r\n\r\nplain\r\n"
    b"--outer2\r\nContent-Type: text/html; charset=iso-8859-1\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\nPGI+4TwvYj4=\r\n"
    b"--outer2--\r\n"
    b"--outer  \r\n"
    b"Content-Type: application/pdf; name=x.pdf\r\nContent-ID: <one@x>\r\n\r\nBYTES\r\n"
    b"--outer--\r\nepilogue\r\n"
)


def test_leaves_in_order():
    assert [part.content_type for part in mime.parts(MIXED)] == ["text/plain", "text/html", "application/pdf"]
    plain, html, pdf = mime.parts(MIXED)
    assert mime.body(MIXED, plain) == b"plain"
    assert mime.body_text(MIXED, html) == ("<b>á</b>", "iso-8859-1")
    assert (mime.body(MIXED, pdf), pdf.filename, pdf.content_id, pdf.is_attachment) == (
        b"BYTES",
        "x.pdf",
        "one@x",
        True,
    )


def test_replacing_a_body_changes_nothing_else():
    html = mime.parts(MIXED)[1]
    changed = mime.replaced(MIXED, [(html, mime.encoded_body("<b>é</b>", "iso-8859-1", html))])
    assert changed.replace(b"PGI+6TwvYj4=\r\n\r\n", b"PGI+4TwvYj4=\r\n") == MIXED


def test_headers_for_people():
    assert mime.header(MIXED, "subject") == "Grüße and more"
    assert mime.header(MIXED, "X-None") == ""


def test_a_header_is_taken_out_whole_in_any_case_and_only_from_the_head():
    raw = b"A: 1\r\nX-Smtpapi: {\r\n }\r\nB: 2\r\nx-SMTPAPI:x\r\n\r\nX-SMTPAPI: body\r\n"
    assert mime.without_field(raw, "X-SMTPAPI") == b"A: 1\r\nB: 2\r\n\r\nX-SMTPAPI: body\r\n"
    assert mime.without_field(MIXED, "X-SMTPAPI") == MIXED


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\r\n",
        b"no header at all",
        b"\r\nbody only",
        b"Subject: =?bogus?b?####?=\r\n\r\nx",
        b"Subject: \xff\xfe\r\n\r\nx",
        b"Content-Type: multipart/mixed\r\n\r\nno boundary",
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\nnever used",
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n--b--",
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nunclosed",
        b"Content-Type: text/html; charset=nonsense\r\n\r\n<a href='http://a.example'>\xff</a>",
        b"Content-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!x",
        b"Content-Type: text/html; charset*=bogus''%FF; name*=x'y'%FF\r\n\r\nx",
        b"Content-Type: text/html; charset=utf-16\r\n\r\nodd",
    ],
)
def test_broken_messages_are_taken_and_shown(raw):
    _use_everything(raw)


def test_damaged_messages_are_taken_and_shown():
    chance = random.Random(19)
    for _ in range(400):
        damaged = bytearray(MIXED)
        for _ in range(chance.randrange(1, 30)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        if chance.random() < 0.5:
            damaged = damaged[: chance.randrange(len(damaged))]
        _use_everything(bytes(damaged))


def test_a_deep_nest_is_one_opaque_part():
    raw = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(2000))
    _use_everything(raw)


def _use_everything(raw):
    message = Message(raw, ["a@example.org"], "")
    assert message.message_id.startswith("<") or b"message-id" in raw.lower()
    assert isinstance(message.subject, str) and isinstance(message.sender, str)
    for part in message.parts:
        assert isinstance(part.filename, str) and isinstance(part.content_id, str)
        mime.body_text(message.raw, part)[0].encode("utf-8", "replace")
    options = smtpapi.Options(click_text=True, subscription=True)
    links = rewrite.find_links(message.raw, options)
    addresses = message.copies[0].addresses("http://127.0.0.1:1")
    assert rewrite.delivered(message.raw, options, addresses, len(links))
