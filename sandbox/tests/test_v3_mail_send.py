"""Mail Send: the message that arrives, its events, and the mails that are refused."""

import base64
import copy
import email
import email.policy
import re
import time

import pytest
from sandbox_harness import wait_for

PNG = base64.b64encode(b"\x89PNG not really").decode()
MAIL = {
    "personalizations": [
        {
            "to": [{"email": "ada@example.org", "name": "Lovelace, Ada"}, {"email": "bob@example.org"}],
            "cc": [{"email": "cy@example.org"}],
            "bcc": [{"email": "dee@example.org"}],
            "custom_args": {"copy_id": "own", "more": "x"},
        }
    ],
    "from": {"email": "shop@example.com", "name": "Café Shop"},
    "reply_to_list": [{"email": "sales@example.com", "name": "Sales"}, {"email": "other@example.com"}],
    "subject": "Your quotation — n° 7",
    "content": [
        {"type": "text/plain", "value": "Héllo http://a.example/x"},
        {"type": "text/html", "value": '<p>Héllo <a href="http://a.example/x">x</a><img src="cid:logo@x"></p>'},
    ],
    "attachments": [
        {"content": PNG, "type": "image/png", "filename": "logo.png", "disposition": "inline", "content_id": "logo@x"},
        {"content": base64.b64encode(b"%PDF-1").decode(), "type": "application/pdf", "filename": "Angebot é.pdf"},
        {"content": base64.b64encode(b"?").decode(), "filename": "unknown"},
    ],
    "headers": {
        "Message-ID": "<" + "x" * 90 + "@example.com>",
        "References": " ".join(f"<{number}-reference@example.com>" for number in range(9)),
        "X-Objects": "sale.order-7",
    },
    "categories": ["shop", "sale"],
    "custom_args": {"shop_id": "db", "copy_id": "common"},
}


def send(program, mail=None, **changes):
    return program.v3("POST", "/mail/send", {**(mail or MAIL), **changes})


def sent(program, **changes):
    answer = send(program, **changes)
    assert (answer.status, answer.body) == (202, b""), answer.text
    assert re.fullmatch(r"[\w-]{22}", answer.headers["X-Message-Id"])
    assert "X-RateLimit-Limit" not in answer.headers
    return program.http("GET", f"/sandbox/messages/{answer.headers['X-Message-Id']}").json


def parsed(program, message, recipient=None):
    path = f"/sandbox/messages/{message['id']}/{f'{recipient}/' if recipient else ''}raw"
    return email.message_from_bytes(program.http("GET", path).body, policy=email.policy.default)


def test_the_message_that_arrives(program):
    message = sent(program)
    mime = parsed(program, message)
    assert mime["From"].addresses[0].display_name == "Café Shop"
    assert [str(one) for one in mime["To"].addresses] == ['"Lovelace, Ada" <ada@example.org>', "bob@example.org"]
    assert (str(mime["Cc"]), mime["Bcc"], mime["X-SMTPAPI"]) == ("cy@example.org", None, None)
    assert str(mime["Reply-To"]) == "Sales <sales@example.com>, other@example.com"
    assert mime["Subject"] == MAIL["subject"]
    for name, value in MAIL["headers"].items():
        assert mime[name] == value
    assert mime.get_body(("plain",)).get_content().rstrip() == MAIL["content"][0]["value"]
    html = mime.get_body(("html",))
    assert html.get_content().rstrip() == MAIL["content"][1]["value"]
    leaves = [part for part in mime.walk() if part.get_filename()]
    assert [(part.get_filename(), part.get_content_type(), part.get_content_disposition()) for part in leaves] == [
        ("logo.png", "image/png", "inline"),
        ("Angebot é.pdf", "application/pdf", "attachment"),
        ("unknown", "application/octet-stream", "attachment"),
    ]
    assert (leaves[0]["Content-ID"], leaves[0].get_content()) == ("<logo@x>", b"\x89PNG not really")
    assert message["envelope_from"] == "shop@example.com"
    assert [one["address"] for one in message["recipients"]] == [
        "ada@example.org", "bob@example.org", "cy@example.org", "dee@example.org",
    ]  # fmt: skip


def test_its_events(program, receiver):
    message = sent(program)
    events = receiver.wait(8)
    assert {event["copy_id"] for event in events} == {"own"}
    assert {event["shop_id"] for event in events} == {"db"}
    assert {event["smtp-id"] for event in events} == {MAIL["headers"]["Message-ID"]}
    assert events[0]["category"] == ["shop", "sale"]
    assert {event["sg_message_id"].partition(".")[0] for event in events} == {message["id"]}
    assert {event["sg_message_id"][-1] for event in events} == set("0123")
    program.http("GET", message["recipients"][1]["open_url"])
    opened = receiver.wait(9)[-1]
    assert (opened["event"], opened["email"]) == ("open", "bob@example.org")


def test_its_tracking(program):
    tracked = sent(program)
    assert len(tracked["links"]) == 1 and tracked["recipients"][0]["open_url"]
    off = {"click_tracking": {"enable": False}, "open_tracking": {"enable": False}}
    plain = sent(program, tracking_settings=off)
    assert plain["links"] == [] and plain["recipients"][0]["open_url"] is None
    text = sent(program, tracking_settings={"click_tracking": {"enable": True, "enable_text": True}})
    assert [link["type"] for link in text["links"]] == ["text", "html"]
    program.v3("PATCH", "/tracking_settings/open", {"enabled": False})
    assert sent(program)["recipients"][0]["open_url"] is None
    assert sent(program, tracking_settings={"open_tracking": {"enable": True}})["recipients"][0]["open_url"]


