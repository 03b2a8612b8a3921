import pytest

from sandbox import rewrite
from sandbox.rewrite import Addresses, Link
from sandbox.smtpapi import Options

HERE = Addresses(click=lambda n: f"http://t/{n}", open="http://t/o", unsubscribe="http://t/u")


def html_message(body, head=b"Content-Type: text/html; charset=utf-8\r\n\r\n"):
    return head + body.encode()


def deliver(raw, **options):
    chosen = Options(**options)
    return rewrite.delivered(raw, chosen, HERE, len(rewrite.find_links(raw, chosen)))


@pytest.mark.parametrize(
    ("source", "expected", "urls"),
    [
        ('<a href="https://a.example/x">', '<a href="http://t/0">', ["https://a.example/x"]),
        (
            "<A class='b' HREF = 'http://a.example' id=c>",
            "<A class='b' HREF = \"http://t/0\" id=c>",
            ["http://a.example"],
        ),
        ('<a href="https://a/?b=1&amp;c=é\'">', '<a href="http://t/0">', ["https://a/?b=1&c=é'"]),
        ('<a title="a > b" href="http://a">', '<a title="a > b" href="http://t/0">', ["http://a"]),
        ('<a\n href="http://a">', '<a\n href="http://t/0">', ["http://a"]),
        (
            '<a href="http://a"><a href="http://a">',
            '<a href="http://t/0"><a href="http://t/1">',
            ["http://a", "http://a"],
        ),
        ('<a clicktracking=off href="http://a">', '<a href="http://a">', []),
        ('<a href="http://a" clicktracking="off">', '<a href="http://a">', []),
        ("<a href='http://a' ClickTracking='OFF' id=x>", "<a href='http://a' id=x>", []),
        ("<a href=http://a>", "<a href=http://a>", []),
        ('<a href="mailto:a@b.example">', '<a href="mailto:a@b.example">', []),
        ('<a href="/local">', '<a href="/local">', []),
        ('<a href="#x" data-href="http://a">', '<a href="#x" data-href="http://a">', []),
        ('<link href="http://a"><img src="http://a">', '<link href="http://a"><img src="http://a">', []),
        ('<!-- <a href="http://a"> -->', '<!-- <a href="http://a"> -->', []),
        ('<abbr href="http://a">', '<abbr href="http://a">', []),
        ('<a href="http://a', '<a href="http://a', []),
    ],
)
def test_html_links(source, expected, urls):
    raw = html_message(source)
    assert deliver(raw, open=False) == html_message(expected)
    assert rewrite.find_links(raw, Options()) == [Link(url, index, "html") for index, url in enumerate(urls)]


def test_click_tracking_off_leaves_links_and_still_takes_the_attribute_out():
    raw = html_message('<a href="http://a"><a href="http://b" clicktracking=off>')
    assert deliver(raw, click=False, open=False) == html_message('<a href="http://a"><a href="http://b">')


def test_text_links_only_when_asked():
    raw = b"Content-Type: text/plain\r\n\r\nSee http://a.example/x?y=1, or (https://b.example).\r\n"
    assert deliver(raw) == raw
    expected = b"Content-Type: text/plain\r\n\r\nSee http://t/0, or (http://t/1).\r\n"
    assert deliver(raw, click_text=True) == expected
    assert rewrite.find_links(raw, Options(click_text=True)) == [
        Link("http://a.example/x?y=1", 0, "text"),
        Link("https://b.example", 1, "text"),
    ]
    assert deliver(raw, click=False, click_text=True) == raw


def test_at_most_a_thousand_links():
    raw = html_message('<a href="http://a">' * 1005)
    assert len(rewrite.find_links(raw, Options())) == 1000
    assert deliver(raw, open=False).count(b'"http://a"') == 5


@pytest.mark.parametrize(
    ("source", "before"), [("<body>x</body></html>", b"<body>x<img"), ("<p>x</p>", b"<p>x</p><img"), ("", b"<img")]
)
def test_the_pixel_stands_at_the_end_of_the_body(source, before):
    assert b"\r\n\r\n" + before + b' src="http://t/o"' in deliver(html_message(source))


def test_the_pixel_may_replace_a_tag_or_be_off():
    assert b"<p><img src=" in deliver(html_message("<p>%here%</p>"), open_tag="%here%")
    assert deliver(html_message("<p>x</p>"), open=False) == html_message("<p>x</p>")


def test_the_unsubscribe_link():
    html = html_message("<body>x</body>")
    assert b'<a href="http://t/u">leave</a></body>' in deliver(
        html, open=False, subscription=True, subscription_html="<% leave %>"
    )
    assert b'<a href="http://t/u">' in deliver(html, subscription=True)
    assert b"http://t/u\r\n" in deliver(b"\r\nplain\r\n", subscription=True)
    assert deliver(b"\r\nsee [u]", subscription=True, subscription_tag="[u]") == b"\r\nsee http://t/u"


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable", "8bit"])
@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1"])
def test_a_part_keeps_its_charset_and_encoding(encoding, charset):
    from email import message_from_bytes
    from email.message import EmailMessage

    source = '<p>Grüße = é</p><a href="http://a.example/é">x</a>\n' + "long line " * 200 + "\n"
    message = EmailMessage()
    message["Subject"] = "x"
    message.set_content("plain")
    message.add_alternative(source, subtype="html", charset=charset, cte=encoding if encoding != "8bit" else "base64")
    raw = message.as_bytes().replace(b"\n", b"\r\n")
    if encoding == "8bit":
        raw = f"Content-Type: text/html; charset={charset}\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{source}".encode(
            charset
        )
    delivered = deliver(raw, open=False)
    before, after = (list(message_from_bytes(one).walk())[-1] for one in (raw, delivered))
    assert after.items() == before.items()
    expected = before.get_payload(decode=True).replace("http://a.example/é".encode(charset), b"http://t/0")
    assert after.get_payload(decode=True) == expected


def test_attachments_stay_as_they_are():
    raw = b'Content-Type: text/html\r\nContent-Disposition: attachment\r\n\r\n<a href="http://a">'
    assert deliver(raw) == raw
    assert rewrite.find_links(raw, Options()) == []
    assert not rewrite.has_pixel(raw, Options())
