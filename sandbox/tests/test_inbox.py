"""The inbox page as a browser sees it, and the links and pixel as a recipient uses them."""

import re
from email.message import EmailMessage
from email.policy import SMTP

import pytest
from sandbox_harness import wait_for

from sandbox.events import READER_IP

AGENT = "Mozilla/5.0 (Test) Browser/1.0"
HTML = """<html><head><title>t</title></head><body><p>Hello</p><script>alert(1)</script>
<a href="https://a.example/x?b=1&amp;c=%C3%A9">one</a><a clicktracking=off href="https://a.example/token">two</a>
<a href="https://a.example/é">three</a></body></html>"""


@pytest.fixture
def message(program, receiver):
    message = program.send(["ada@example.org", "bounce@example.org"], html=HTML, smtpapi={"unique_args": {"k": "v"}})
    receiver.wait(4)
    return program.message(message)


def test_pixel_fires_open_with_the_fetching_client(program, receiver, message):
    answer = program.http("GET", message["recipients"][0]["open_url"], headers={"User-Agent": AGENT})
    assert (answer.status, answer.headers["Content-Type"]) == (200, "image/gif")
    assert "no-store" in answer.headers["Cache-Control"]
    event = receiver.wait(5)[-1]
    assert (event["event"], event["email"]) == ("open", "ada@example.org")
    assert (event["useragent"], event["ip"], event["k"]) == (AGENT, READER_IP, "v")
    assert event["sg_machine_open"] is False
    assert "smtp-id" not in event


def test_address_behind_a_proxy(program, receiver, message):
    headers = {"X-Forwarded-For": "203.0.113.9, 10.0.0.1"}
    program.http("GET", message["recipients"][0]["open_url"], headers=headers)
    assert receiver.wait(5)[-1]["ip"] == "203.0.113.9"


def test_links_redirect_and_fire_click(program, receiver, message):
    first, second = message["recipients"][0]["click_urls"]
    answer = program.http("GET", first, headers={"User-Agent": AGENT})
    assert (answer.status, answer.headers["Location"]) == (302, "https://a.example/x?b=1&c=%C3%A9")
    event = receiver.wait(5)[-1]
    assert (event["event"], event["url"]) == ("click", "https://a.example/x?b=1&c=%C3%A9")
    assert event["url_offset"] == {"index": 0, "type": "html"}
    assert event["useragent"] == AGENT
    assert program.http("GET", second).status == 302
    event = receiver.wait(6)[-1]
    assert (event["url"], event["url_offset"]["index"]) == ("https://a.example/é", 1)


def test_unsubscribe_link(program, receiver, message):
    assert program.http("GET", message["recipients"][0]["unsubscribe_url"]).status == 200
    assert receiver.wait(5)[-1]["event"] == "unsubscribe"


def test_unknown_pixels_and_links(program, receiver, message):
    for path in (
        "/wf/open",
        "/wf/open?upn=x.0",
        f"/wf/open?upn={message['id']}.9",
        f"/ls/click?upn={message['id']}.0.99",
        f"/ls/click?upn={message['id']}.0.x",
        f"/ls/click?upn={message['id']}.0",
    ):
        assert program.http("GET", path).status == 404
    assert len(receiver.events) == 4


def test_the_frame_is_the_delivered_copy_and_harmless(program, message):
    answer = program.http("GET", f"/messages/{message['id']}/0/html")
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("sandbox allow-popups")
    assert "allow-scripts" not in policy and "allow-same-origin" not in policy
    assert "default-src 'none'" in policy and "script-src" not in policy
    assert message["recipients"][0]["open_url"] in answer.text
    assert message["recipients"][0]["click_urls"][0] in answer.text
    assert '<a href="https://a.example/token">' in answer.text
    assert "clicktracking" not in answer.text
    assert '<base target="_blank">' in answer.text
    page = program.http("GET", f"/messages/{message['id']}/0").text
    frame = re.search(r"<iframe [^>]*>", page)[0]
    assert 'sandbox="allow-popups allow-popups-to-escape-sandbox"' in frame
    assert "alert(1)" not in page


def test_what_never_arrived_has_no_pixel(program, message):
    text = program.http("GET", f"/messages/{message['id']}/1/html").text
    assert "/wf/open" not in text and "/ls/click" not in text
    assert "Not delivered" in program.http("GET", f"/messages/{message['id']}/1").text


