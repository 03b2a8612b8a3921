"""The v3 API as a whole: keys, limits, faults, and the description that every call is checked against."""

import time

import pytest
from sandbox_harness import API_KEY, http

from sandbox.description import operations
from sandbox.scopes import NEEDED
from sandbox.server import V3


def errors(answer):
    return [error["message"] for error in answer.json["errors"]]


def test_every_operation_is_described_and_the_other_way_round():
    served = {(route.method, route.path) for room in V3 for route in room.routes}
    assert served == set(operations())
    assert set(NEEDED) <= served
    assert served - set(NEEDED) == {
        ("GET", "/v3/scopes"), ("POST", "/v3/logs"), ("GET", "/v3/logs/{sg_message_id}")
    }  # fmt: skip


def test_scopes(program):
    answer = program.v3("GET", "/scopes")
    assert answer.status == 200
    assert "mail.send" in answer.json["scopes"]


@pytest.mark.parametrize("header", [None, "Basic abc", "Bearer", "Bearer SG.other"])
def test_wrong_key(program, header):
    answer = http("GET", f"{program.url}/v3/scopes", headers={"Authorization": header} if header else {})
    assert answer.status == 401
    assert answer.json["errors"][0]["field"] is None


@pytest.mark.parametrize("operation", sorted(NEEDED))
def test_missing_scope(program, operation):
    method, path = operation
    program.http("PUT", "/sandbox/keys/SG.poor", ["something.else"])
    answer = program.v3(
        method, path.removeprefix("/v3").format(id=1, email="a@b.c", group_id=1, msg_id=1), key="SG.poor"
    )
    assert (answer.status, errors(answer)) == (403, ["access forbidden"])


def test_keys_come_and_go(program):
    program.http("PUT", "/sandbox/keys/SG.new", ["mail.send"])
    assert program.v3("GET", "/scopes", key="SG.new").json == {"scopes": ["mail.send"]}
    program.http("DELETE", "/sandbox/keys/SG.new")
    assert program.v3("GET", "/scopes", key="SG.new").status == 401
    program.http("DELETE", f"/sandbox/keys/{API_KEY}")
    assert program.v3("GET", "/scopes").status == 401
    program.http("POST", "/sandbox/reset")
    assert program.v3("GET", "/scopes").status == 200


def test_what_is_not_there(program):
    assert program.v3("GET", "/nothing").status == 404
    assert program.v3("PUT", "/scopes").status == 405


def test_broken_requests(program):
    for body in (b"{", b"\xff", b'"x"', b"[]", b"{}", b"", b'{"url": 5}', b'{"url": "http://a.b", "colour": "red"}'):
        answer = program.v3("POST", "/user/webhooks/event/settings", raw=body)
        assert answer.status == 400, body
        assert errors(answer)[0]


def test_rate_limit_is_told_and_held(program):
    for remaining in range(5, -1, -1):
        answer = program.v3("GET", "/messages?query=status%3D%22delivered%22")
        assert answer.status == 200
        assert answer.headers["X-RateLimit-Limit"] == "6"
        assert answer.headers["X-RateLimit-Remaining"] == str(remaining)
        assert 0 < int(answer.headers["X-RateLimit-Reset"]) - time.time() <= 60
    answer = program.v3("GET", "/messages/x")
    assert (answer.status, errors(answer)) == (429, ["too many requests"])
    assert answer.headers["X-RateLimit-Remaining"] == "0"
    assert program.v3("GET", "/scopes").headers["X-RateLimit-Limit"] == "600"


def test_faults(program):
    program.http("POST", "/sandbox/faults", {"method": "GET", "path": "/v3/scopes", "times": 2, "status": 503})
    program.http("POST", "/sandbox/faults", {"status": 429, "reset": 7})
    assert program.v3("GET", "/scopes").status == 503
    limited = program.v3("GET", "/asm/groups")
    assert limited.status == 429
    assert 5 < int(limited.headers["X-RateLimit-Reset"]) - time.time() <= 7
    assert [fault["times"] for fault in program.http("GET", "/sandbox/faults").json] == [1]
    assert program.v3("GET", "/scopes").status == 503
    assert program.v3("GET", "/scopes").status == 200


@pytest.mark.parametrize("fault", [{"action": "cut"}, {"action": "hang", "seconds": 0.05}])
@pytest.mark.parametrize("after", [False, True])
def test_no_answer(program, fault, after):
    """A fault can leave the caller without an answer; only with `after` has SendGrid done the work."""
    program.http("POST", "/sandbox/faults", {**fault, "after": after})
    with pytest.raises(OSError):
        program.v3("POST", "/asm/suppressions/global", {"recipient_emails": ["ada@example.org"]})
    listed = program.v3("GET", "/asm/suppressions/global/ada@example.org").json
    assert bool(listed) == after
    assert program.http("GET", "/sandbox/calls").json[0]["status"] is None


def test_calls_are_remembered_without_their_key(program):
    body = {"recipient_emails": ["ada@example.org"]}
    program.v3("POST", "/asm/suppressions/global?x=1", body, headers={"on-behalf-of": "sub"})
    answer = program.http("GET", "/sandbox/calls")
    [call] = answer.json
    del call["time"]
    assert call == {
        "method": "POST", "path": "/v3/asm/suppressions/global", "query": {"x": "1"}, "subuser": "sub", "body": body,
        "status": 201,
    }  # fmt: skip
    assert API_KEY not in answer.text
    program.http("DELETE", "/sandbox/calls")
    assert program.http("GET", "/sandbox/calls").json == []


def test_an_answer_that_is_not_described(program):
    program.http("POST", "/sandbox/faults", {"path": "/v3/asm/groups", "action": "answer", "body": [{"id": "x"}]})
    answer = program.v3("GET", "/asm/groups")
    assert (answer.status, answer.json) == (200, [{"id": "x"}])
    assert program.v3("GET", "/asm/groups").json[0]["id"] == 1042


@pytest.mark.parametrize("fault", [{"colour": "red"}, {"action": "explode"}, {"status": 200}, {"times": "two"}, []])
def test_bad_faults(program, fault):
    assert program.http("POST", "/sandbox/faults", fault).status == 400


@pytest.mark.parametrize(
    ("operation", "status", "body", "deviates"),
    [
        (("GET", "/v3/scopes"), 200, {"scopes": ["a"]}, False),
        (("GET", "/v3/scopes"), 200, {"scopes": "a"}, True),
        (("GET", "/v3/scopes"), 200, {}, True),
        (("GET", "/v3/scopes"), 200, {"scopes": [], "more": 1}, True),
        (("GET", "/v3/scopes"), 200, None, True),
        (("GET", "/v3/scopes"), 204, None, True),
        (("GET", "/v3/scopes"), 403, {"errors": [{"message": "no"}]}, False),
        (("GET", "/v3/scopes"), 403, {"error": "no"}, True),
        (("POST", "/v3/mail/send"), 202, None, False),
        (("POST", "/v3/mail/send"), 202, {}, True),
        (("GET", "/v3/suppression/bounces"), 200, [{"email": "a", "created": "today"}], True),
        (("GET", "/v3/asm/suppressions/global/{email}"), 200, {}, False),
    ],
)
def test_an_answer_that_deviates_is_found(operation, status, body, deviates):
    assert bool(operations()[operation].answer_error(status, body)) == deviates
