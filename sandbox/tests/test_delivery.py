"""Webhooks as a real receiver gets them."""

import json
import time
from collections import Counter

import pytest
from sandbox_harness import verified, wait_for

from sandbox.events import ACCOUNT, DELIVERY, ENGAGEMENT


def test_a_signed_post_in_the_wire_form(program, receiver):
    program.send(["ada@example.org"], smtpapi={"unique_args": {"name": "é <b>"}})
    receiver.wait(2)
    ((path, headers, body, _),) = receiver.posts
    verified(program.http("GET", "/sandbox/public-key").text, headers, body)
    assert path == "/hook"
    assert headers["User-Agent"] == "SendGrid Event API"
    assert headers["Content-Type"] == "application/json;charset=utf-8"
    assert headers["Accept-Encoding"] == "gzip"
    assert "Transfer-Encoding" not in headers
    assert abs(int(headers["X-Twilio-Email-Event-Webhook-Timestamp"]) - time.time()) < 60
    events = json.loads(body)
    form = [json.dumps(event, ensure_ascii=False, separators=(",", ":")) for event in events]
    text = "[" + ",\r\n".join(form).replace("<", "\\u003c").replace(">", "\\u003e") + "]\r\n"
    assert body == text.encode()
    assert [event["event"] for event in events] == ["processed", "delivered"]


def test_every_event_can_be_fired(program, receiver):
    message = program.send(["ada@example.org"])
    receiver.wait(2)
    for name in (*DELIVERY, *ENGAGEMENT):
        (fired,) = program.fire(message, "ada@example.org", name)
        assert fired["event"] == name
    assert program.http("POST", "/sandbox/events", {"type": "reactivate"}).status == 201
    received = receiver.wait(2 + 12)[2:]
    assert [event["event"] for event in received] == [*DELIVERY, *ENGAGEMENT, ACCOUNT]
    assert received[-1]["type"] == "reactivate"
    trail = program.message(message)["recipients"][0]["events"]
    assert trail == receiver.of("ada@example.org")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("ada", ["processed", "delivered"]),
        ("bounce", ["processed", "bounce/bounce"]),
        ("blocked+1", ["processed", "bounce/blocked"]),
        ("deferred", ["processed", "deferred", "delivered"]),
        ("dropped", ["dropped/Bounced Address"]),
        ("dropped-unsubscribed", ["dropped/Unsubscribed Address"]),
        ("dropped-spam", ["dropped/Spam Reporting Address"]),
        ("dropped-invalid", ["dropped/Invalid"]),
        ("late-bounce", ["processed", "delivered", "bounce/bounce"]),
        ("machine-open", ["processed", "delivered", "open/True"]),
        ("scanner", ["processed", "delivered", "open/False", "click", "click"]),
        ("spam", ["processed", "delivered", "open/False", "spamreport"]),
        ("unordered", ["open/False", "delivered", "processed"]),
    ],
)
def test_magic_addresses(program, receiver, address, expected):
    def shown(event):
        more = {"bounce": "type", "dropped": "reason", "open": "sg_machine_open"}.get(event["event"])
        return f"{event['event']}/{event[more]}" if more else event["event"]

    program.send([f"{address}@example.org"], html='<a href="http://a.example"><a href="http://b.example">')
    events = receiver.wait(len(expected))
    assert [shown(event) for event in events] == expected
    program.http("POST", "/sandbox/webhook/flush")
    assert len(receiver.events) == len(expected)


def test_unordered_arrives_backwards_in_posts_of_their_own(program, receiver):
    program.send(["unordered@example.org"])
    events = receiver.wait(3)
    assert len(receiver.posts) == 3
    timestamps = {event["event"]: event["timestamp"] for event in events}
    assert timestamps["processed"] <= timestamps["delivered"] <= timestamps["open"]


def test_scanner_is_quick_and_is_one(program, receiver):
    program.send(["scanner@example.org"], html='<a href="http://a.example"><a href="http://b.example">')
    _, delivered, *machine = receiver.wait(5)
    assert all(event["timestamp"] - delivered["timestamp"] <= 2 for event in machine)
    assert len({(event["ip"], event["useragent"]) for event in machine}) == 1
    assert [event["url_offset"]["index"] for event in machine if event["event"] == "click"] == [0, 1]


