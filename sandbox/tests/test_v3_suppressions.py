"""Suppression lists and groups: how an address gets there, how they are read and cleared, and how they act."""

import time
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.suppressions import Suppressions

LISTS = ("bounces", "blocks", "invalid_emails", "spam_reports")
GROUP = 1042


def listed(program, name, **query):
    path = "/asm/suppressions" if name == "groups" else f"/suppression/{name}"
    answer = program.v3("GET", f"{path}?{urlencode(query)}")
    assert answer.status == 200, answer.text
    return answer.json


def emails(program, name, **query):
    return [entry["email"] for entry in listed(program, name, **query)]


def load(program, name, *entries):
    assert program.http("POST", f"/sandbox/suppressions/{name}", list(entries)).status == 201


@pytest.mark.parametrize(
    ("event", "name", "reason"),
    [
        ("bounce", "bounces", "Bounced Address"),
        ("late-bounce", "bounces", "Bounced Address"),
        ("dropped-invalid", "invalid_emails", "Invalid"),
        ("spamreport", "spam_reports", "Spam Reporting Address"),
        ("unsubscribe", "unsubscribes", "Unsubscribed Address"),
        ("blocked", "blocks", None),
        ("open", None, None),
    ],
)
def test_what_an_event_leads_to(program, receiver, event, name, reason):
    message = program.send(["ada@example.org"])
    program.fire(message, "ada@example.org", event, timestamp=1795500000)
    for one in (*LISTS, "unsubscribes"):
        entries = listed(program, one)
        assert [entry["email"] for entry in entries] == (["ada@example.org"] if one == name else [])
        assert all(entry["created"] == 1795500000 for entry in entries)
    receiver.wait(3)
    again = program.send(["ADA@example.org"])
    assert [event["event"] for event in again["recipients"][0]["events"]] == (
        ["dropped"] if reason else ["processed", "delivered"]
    )
    if reason:
        assert receiver.wait(1, "ADA@example.org")[0]["reason"] == reason


def test_a_bounce_keeps_its_reason(program):
    message = program.send(["bounce@example.org"])
    [entry] = listed(program, "bounces")
    [bounce] = [event for event in message["recipients"][0]["events"] if event["event"] == "bounce"]
    assert (entry["reason"], entry["status"]) == (bounce["reason"], bounce["status"])


def test_magic_addresses_have_their_life_whatever_list_they_are_on(program):
    for _ in range(2):
        events = program.send(["bounce@example.org"])["recipients"][0]["events"]
        assert [event["event"] for event in events] == ["processed", "bounce"]


def test_pages_and_filters(program):
    for name in (*LISTS, "unsubscribes"):
        load(program, name, *({"email": f"p{number}@example.org", "created": 100 + number} for number in range(7)))
        assert emails(program, name, limit=3) == [f"p{number}@example.org" for number in (6, 5, 4)]
        assert emails(program, name, limit=3, offset=6) == ["p0@example.org"]
        assert emails(program, name, start_time=102, end_time=103) == ["p3@example.org", "p2@example.org"]
        assert emails(program, name, email="P4") == ["p4@example.org"]
        for query in ("limit=501", "limit=0", "offset=-1", "start_time=yesterday"):
            assert program.v3("GET", f"/suppression/{name}?{query}").status == 400


@pytest.mark.parametrize("name", LISTS)
def test_reading_and_clearing(program, name):
    odd = "o'dd+tag/ä@example.org"
    load(program, name, *({"email": email} for email in ("a@x.org", "b@x.org", "c@x.org", odd)))
    assert [entry["email"] for entry in program.v3("GET", f"/suppression/{name}/A@x.org").json] == ["a@x.org"]
    assert program.v3("GET", f"/suppression/{name}/none@x.org").json == []
    assert len(program.v3("GET", f"/suppression/{name}/{quote(odd, safe='')}").json) == 1
    assert program.v3("DELETE", f"/suppression/{name}/{quote(odd, safe='')}").status == 204
    assert program.v3("DELETE", f"/suppression/{name}", {"emails": ["A@x.org", "nobody@x.org"]}).status == 204
    assert sorted(emails(program, name)) == ["b@x.org", "c@x.org"]
    for body in ({"emails": ["b@x.org"], "delete_all": True}, {}, {"delete_all": False}, None):
        assert program.v3("DELETE", f"/suppression/{name}", body).status == 400
    assert program.v3("DELETE", f"/suppression/{name}", {"delete_all": True}).status == 204
    assert emails(program, name) == []


def test_global_unsubscribes(program):
    assert program.v3("GET", "/asm/suppressions/global/ada@x.org").json == {}
    added = program.v3("POST", "/asm/suppressions/global", {"recipient_emails": ["ada@x.org", "bob@x.org"]})
    assert (added.status, added.json) == (201, {"recipient_emails": ["ada@x.org", "bob@x.org"]})
    assert program.v3("GET", "/asm/suppressions/global/Ada@x.org").json == {"recipient_email": "ada@x.org"}
    assert program.v3("DELETE", "/asm/suppressions/global/ada@x.org").status == 204
    assert emails(program, "unsubscribes") == ["bob@x.org"]


