"""The account's tracking settings, and messages that set none themselves."""

import pytest

HTML = '<p><a href="http://a.example/x">x</a></p>'


def settings(program, name, **changes):
    if changes:
        answer = program.v3("PATCH", f"/tracking_settings/{name}", changes)
    else:
        answer = program.v3("GET", f"/tracking_settings/{name}")
    assert answer.status == 200, answer.text
    return answer.json


def test_of_a_new_account(program):
    shown = program.v3("GET", "/tracking_settings").json["result"]
    assert {one["name"]: one["enabled"] for one in shown} == {"click": True, "open": True, "subscription": False}
    assert settings(program, "click") == {"enabled": True, "enable_text": False}
    assert settings(program, "open") == {"enabled": True}
    assert settings(program, "subscription")["enabled"] is False


@pytest.mark.parametrize("name", ["click", "open", "subscription"])
def test_switches(program, name):
    for enabled in (False, True):
        assert settings(program, name, enabled=enabled)["enabled"] == enabled
        assert settings(program, name)["enabled"] == enabled
        [one] = [one for one in program.v3("GET", "/tracking_settings").json["result"] if one["name"] == name]
        assert one["enabled"] == enabled
    assert program.v3("PATCH", f"/tracking_settings/{name}", {}).json["enabled"] is True
    assert program.v3("PATCH", f"/tracking_settings/{name}", {"enabled": "yes"}).status == 400


def test_a_message_has_the_last_word(program):
    settings(program, "click", enabled=False)
    settings(program, "open", enabled=False)
    silent = program.send(["ada@example.org"], html=HTML)
    assert (silent["links"], silent["recipients"][0]["open_url"]) == ([], None)
    on = {"clicktrack": {"settings": {"enable": 1}}, "opentrack": {"settings": {"enable": 1}}}
    loud = program.send(["ada@example.org"], html=HTML, smtpapi={"filters": on})
    assert len(loud["links"]) == 1 and loud["recipients"][0]["open_url"]


def test_the_unsubscribe_line(program):
    settings(program, "subscription", enabled=True, html_content="<p>Enough? <% Leave us %></p>", landing="Bye")
    assert settings(program, "subscription")["landing"] == "Bye"
    message = program.send(["ada@example.org"], html=HTML)
    [copy] = message["recipients"]
    delivered = program.http("GET", f"/sandbox/messages/{message['id']}/0/raw").text
    assert "Leave us" in delivered
    program.http("GET", copy["unsubscribe_url"])
    assert [one["email"] for one in program.v3("GET", "/suppression/unsubscribes").json] == ["ada@example.org"]