def test_late_bounce_has_nothing_to_match_on_but_the_address(program, receiver):
    header = {"unique_args": {"k": "v"}, "category": "c"}
    program.send(["late-bounce@example.org"], smtpapi=header)
    late = receiver.wait(3)[-1]
    assert set(late) == {"email", "event", "timestamp", "sg_event_id", "sg_message_id", "type", "status", "reason"}
    assert late["sg_message_id"] == ""


def test_duplicate_address_sends_everything_twice_under_other_ids(program, receiver):
    message = program.send(["duplicate@example.org"], html="<p>x</p>")
    program.fire(message, 0, "open")
    events = receiver.wait(6)
    assert Counter(event["event"] for event in events) == {"processed": 2, "delivered": 2, "open": 2}
    assert len({event["sg_event_id"] for event in events}) == 6
    without_id = {json.dumps({**event, "sg_event_id": 0}) for event in events}
    assert len(without_id) == 3


def test_latest_events_again(program, receiver):
    message = program.send(["ada@example.org"])
    receiver.wait(2)
    program.fire(message, 0, "open", timestamp=int(time.time()) + 5)
    (again,) = program.fire(message, 0, "duplicate")
    first, second = receiver.wait(4)[2:]
    assert second == again
    assert {**first, "sg_event_id": again["sg_event_id"]} == again
    assert first["sg_event_id"] != again["sg_event_id"]


def test_deferrals_are_counted(program, receiver):
    message = program.send(["bounce@example.org"])
    attempts = [program.fire(message, 0, "deferred")[0]["attempt"] for _ in range(3)]
    assert attempts == ["0", "1", "2"]


@pytest.mark.parametrize("status", [500, 403, 404, 302])
def test_a_refused_post_is_repeated_as_it_was(program, receiver, status):
    receiver.statuses = [status, status]
    program.send(["ada@example.org"])
    receiver.wait(2)
    assert [post[3] for post in receiver.posts] == [status, status, 200]
    assert len({post[2] for post in receiver.posts}) == 1
    assert len({post[1]["X-Twilio-Email-Event-Webhook-Timestamp"] for post in receiver.posts}) == 1
    assert {post[0] for post in receiver.posts} == {"/hook"}  # the redirect was not followed

    def seen():
        made = program.http("GET", "/sandbox/deliveries").json
        return made if len(made) == 3 else None

    made = wait_for(seen)
    assert [(post["status"], post["attempt"], post["events"]) for post in made] == [
        (status, 1, 2),
        (status, 2, 2),
        (200, 3, 2),
    ]
    assert "no thanks" in made[0]["error"]


def test_any_2xx_is_success(program, receiver):
    receiver.statuses = [202]
    program.send(["ada@example.org"])
    wait_for(lambda: program.http("GET", "/sandbox/webhook").json["posts"] and receiver.posts)
    assert wait_for(lambda: program.http("GET", "/sandbox/deliveries").json)[0]["status"] == 202
    program.http("POST", "/sandbox/webhook/flush")
    assert len(receiver.posts) == 1


def test_a_receiver_that_is_away_and_comes_back(program, receiver):
    program.http("PUT", "/sandbox/webhook", {"url": "http://127.0.0.1:9/"})
    program.send(["ada@example.org"])
    state = wait_for(lambda: (s := program.http("GET", "/sandbox/webhook").json)["failing"] and s)
    assert state["retrying"] == 2
    assert state["failing"].startswith("no answer")
    assert program.http("GET", "/sandbox/deliveries").json[0]["status"] is None
    program.http("PUT", "/sandbox/webhook", {"url": receiver.url})
    receiver.wait(2)
    wait_for(lambda: program.http("GET", "/sandbox/webhook").json["failing"] == "")


def test_new_events_do_not_wait_behind_failing_ones(program, receiver):
    receiver.statuses = [500] * 4
    program.send(["first@example.org"])
    wait_for(lambda: not receiver.statuses)
    program.send(["second@example.org"])
    receiver.wait(2, "second@example.org")
    receiver.wait(2, "first@example.org")


def test_without_url_events_are_shown_and_not_kept(program, receiver):
    program.http("PUT", "/sandbox/webhook", {"url": None})
    message = program.send(["ada@example.org"])
    assert len(message["recipients"][0]["events"]) == 2
    program.http("PUT", "/sandbox/webhook", {"url": receiver.url})
    assert program.http("POST", "/sandbox/webhook/flush").json == []
    assert not receiver.posts


