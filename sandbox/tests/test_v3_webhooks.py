"""Event webhook settings, and how they change the POSTs."""

import json

import pytest
from cryptography.exceptions import InvalidSignature
from sandbox_harness import verified, wait_for

from sandbox.webhooks import FLAGS

SETTINGS = "/user/webhooks/event/settings"
ALL = {flag: True for flag in FLAGS if flag != "account_status_change"}


@pytest.fixture
def alone(program):
    """A program without the webhook of the command line."""
    program.http("PUT", "/sandbox/webhook", {"url": None})
    return program


def create(program, receiver, **settings):
    answer = program.v3("POST", SETTINGS, {"url": receiver.url, "enabled": True, **ALL, **settings})
    assert answer.status == 201, answer.text
    return answer.json


def sign(program, webhook, enabled=True):
    answer = program.v3("PATCH", f"{SETTINGS}/signed/{webhook['id']}", {"enabled": enabled})
    assert answer.status == 200
    return answer.json["public_key"]


def test_life_of_a_webhook(alone, receiver):
    assert alone.v3("GET", f"{SETTINGS}/all").json == {"max_allowed": 5, "webhooks": [{}]}
    one = create(alone, receiver, friendly_name="Shop", click=False)
    assert (one["friendly_name"], one["click"], one["open"]) == ("Shop", False, True)
    assert "public_key" not in one and "account_status_change" not in one
    path = f"{SETTINGS}/{one['id']}"
    key = sign(alone, one)
    assert len(key) == 124
    assert alone.v3("GET", f"{SETTINGS}/signed/{one['id']}").json == {"id": one["id"], "public_key": key}
    assert alone.v3("GET", path).json["public_key"] == key
    [listed] = alone.v3("GET", f"{SETTINGS}/all?include=account_status_change").json["webhooks"]
    assert (listed["public_key"], listed["account_status_change"]) == (key, False)
    changed = alone.v3("PATCH", path, {"url": receiver.url + "/2", "click": True, "account_status_change": True}).json
    assert (changed["url"], changed["click"], changed["friendly_name"]) == (receiver.url + "/2", True, "Shop")
    assert alone.v3("DELETE", path).status == 204
    assert alone.v3("DELETE", path).status == 404
    assert alone.v3("GET", path).json["errors"] == [{"message": "Invalid id provided.", "field": None}]


def test_refusals(alone, receiver):
    one = create(alone, receiver)
    again = alone.v3("POST", SETTINGS, {"url": receiver.url})
    assert again.status == 400
    assert again.json["errors"] == [
        {
            "id": one["id"],
            "message": f"Webhook at '{receiver.url}' already exists. Please provide a unique URL.",
            "url": receiver.url,
        }
    ]
    for url in ("ftp://example.com", "example.com", "https://", "https://a b.c", ""):
        answer = alone.v3("POST", SETTINGS, {"url": url})
        assert (answer.status, answer.json["errors"][0]["message"]) == (400, f"'{url}' is not a valid url")
    alone.http("PUT", "/sandbox/max-webhooks", 1)
    answer = alone.v3("POST", SETTINGS, {"url": receiver.url + "/2"})
    assert answer.status == 400
    assert "maximum number of webhooks" in answer.json["errors"][0]["message"]
    # A webhook may keep its own URL.
    assert alone.v3("PATCH", f"{SETTINGS}/{one['id']}", {"url": receiver.url}).status == 200


def test_keys_are_made_and_deleted(alone, receiver):
    one = create(alone, receiver)
    other = create(alone, receiver, url=receiver.url + "/2")
    first = sign(alone, one)
    assert sign(alone, one) == first
    assert sign(alone, other) != first
    assert sign(alone, one, False) == ""
    assert sign(alone, one) not in ("", first)


