import json
import smtplib
from email.message import EmailMessage
from email.policy import SMTP

import pytest


def test_wrong_key_or_user_is_refused(program):
    for user, password in (("apikey", "SG.wrong"), ("someone", "SG.test-key"), ("apikey", "")):
        with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
            program.smtp(password, user)
        assert refused.value.smtp_code == 535


def test_each_key_that_may_send_logs_in(program):
    for scopes, is_taken in ((["mail.send"], True), (["scopes.read"], False)):
        program.http("PUT", "/sandbox/keys/SG.another", scopes)
        if is_taken:
            with program.smtp("SG.another") as client:
                assert client.noop()[0] == 250
        else:
            with pytest.raises(smtplib.SMTPAuthenticationError):
                program.smtp("SG.another")
    program.http("DELETE", "/sandbox/keys/SG.another")
    with pytest.raises(smtplib.SMTPAuthenticationError):
        program.smtp("SG.another")


def test_without_login_nothing_is_taken(program):
    with program.smtp(user=None) as client:
        client.ehlo()
        assert client.mail("a@example.com")[0] == 530


def test_reply_names_the_message(program, receiver):
    message = program.send(["ada@example.org"])
    for event in receiver.wait(2):
        assert event["sg_message_id"].split(".")[0] == message["id"]


def test_folded_header_over_the_wire(program, receiver):
    args = {f"key{number}": "v" * 60 for number in range(20)}
    subject = "A subject that is long enough to be folded, with ünïcödé, " * 5
    message = program.send(["ada@example.org"], smtpapi={"unique_args": args, "category": "sale"}, subject=subject)
    raw = program.http("GET", f"/sandbox/messages/{message['id']}/raw").body
    assert raw.count(b"\r\n ") > 20
    assert message["smtpapi"] == {"valid": True, "unique_args": args, "category": ["sale"]}
    for event in receiver.wait(2):
        assert args.items() <= event.items()
        assert event["category"] == ["sale"]
        assert event["smtp-id"] == message["message_id"]


def test_header_is_not_delivered(program):
    message = program.send(["ada@example.org"], smtpapi={"category": "sale"})
    received = program.http("GET", f"/sandbox/messages/{message['id']}/raw").body
    delivered = program.http("GET", f"/sandbox/messages/{message['id']}/0/raw").body
    assert b"X-SMTPAPI" in received
    header = b'X-SMTPAPI: {"category": "sale"}\r\n'
    assert delivered == received.replace(header, b"")


@pytest.mark.parametrize("header", [b"nonsense", b"[1]", b'{"unique_args": {"a": "b"}', b"=?utf-8?q?=7B=7D?="])
def test_broken_header_is_taken_and_dropped(program, receiver, header):
    raw = b"X-SMTPAPI: " + header + b"\r\nMessage-ID: <x@example.com>\r\n\r\nx\r\n"
    message = program.send_raw(raw, ["ada@example.org", "bounce@example.org"])
    assert message["smtpapi"]["valid"] is False
    dropped = receiver.wait(2)
    assert [event["email"] for event in dropped] == ["ada@example.org", "bounce@example.org"]
    for event in dropped:
        assert set(event) == {"email", "event", "timestamp", "sg_event_id", "sg_message_id", "smtp-id", "reason"}
        assert (event["event"], event["reason"]) == ("dropped", "Invalid SMTPAPI header")


def test_compact_json_that_python_turns_into_encoded_words(program, receiver):
    message = EmailMessage()
    message["X-SMTPAPI"] = json.dumps({"unique_args": {"a": "x" * 40, "b": "y" * 40}}, separators=(",", ":"))
    message.set_content("x")
    program.send_raw(message.as_bytes(policy=SMTP), ["ada@example.org"])
    assert receiver.wait(1)[0]["reason"] == "Invalid SMTPAPI header"


def test_fifty_recipients_each_have_their_own_copy(program, receiver):
    addresses = [f"r{number}@example.org" for number in range(50)]
    message = program.send(addresses, html='<a href="http://a.example">x</a>', smtpapi={"unique_args": {"k": "v"}})
    events = receiver.wait(100)
    assert len(events) == 100
    for number, address in enumerate(addresses):
        own = [event for event in events if event["email"] == address]
        assert sorted(event["event"] for event in own) == ["delivered", "processed"]
        for event in own:
            assert event["sg_message_id"].endswith(f".{number}")
            assert event["k"] == "v"
    recipients = program.message(message)["recipients"]
    assert len({one["open_url"] for one in recipients}) == 50
    assert len({one["click_urls"][0] for one in recipients}) == 50
    one = program.http("GET", f"/sandbox/messages/{message['id']}/{addresses[7]}/raw").text
    assert recipients[7]["open_url"].partition("?")[2] in one.replace("=\r\n", "").replace("=3D", "=")


def test_without_message_id_one_is_made(program, receiver):
    message = program.send_raw(b"Subject: x\r\n\r\nbody", ["ada@example.org"])
    for event in receiver.wait(2):
        assert event["smtp-id"] == message["message_id"]
    assert message["message_id"].startswith(f"<{message['id']}@")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"no headers",
        b"\xff\xfe\x00\r\n\r\n\x00",
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n--x",
        b"Subject: " + b"long" * 5000 + b"\r\n\r\n" + b"z" * 100_000,
        b'X-SMTPAPI: {"unique_args": {"a": "\\ud800"}}\r\n\r\nx',
    ],
)
def test_broken_messages_are_taken_posted_and_shown(program, receiver, raw):
    message = program.send_raw(raw, ["ada@example.org"])
    assert len(receiver.wait(2)) == 2
    for view in ("html", "text", "source", "headers"):
        assert program.http("GET", f"/messages/{message['id']}/0?view={view}").status == 200
    assert program.http("GET", f"/messages/{message['id']}/0/html").status == 200


def test_eight_bit_and_utf8_addresses(program, receiver):
    raw = "From: ü@example.com\r\nTo: jürgen@example.org\r\nSubject: Grüße\r\n\r\nKöln\r\n".encode()
    message = program.send_raw(raw, ["jürgen@example.org"], "ü@example.com", ["BODY=8BITMIME", "SMTPUTF8"])
    assert (message["subject"], message["from"]) == ("Grüße", "ü@example.com")
    assert message["recipients"][0]["address"] == "jürgen@example.org"
    assert {event["email"] for event in receiver.wait(2)} == {"jürgen@example.org"}
    assert program.http("GET", f"/sandbox/messages/{message['id']}/raw").body == raw


def test_size_limit(program):
    with program.smtp() as client:
        client.ehlo()
        assert int(client.esmtp_features["size"]) == 30 * 1024 * 1024
        client.mail("a@example.com")
        client.rcpt("b@example.org")
        code, _ = client.data(b"Subject: x\r\n\r\n" + (b"x" * 998 + b"\r\n") * (31 * 1024))
        assert code == 552
    assert program.http("GET", "/sandbox/messages").json == []