def test_hold_and_flush(program, receiver):
    program.http("PUT", "/sandbox/webhook", {"hold": True})
    program.send(["ada@example.org"])
    program.send(["bob@example.org"])
    assert program.http("GET", "/sandbox/webhook").json["pending"] == 4
    assert not receiver.posts
    (post,) = program.http("POST", "/sandbox/webhook/flush").json
    assert (post["status"], post["events"]) == (200, 4)
    assert len(receiver.posts) == 1


def test_flush_retries_and_reports_the_refusal(program, receiver):
    receiver.statuses = [500] * 50
    program.http("PUT", "/sandbox/webhook", {"hold": True})
    program.send(["ada@example.org"])
    assert program.http("POST", "/sandbox/webhook/flush").json[0]["status"] == 500
    receiver.statuses = []
    assert program.http("POST", "/sandbox/webhook/flush").json[-1]["status"] == 200
    assert len(receiver.events) == 2


def test_shuffle_duplicate_and_small_posts(program, receiver):
    program.http("PUT", "/sandbox/webhook", {"hold": True, "shuffle": True, "duplicate": True, "max_events": 3})
    addresses = [f"r{number}@example.org" for number in range(20)]
    program.send(addresses)
    posts = program.http("POST", "/sandbox/webhook/flush").json
    assert sorted(post["events"] for post in posts) == [2] + [3] * 26
    events = receiver.events
    assert Counter((event["email"], event["event"]) for event in events) == {
        (address, name): 2 for address in addresses for name in ("processed", "delivered")
    }
    assert len({event["sg_event_id"] for event in events}) == 80
    assert [event["email"] for event in events] != sorted(event["email"] for event in events)


def test_a_post_holds_at_most_768_kb(program, receiver):
    program.http("PUT", "/sandbox/webhook", {"hold": True})
    program.http("POST", "/sandbox/events", [{"n": number, "x": "y" * 100_000} for number in range(20)])
    program.http("POST", "/sandbox/webhook/flush")
    receiver.wait(20)
    assert sorted(event["n"] for event in receiver.events) == list(range(20))
    assert all(len(post[2]) <= 768 * 1024 for post in receiver.posts)
    assert len(receiver.posts) == 3


def test_objects_are_sent_as_they_are(program, receiver):
    odd = [{"event": "brand_new", "email": None, "timestamp": "x"}, {}]
    assert program.http("POST", "/sandbox/events", odd).status == 201
    assert receiver.wait(2) == odd


def test_clear_forgets_what_waits(program, receiver):
    receiver.statuses = [500] * 100
    program.send(["deferred@example.org"])
    wait_for(lambda: receiver.posts)
    assert program.http("DELETE", "/sandbox/messages").status == 204
    receiver.statuses = []
    assert program.http("GET", "/sandbox/messages").json == []
    assert program.http("POST", "/sandbox/webhook/flush").json == []
    assert program.http("GET", "/sandbox/webhook").json["retrying"] == 0


@pytest.mark.parametrize(
    ("method", "path", "data", "status"),
    [
        ("PUT", "/sandbox/webhook", {"url": 5}, 400),
        ("PUT", "/sandbox/webhook", {"nonsense": 5}, 400),
        ("PUT", "/sandbox/webhook", {"max_events": 0}, 400),
        ("PUT", "/sandbox/webhook", [], 400),
        ("POST", "/sandbox/events", {"event": "open"}, 400),
        ("POST", "/sandbox/events", {"type": 3}, 400),
        ("POST", "/sandbox/events", [1], 400),
        ("GET", "/sandbox/messages/none", None, 404),
        ("POST", "/sandbox/messages/none/0/events", {"event": "open"}, 404),
        ("POST", "/sandbox/messages/{id}/9/events", {"event": "open"}, 404),
        ("POST", "/sandbox/messages/{id}/0/events", {"event": "nonsense"}, 400),
        ("POST", "/sandbox/messages/{id}/0/events", {}, 400),
    ],
)
def test_wrong_requests_are_told_so(program, method, path, data, status):
    message = program.send(["ada@example.org"])
    answer = program.http(method, path.format(id=message["id"]), data)
    assert answer.status == status
    assert answer.json["error"]