def test_one_id_for_all_personalizations(program, receiver):
    people = [{"to": [{"email": f"p{number}@example.org"}], "subject": f"For {number}"} for number in range(3)]
    people[2]["from"] = {"email": "other@example.com"}
    first = sent(program, personalizations=people)
    assert first["subject"] == "For 0"
    events = receiver.wait(6)
    ids = {event["email"]: event["sg_message_id"] for event in events}
    assert {one.partition(".")[0] for one in ids.values()} == {first["id"]}
    assert [ids[f"p{number}@example.org"][-1] for number in range(3)] == ["0", "1", "2"]
    messages = program.http("GET", "/sandbox/messages").json
    assert {one["subject"] for one in messages} == {"For 0", "For 1", "For 2"}
    assert {one["envelope_from"] for one in messages} == {"shop@example.com", "other@example.com"}
    assert parsed(program, messages[0])["From"].addresses[0].addr_spec == "other@example.com"


def test_magic_addresses_and_other_content(program, receiver):
    content = [{"type": "text/html", "value": "<p>x</p>"}, {"type": "text/calendar", "value": "BEGIN:VCALENDAR"}]
    message = sent(
        program, personalizations=[{"to": [{"email": "bounce@example.org"}]}], content=content, attachments=[]
    )
    assert [event["event"] for event in receiver.wait(2)] == ["processed", "bounce"]
    kinds = [part.get_content_type() for part in parsed(program, message).walk()]
    assert kinds == ["multipart/alternative", "text/html", "text/calendar"]


def test_sandbox_mode_only_validates(program):
    assert send(program, mail_settings={"sandbox_mode": {"enable": True}}).status == 200
    assert program.http("GET", "/sandbox/messages").json == []


def personalization(**changes):
    return {"personalizations": [{**MAIL["personalizations"][0], **changes}]}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"personalizations": []}, None),
        ({"personalizations": [{}]}, "personalizations.0"),
        (personalization(to=[]), "personalizations.0.to"),
        (personalization(cc=[{"email": "ADA@example.org"}]), "personalizations.0"),
        (personalization(cc=[{"email": "no address"}]), "personalizations.0.cc.0.email"),
        (personalization(to=[{"email": f"p{number}@x.org"} for number in range(999)]), "personalizations"),
        (personalization(custom_args={"n": 5}), "personalizations.0.custom_args.n"),
        (personalization(custom_args={"n": "é" * 5000}), "personalizations.0.custom_args"),
        (personalization(headers={"X-A": "a\nb"}), "personalizations.0.headers.X-A"),
        (personalization(colour="red"), "personalizations.0"),
        ({"from": {"email": "café@example.com"}}, "from.email"),
        ({"from": {"name": "Nobody"}}, "from"),
        ({"reply_to": {"email": "a@b.c"}}, "reply_to"),
        ({"subject": ""}, "subject"),
        ({"content": []}, "content"),
        ({"content": MAIL["content"][::-1]}, "content"),
        ({"content": MAIL["content"][:1] * 2}, "content"),
        ({"content": [{"type": "text/plain", "value": ""}]}, "content.0.value"),
        ({"content": [{"type": "text/plain", "value": "\ud800"}]}, "personalizations.0"),
        ({"headers": {"Reply-To": "a@b.c"}}, "headers.Reply-To"),
        ({"headers": {"X A": "a"}}, "headers.X A"),
        ({"headers": {"X-A": 5}}, "headers.X-A"),
        ({"categories": [f"c{number}" for number in range(11)]}, "categories"),
        ({"categories": ["same", "same"]}, "categories"),
        ({"categories": ["c" * 256]}, "categories.0"),
        ({"attachments": [{"content": "not base64!", "filename": "x"}]}, "attachments.0.content"),
        ({"attachments": [{"content": PNG, "filename": "x", "type": "a/b\r\nc"}]}, "attachments.0.type"),
        ({"attachments": [{"content": PNG}]}, "attachments.0"),
        ({"send_at": int(time.time()) + 73 * 3600}, "send_at"),
        ({"template_id": "d-1"}, "template_id"),
        ({"tracking_settings": {"click_tracking": {"enable_text": False}}}, "tracking_settings.click_tracking.enable"),
    ],
)
def test_what_is_refused(program, changes, field):
    answer = send(program, **changes)
    assert answer.status == 400, answer.text
    [error] = answer.json["errors"]
    assert error["field"] == field
    assert error["message"]
    assert program.http("GET", "/sandbox/messages").json == []


@pytest.mark.parametrize("name", ["personalizations", "from", "subject", "content"])
def test_what_is_required(program, name):
    mail = copy.deepcopy(MAIL)
    del mail[name]
    assert send(program, mail).status == 400


def test_too_large(program):
    content = base64.b64encode(b"x" * 23 * 1024 * 1024).decode()
    answer = send(program, attachments=[{"content": content, "filename": "x"}])
    assert answer.status == 413
    assert "30MB" in answer.json["errors"][0]["message"]


def test_wrong_key_and_missing_scope(program):
    assert program.v3("POST", "/mail/send", MAIL, key="SG.wrong").status == 401
    program.http("PUT", "/sandbox/keys/SG.reader", ["suppression.read"])
    assert program.v3("POST", "/mail/send", MAIL, key="SG.reader").status == 403


def test_a_call_that_is_cut_has_sent_the_mail(program):
    """A caller who repeats a call that was cut sends the mail twice."""
    program.http("POST", "/sandbox/faults", {"path": "/v3/mail/send", "action": "cut", "after": True})
    with pytest.raises(OSError):
        send(program)
    assert wait_for(lambda: len(program.http("GET", "/sandbox/messages").json), "the message") == 1
    assert program.http("GET", "/sandbox/calls").json[0]["status"] is None