def test_links_and_pixel_follow_the_settings(program, receiver):
    filters = {
        "clicktrack": {"settings": {"enable": 0, "enable_text": 0}},
        "opentrack": {"settings": {"enable": 0}},
        "subscriptiontrack": {"settings": {"enable": 1, "text/html": "<% leave %>", "text/plain": "leave: <% %>"}},
    }
    message = program.send(["ada@example.org"], html=HTML, smtpapi={"filters": filters})
    assert message["links"] == [] and message["recipients"][0]["open_url"] is None
    text = program.http("GET", f"/messages/{message['id']}/0/html").text
    assert "/wf/open" not in text and "/ls/click" not in text
    assert message["recipients"][0]["unsubscribe_url"] in text
    assert "leave: http" in program.http("GET", f"/messages/{message['id']}/0?view=text").text


def test_the_page_shows_messages_states_and_escapes(program, receiver):
    page = program.http("GET", "/")
    assert "Waiting for the first message" in page.text and "late-bounce@" in page.text
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    message = program.send(["ada@example.org", "bounce@example.org"], subject="<b>Hi</b>")
    receiver.wait(4)
    page = program.http("GET", f"/messages/{message['id']}/1").text
    assert "&lt;b&gt;Hi&lt;/b&gt;" in page and "<b>Hi</b>" not in page
    assert '<span class="badge delivered">' in page and '<span class="badge bounce">' in page
    assert "550 5.1.1 &lt;bounce@example.org&gt;" in page
    for path in ("/static/inbox.css", "/static/inbox.js", "/static/icon.svg"):
        assert program.http("GET", path).status == 200
    assert not re.search(r"(src|href)=\"(https?:)?//", page)


def test_every_event_has_a_button(program, message):
    page = program.http("GET", f"/messages/{message['id']}/0").text
    fired = set(re.findall(r"&#34;event&#34;: &#34;([\w-]+)&#34;", page))
    assert fired == {
        *("processed", "dropped", "deferred", "delivered", "bounce", "blocked", "late-bounce"),
        *(
            "open",
            "machine-open",
            "click",
            "scan",
            "spamreport",
            "unsubscribe",
            "group_unsubscribe",
            "group_resubscribe",
        ),
        *("duplicate", "unordered"),
    }
    assert '"type": "compliance_suspend"' in page


def test_the_page_says_when_the_receiver_refuses(program, receiver):
    receiver.statuses = [403] * 100
    program.send(["ada@example.org"])
    wait_for(lambda: "Webhook refused: 403: no thanks" in program.http("GET", "/").text)
    receiver.statuses = []
    program.http("POST", "/sandbox/webhook/flush")
    assert "Webhook 200" in program.http("GET", "/").text


def test_version_changes_when_something_happens(program, receiver):
    before = program.http("GET", "/inbox/version").text
    assert program.http("GET", "/inbox/version").text == before
    program.send(["ada@example.org"])
    assert program.http("GET", "/inbox/version").text != before


def test_attachments_and_inline_images(program, receiver):
    mail = EmailMessage()
    mail["Subject"] = "With parts"
    mail.set_content("x")
    mail.add_alternative('<img src="cid:logo@x"><img src="cid:none">', subtype="html")
    mail.get_payload()[1].add_related(b"PNG", "image", "png", cid="<logo@x>")
    mail.add_attachment(b"<script>", maintype="text", subtype="html", filename='ü"\n.html')
    message = program.send_raw(mail.as_bytes(policy=SMTP), ["ada@example.org"])
    html = program.http("GET", f"/messages/{message['id']}/0/html").text
    source = re.search(r'<img src="(/messages/[^"]+)"><img src="cid:none">', html)[1]
    image = program.http("GET", source)
    assert (image.body, image.headers["Content-Type"]) == (b"PNG", "image/png")
    attachment = next(one for one in message["attachments"] if one["content_type"] == "text/html")
    answer = program.http("GET", f"/messages/{message['id']}/0/parts/{attachment['part']}")
    assert answer.body.strip() == b"<script>"
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"].startswith("attachment;")
    assert program.http("GET", f"/messages/{message['id']}/0/parts/99").status == 404


def test_buttons_report_the_browser_that_pressed_them(program, receiver, message):
    path = f"/sandbox/messages/{message['id']}/0/events"
    program.http("POST", path, {"event": "open"}, headers={"User-Agent": AGENT})
    assert receiver.wait(5)[-1]["useragent"] == AGENT
    program.http("POST", path, {"event": "open"}, headers={"User-Agent": "python-script"})
    assert receiver.wait(6)[-1]["useragent"].startswith("Mozilla/5.0 (X11")
    program.http("POST", path, {"event": "click", "link": 1, "ip": "192.0.2.1"})
    event = receiver.wait(7)[-1]
    assert (event["url"], event["ip"]) == ("https://a.example/é", "192.0.2.1")
    assert "link" not in event