def test_events_go_to_every_webhook_as_it_wants_them(program, receiver):
    """Each webhook gets the events of its flags, and so does the one of the command line, with its own key."""
    picky = create(program, receiver, url=receiver.url + "/picky", delivered=False)
    off = create(program, receiver, url=receiver.url + "/off", enabled=False)
    create(program, receiver, url=receiver.url + "/plain")
    key = sign(program, picky)
    sign(program, off)
    program.send(["ada@example.org"])
    program.http("POST", "/sandbox/webhook/flush")
    got = {path: (headers, body) for path, headers, body, _ in receiver.posts}
    assert set(got) == {"/hook", "/hook/picky", "/hook/plain"}
    names = {path: [event["event"] for event in json.loads(body)] for path, (_, body) in got.items()}
    assert names == {
        "/hook": ["processed", "delivered"], "/hook/picky": ["processed"], "/hook/plain": ["processed", "delivered"],
    }  # fmt: skip
    verified(key, *got["/hook/picky"])
    verified(program.http("GET", "/sandbox/public-key").text, *got["/hook"])
    with pytest.raises(InvalidSignature):
        verified(key, *got["/hook"])
    assert not [name for name in got["/hook/plain"][0] if name.startswith("X-Twilio")]


def test_the_page_follows(alone, receiver):
    """The page is fetched again when its version changes, and then shows where events go."""
    versions = [alone.http("GET", "/inbox/version").text]
    one = create(alone, receiver)
    versions.append(alone.http("GET", "/inbox/version").text)
    assert receiver.url in alone.http("GET", "/").text
    alone.v3("PATCH", f"{SETTINGS}/{one['id']}", {"url": receiver.url + "/2"})
    versions.append(alone.http("GET", "/inbox/version").text)
    alone.v3("DELETE", f"{SETTINGS}/{one['id']}")
    versions.append(alone.http("GET", "/inbox/version").text)
    assert len(set(versions)) == 4
    assert receiver.url not in alone.http("GET", "/").text


def test_refused_events_follow_the_webhook(program, receiver):
    """A new URL gets the webhook's failed events at once, not a minute later; another webhook's still wait."""
    program.http("PUT", "/sandbox/webhook", {"flush_seconds": 60})
    one = create(program, receiver, url=receiver.url + "/one")
    receiver.statuses = [500, 500]
    program.send(["ada@example.org"])
    assert [post["status"] for post in program.http("POST", "/sandbox/webhook/flush").json] == [500, 500]
    assert program.http("GET", "/sandbox/webhook").json["retrying"] == 4
    program.v3("PATCH", f"{SETTINGS}/{one['id']}", {"url": receiver.url + "/new"})
    receiver.wait(2)
    assert receiver.posts[-1][0] == "/hook/new"
    wait_for(lambda: program.http("GET", "/sandbox/webhook").json["retrying"] == 2, "the other's events")


def test_account_events_are_opt_in(alone, receiver):
    one = create(alone, receiver)
    alone.http("POST", "/sandbox/events", {"type": "compliance_suspend"})
    alone.http("POST", "/sandbox/webhook/flush")
    assert receiver.events == []
    alone.v3("PATCH", f"{SETTINGS}/{one['id']}", {"url": receiver.url, "account_status_change": True})
    alone.http("POST", "/sandbox/events", {"type": "compliance_suspend"})
    assert receiver.wait(1)[0]["type"] == "compliance_suspend"


def test_test_event(alone, receiver):
    """The test posts eleven events once, and signs them only if the webhook that is named signs."""
    one = create(alone, receiver)
    key = sign(alone, one)
    receiver.statuses = [200, 500]
    for body in ({"url": receiver.url, "id": one["id"]}, {"url": receiver.url + "/other"}):
        assert alone.v3("POST", "/user/webhooks/event/test", body).status == 204
        alone.http("POST", "/sandbox/webhook/flush")
    (_, headers, body, _), (path, unsigned, _, _) = receiver.posts
    verified(key, headers, body)
    events = json.loads(body)
    assert {event["event"] for event in events} == set(FLAGS.values()) - {"account_status_change"}
    assert {event["email"] for event in events} == {"example@test.com"}
    assert body.endswith(b"}]\r\n") and b"},\r\n{" in body and b"\\u003c" in body
    assert path == "/hook/other" and "X-Twilio-Email-Event-Webhook-Signature" not in unsigned
    assert alone.v3("POST", "/user/webhooks/event/test", {"url": receiver.url, "id": "x"}).status == 404