def test_groups(program):
    [first] = program.v3("GET", "/asm/groups").json
    assert first["id"] == GROUP
    made = program.v3("POST", "/asm/groups", {"name": "News", "description": "Of the month"})
    assert made.status == 201
    group = made.json["id"]
    for body in ({"name": "News", "description": "again"}, {"name": "x" * 31, "description": "x"}, {"name": "Only"}):
        assert program.v3("POST", "/asm/groups", body).status == 400
    people = {"recipient_emails": ["Ada@x.org", "bob@x.org"]}
    assert program.v3("POST", f"/asm/groups/{group}/suppressions", people).status == 201
    assert program.v3("GET", f"/asm/groups/{group}").json["unsubscribes"] == 2
    assert program.v3("GET", f"/asm/groups/{group}/suppressions").json == ["ada@x.org", "bob@x.org"]
    left = program.v3("GET", "/asm/suppressions/ada@x.org").json["suppressions"]
    assert {one["id"]: one["suppressed"] for one in left} == {GROUP: False, group: True}
    [entry] = listed(program, "groups", limit=1, offset=1)
    assert (entry["email"], entry["group_name"]) == ("bob@x.org", "News")
    assert program.v3("DELETE", f"/asm/groups/{group}/suppressions/ada@x.org").status == 204
    assert program.v3("GET", f"/asm/groups/{group}/suppressions").json == ["bob@x.org"]
    assert program.v3("GET", "/asm/groups/77").status == 404
    # An address that leaves a group that does not exist leaves everything.
    program.v3("POST", "/asm/groups/77/suppressions", people)
    assert len(emails(program, "unsubscribes")) == 2


def test_groups_whole_or_a_page(program):
    """The groups are answered whole, as described, or a page only; limit and offset hold both ways."""
    load(program, "groups", *({"email": f"p{n}@x.org", "group_id": GROUP} for n in range(1200)))
    everybody = emails(program, "groups")
    assert len(everybody) == 1200
    assert emails(program, "groups", limit=500, offset=900) == everybody[900:]
    assert program.http("PUT", "/sandbox/pages", {"groups": 100}).json == {"lists": 500, "groups": 100}
    assert emails(program, "groups") == everybody[:100]
    assert emails(program, "groups", limit=500, offset=900) == everybody[900:1000]
    assert emails(program, "groups", limit=3, offset=1199) == everybody[1199:]
    assert program.v3("GET", "/asm/groups").json[0]["unsubscribes"] == 1200


def test_short_pages(program):
    """A list's answer can be shorter than asked."""
    load(program, "blocks", *({"email": f"p{n}@x.org"} for n in range(7)))
    program.http("PUT", "/sandbox/pages", {"lists": 3})
    assert len(emails(program, "blocks", limit=500)) == 3
    assert len(emails(program, "blocks", limit=500, offset=6)) == 1
    for body in ({"lists": 0}, {"lists": 501}, {"lists": None}, {"lists": True}, {"groups": "2"}, {"others": 3}):
        assert program.http("PUT", "/sandbox/pages", body).status == 400


def test_leaving_a_group_and_coming_back(program):
    def send():
        message = program.send(["ada@example.org"], smtpapi={"asm_group_id": GROUP})
        return message, message["recipients"][0]["events"][0]["event"]

    message, event = send()
    assert event == "processed"
    program.fire(message, 0, "group_unsubscribe")
    assert emails(program, "groups") == ["ada@example.org"]
    assert send()[1] == "dropped"
    assert program.send(["ada@example.org"])["recipients"][0]["events"][0]["event"] == "processed"
    program.fire(message, 0, "group_resubscribe")
    assert send()[1] == "processed"


def test_fifty_thousand(program):
    began = time.monotonic()
    load(program, "bounces", *({"email": f"p{number}@example.org", "created": number} for number in range(50_000)))
    found = [email for page in range(3) for email in emails(program, "bounces", limit=500, offset=page * 500)]
    assert found == [f"p{49_999 - number}@example.org" for number in range(1500)]
    assert time.monotonic() - began < 60


def test_bad_entries(program):
    assert program.http("POST", "/sandbox/suppressions/elsewhere", []).status == 404
    for body in ([{}], ["x"], {"email": "x"}):
        assert program.http("POST", "/sandbox/suppressions/bounces", body).status == 400


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(("a@x", "A@x", "b@x")), st.booleans(), st.integers(0, 9))))
def test_a_list_is_a_set_of_addresses_newest_first(changes):
    """This holds however entries come and go, and however often the list is read meanwhile."""
    suppressions, expected = Suppressions(), {}
    for email, add, created in changes:
        if add:
            suppressions.add("bounces", email, created=created)
            expected[email.lower()] = created
        else:
            suppressions.remove("bounces", [email])
            expected.pop(email.lower(), None)
        entries = suppressions.newest_first("bounces")
        assert {entry["email"].lower(): entry["created"] for entry in entries} == expected
        assert [entry["created"] for entry in entries] == sorted(expected.values(), reverse=True)
