import base64
import email.policy
import json
from email.message import EmailMessage
from email.parser import BytesParser
from unittest.mock import Mock

from odoo.tests import TransactionCase, tagged
from odoo.tools import formataddr

from ..tools.sending import smtpapi, v3_mail
from .properties import few, given, need_sandbox, quick, st

# What a header can hold: no control characters, no surrogates; and not only blanks, which every parser strips.
words = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=12)
lines = st.lists(words, min_size=1, max_size=5).map(" ".join)
texts = st.lists(lines | st.just(""), max_size=6).map("\n".join)
addresses = st.sampled_from(
    ["ada@example.org", "ADA@example.org", "bob@example.org", "c.d+e@mail.example.com", "Zoë <z@bücher.example>"]
)
mime_types = st.sampled_from(
    ["application/pdf", "image/png", "text/plain", "text/calendar", "application/octet-stream"]
)
files = st.tuples(words.map(lambda name: f"{name}.bin"), st.binary(min_size=1, max_size=60), mime_types)


def compose(text="Hello", html="<p>Hello</p>", attachments=(), **headers):
    """A message as `ir.mail_server` builds it."""
    message = EmailMessage(policy=email.policy.SMTP)
    values = {
        "Message-Id": "<1@example.com>",
        "Subject": "Subject",
        "From": '"Sally" <sally@example.com>',
        "To": "ada@example.org",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    for name, value in values.items():
        if value is not None:
            message[name] = value
    if text is not None:
        message.add_alternative(text, subtype="plain", charset="utf-8")
    if html is not None:
        message.add_alternative(html, subtype="html", charset="utf-8")
    for name, content, mime_type in attachments:
        maintype, subtype = mime_type.split("/", 1)
        message.add_attachment(content, maintype, subtype, filename=name)
    return message


def build(message=None, recipients=("ada@example.org",), **headers):
    return check(v3_mail.build(message or compose(**headers), list(recipients)))


def check(payload):
    """Assert that the vendor's OpenAPI description allows the payload, and return it."""
    need_sandbox()
    from ..sandbox.description import operations  # noqa: PLC0415 (it needs a package that an Odoo may not have)

    assert payload == json.loads(json.dumps(payload)), "nothing else than JSON"
    error = operations()["POST", "/v3/mail/send"].body_error(payload)
    assert error is None, error
    return payload


def get_recipients(payload):
    """The addresses of each personalization: lists of to, cc and bcc."""
    return [
        [[entry["email"] for entry in personalization.get(kind, [])] for kind in ("to", "cc", "bcc")]
        for personalization in payload["personalizations"]
    ]


@tagged("post_install", "-at_install")
class TestV3Mail(TransactionCase):
    def refuse(self, words, *args, **kwargs):
        with self.assertRaises(v3_mail.V3MailError) as caught:
            build(*args, **kwargs)
        self.assertIn(words, self.explain(caught.exception))

    def explain(self, error):
        return self.env["ir.mail_server"]._explain_sendgrid_api_failure(error)

    # ------------------------------------------------------------
    # CONTENT
    # ------------------------------------------------------------

    @given(subject=lines, name=lines, text=texts, html=texts, attachments=st.lists(files, max_size=3))
    @quick
    def test_what_goes_in_comes_out(self, subject, name, text, html, attachments):
        """Test that text, HTML, subject, sender and attachments are those of the message, in their order."""
        message = compose(text, html, attachments, Subject=subject, From=formataddr((name, "sally@example.com")))
        payload = build(message)
        self.assertEqual([content["type"] for content in payload["content"]], ["text/plain", "text/html"])
        for content, expected in zip(payload["content"], (text, html), strict=True):
            self.assertEqual(content["value"].rstrip("\n"), expected.rstrip("\n"))
            self.assertTrue(content["value"])
        self.assertEqual(payload["subject"], message["Subject"])
        self.assertEqual(
            payload["from"], {"email": "sally@example.com", "name": message["From"].addresses[0].display_name}
        )
        self.assertEqual(
            [
                (attachment["filename"], base64.b64decode(attachment["content"]), attachment["type"])
                for attachment in payload.get("attachments", [])
            ],
            attachments,
        )

    def test_shapes(self):
        """Test the messages that are not what Odoo usually builds: each part is somewhere, once."""
        for text, html, types in (
            ("plain", None, ["text/plain"]),
            (None, "<p>html</p>", ["text/html"]),
            ("", "", ["text/plain", "text/html"]),
        ):
            with self.subTest(text=text, html=html):
                payload = build(compose(text, html))
                self.assertEqual([content["type"] for content in payload["content"]], types)
                self.assertTrue(all(content["value"] for content in payload["content"]), "an empty one is refused")

        empty = EmailMessage(policy=email.policy.SMTP)
        empty["From"] = "sally@example.com"
        self.assertEqual(build(empty)["content"], [{"type": "text/plain", "value": " "}])
        self.assertEqual(build(empty)["subject"], " ", "an empty one is refused")

    def test_order_of_contents(self):
        """Test that plain text comes first, wherever it stands, and an invitation last."""
        message = compose(None, "<p>Hi</p>")
        message.add_alternative("BEGIN:VCALENDAR\n", subtype="calendar", params={"method": "REQUEST"})
        message.add_alternative("<p>AMP</p>", subtype="x-amp-html")
        message.add_alternative("Hi", subtype="plain")
        self.assertEqual(
            [content["type"] for content in build(message)["content"]],
            ["text/plain", "text/x-amp-html", "text/html", "text/calendar; method=REQUEST"],
        )

    def test_inline_image(self):
        """Test that an image of the HTML is inline and keeps its id, and that what else is there is attached."""
        message = compose(html='<img src="cid:logo%40example.com">')
        message.get_body(("html",)).add_related(b"png", "image", "png", cid="<logo@example.com>", filename="logo.png")
        message.add_attachment(b"pdf", "application", "pdf", filename="offer.pdf")
        message.add_attachment("more text", disposition="inline")
        payload = build(message)
        self.assertEqual([content["type"] for content in payload["content"]], ["text/plain", "text/html"])
        inline, offer, more = payload["attachments"]
        self.assertEqual(
            inline,
            {
                "content": base64.b64encode(b"png").decode(),
                "type": "image/png",
                "filename": "logo.png",
                "disposition": "inline",
                "content_id": "logo@example.com",
            },
        )
        self.assertEqual((offer["filename"], offer["disposition"]), ("offer.pdf", "attachment"))
        self.assertEqual(
            (more["filename"], more["disposition"], more["type"]),
            ("attachment.txt", "inline", "text/plain; charset=utf-8"),
        )

    def test_parameters_of_the_type(self):
        """Test that attachments and contents keep the parameters of their types, whatever these hold."""
        for kind, expected in (
            ("text/calendar; method=REQUEST; charset=utf-8", "text/calendar; method=REQUEST; charset=utf-8"),
            ('Text/Calendar; METHOD="CANCEL"; name=x.ics', "text/calendar; method=CANCEL"),
            ("text/calendar;method=REQUEST;component=VEVENT", "text/calendar; method=REQUEST; component=VEVENT"),
            ("application/pdf", "application/pdf"),
            ('application/x-y; a="b c; \\"d\\" \\\\ e"', 'application/x-y; a="b c; \\"d\\" \\\\ e"'),
            ("application/x-y; title*=utf-8''Gr%C3%BC%C3%9Fe", "application/x-y; title*=utf-8''Gr%C3%BC%C3%9Fe"),
        ):
            with self.subTest(kind):
                payload = build(compose(attachments=[("file.bin", b"x", kind)]))
                self.assertEqual(payload["attachments"][0]["type"], expected)
                again = EmailMessage()
                again["Content-Type"] = expected
                [part] = compose(attachments=[("file.bin", b"x", kind)]).iter_attachments()
                parameters = {name.lower(): value for name, value in part["Content-Type"].params.items()}
                parameters.pop("name", None)
                self.assertEqual(dict(again["Content-Type"].params), parameters)

        message = compose()
        message.add_alternative("BEGIN:VCALENDAR\n", subtype="calendar", params={"method": "REQUEST"})
        self.assertEqual(
            [content["type"] for content in build(message)["content"]],
            ["text/plain", "text/html", "text/calendar; method=REQUEST"],
        )

    def test_message_in_the_message(self):
        """Test that an attached e-mail goes as one file, whole."""
        attached = compose(attachments=[("é.txt", b"x", "text/plain")], Subject="Ünside").as_bytes()
        message = compose()
        message.add_attachment(BytesParser().parsebytes(attached), filename="inside.eml")
        payload = build(message)
        [attachment] = payload["attachments"]
        self.assertEqual((attachment["type"], attachment["filename"]), ("message/rfc822", "inside.eml"))
        inside = BytesParser(policy=email.policy.default).parsebytes(base64.b64decode(attachment["content"]))
        self.assertEqual(inside["Subject"], "Ünside")
        self.assertEqual([part.get_filename() for part in inside.iter_attachments()], ["é.txt"])
        self.assertEqual(len(payload["content"]), 2)

    def test_charsets(self):
        """Test texts in another charset, in one that nobody knows, and with bytes that do not belong to it."""
        raw = b"From: a@example.com\r\nContent-Type: text/plain; charset=%s\r\n\r\nZo\xeb\r\n"
        for charset, expected in ((b"iso-8859-1", "Zoë\n"), (b"klingon", "Zo\ufffd\n"), (b"utf-8", "Zo\ufffd\n")):
            message = BytesParser(policy=email.policy.SMTP).parsebytes(raw % charset)
            self.assertEqual(build(message)["content"], [{"type": "text/plain", "value": expected}])

    def test_a_text_that_looks_like_a_key(self):
        """Test that the text is sent that the package's helper refuses."""
        self.assertEqual(build(compose("SG.abc.def is no key"))["content"][0]["value"], "SG.abc.def is no key\n")

    # ------------------------------------------------------------
    # RECIPIENTS
    # ------------------------------------------------------------

    @given(
        to=st.lists(addresses, max_size=3),
        cc=st.lists(addresses, max_size=3),
        recipients=st.lists(
            st.sampled_from(
                [
                    "ada@example.org",
                    "Bob@example.org",
                    "c.d+e@mail.example.com",
                    "z@xn--bcher-kva.example",
                    "x@example.net",
                ]
            ),
            min_size=1,
            max_size=7,
        ),
        listed=st.booleans(),
    )
    @quick
    def test_the_envelope_decides(self, to, cc, recipients, listed):
        """Test that all of the envelope gets it, each once, and nobody else; shown is whom the headers show."""
        payload = build(compose(To=to if listed else ", ".join(to), Cc=cc or None), recipients)
        found = get_recipients(payload)
        everybody = [address.lower() for kinds in found for kind in kinds for address in kind]
        self.assertEqual(sorted(everybody), sorted({address.lower() for address in recipients}))
        keys = {"Zoë <z@bücher.example>": "z@xn--bcher-kva.example"}
        to, cc = ({keys.get(address, address).lower() for address in shown} for shown in (to, cc))
        for tos, ccs, bccs in found:
            self.assertTrue(tos, "the API refuses a message without")
            self.assertFalse({address.lower() for address in bccs} & (to | cc))
            if {address.lower() for address in tos} & (to | cc):
                self.assertEqual(len(found), 1)
                self.assertLessEqual({address.lower() for address in tos}, to if to & set(everybody) else cc)
            else:
                self.assertEqual((len(tos), ccs, bccs), (1, [], []), "who is shown nowhere is shown to nobody")

    def test_who_is_shown(self):
        """Test To, Cc and hidden recipients, and a message that lacks one or more of them."""
        headers = {"To": '"Ada" <ada@example.org>, gone@example.org', "Cc": "Bob <BOB@example.org>"}
        payload = build(recipients=["ada@example.org", "bob@example.org", "eve@example.org"], **headers)
        self.assertEqual(
            payload["personalizations"],
            [
                {
                    "to": [{"email": "ada@example.org", "name": "Ada"}],
                    "cc": [{"email": "bob@example.org", "name": "Bob"}],
                    "bcc": [{"email": "eve@example.org"}],
                }
            ],
        )
        payload = build(recipients=["bob@example.org", "eve@example.org"], **headers)
        self.assertEqual(get_recipients(payload), [[["bob@example.org"], [], ["eve@example.org"]]])
        payload = build(recipients=["eve@example.org", "mallory@example.org"], **headers)
        self.assertEqual(get_recipients(payload), [[["eve@example.org"], [], []], [["mallory@example.org"], [], []]])

    def test_name_that_is_an_address(self):
        """Test that an address in somebody's name is no recipient whom the header shows."""
        payload = build(
            recipients=["ada@example.org", "bob@example.org", "eve@example.org"],
            To='"bob@example.org, eve@example.org" <ada@example.org>',
            Cc="Bob <bob@example.org>",
        )
        self.assertEqual(get_recipients(payload), [[["ada@example.org"], ["bob@example.org"], ["eve@example.org"]]])

    def test_broken_header(self):
        """Test that a To that no parser understands still makes its recipient a To."""
        payload = build(recipients=["ada@example.org"], To="Ada [Sales; ada@example.org")
        self.assertEqual(get_recipients(payload), [[["ada@example.org"], [], []]])

    def test_sender(self):
        """Test that the domain is made ASCII, and that what cannot be is refused with the reason."""
        self.assertEqual(
            build(From="Zoë <zoe@bücher.example>")["from"], {"email": "zoe@xn--bcher-kva.example", "name": "Zoë"}
        )
        self.refuse("zoë@example.com", From="zoë@example.com")
        self.refuse("no sender", From="")
        self.refuse("no recipient", recipients=[])

    def test_replies(self):
        """Test that one reply address and several go by different fields, each address once."""
        self.assertEqual(build(Reply_To="Ünal <a@example.com>")["reply_to"], {"email": "a@example.com", "name": "Ünal"})
        payload = build(Reply_To="a@example.com, B <b@example.com>, A@example.com")
        self.assertEqual(
            payload["reply_to_list"], [{"email": "a@example.com"}, {"email": "b@example.com", "name": "B"}]
        )
        self.assertNotIn("reply_to", payload)
        self.assertFalse({"reply_to", "reply_to_list"} & build().keys())

    # ------------------------------------------------------------
    # HEADERS
    # ------------------------------------------------------------

    def test_headers(self):
        """Test that Odoo's headers go along, and none that the payload says elsewhere."""
        url = f"https://example.com/{'x' * 300}"
        references = " ".join(f"<{number}-{'r' * 40}@example.com>" for number in range(20))
        kept = {
            "Message-Id": "<1@example.com>",
            "References": references,
            "In-Reply-To": "<0@example.com>",
            "X-Odoo-Objects": "crm.lead-7",
            "List-Unsubscribe": f"<{url}>",
            "X-Name": "Zoë",
        }
        message = compose(
            attachments=[("a.pdf", b"x", "application/pdf")],
            **kept,
            Cc="bob@example.org",
            Reply_To="a@b.de",
            Return_Path="bounce@example.com",
        )
        message[smtpapi.HEADER] = smtpapi.merge([], smtpapi.unique_args("db", "id"))
        headers = build(message)["headers"]
        self.assertEqual(headers.pop("X-Name"), "=?utf-8?q?Zo=C3=AB?=")
        del kept["X-Name"]
        self.assertEqual(headers, kept)

    def test_a_header_twice(self):
        message = compose(X_Twice="first")
        message["x-twice"] = "second"
        self.assertEqual(build(message)["headers"], {"Message-Id": "<1@example.com>", "X-Twice": "first"})

    def test_forbidden_headers(self):
        for name in ("X-SG-ID", "x-sg-eid", "Received", "DKIM-Signature"):
            self.refuse(name, **{name: "x"})

    # ------------------------------------------------------------
    # SETTINGS
    # ------------------------------------------------------------

    def settings(self, settings, **kwargs):
        message = compose()
        message[smtpapi.HEADER] = smtpapi.merge([], settings)
        payload = check(v3_mail.build(message, ["ada@example.org"], **kwargs))
        known = build()
        return {key: value for key, value in payload.items() if key not in known}

    def test_settings(self):
        """Test that what the X-SMTPAPI header says is said by the payload."""
        self.assertEqual(
            self.settings(
                {
                    "unique_args": {"odoo_db": "a", "odoo_id": "b", "n": 1, "none": None},
                    "category": ["sale", "é", "sale"],
                    "asm_group_id": 3,
                    "asm_groups_to_display": [3, "4"],
                    "send_at": "1795500000",
                    "ip_pool": "main",
                    "filters": {
                        "clicktrack": {"settings": {"enable": 1, "enable_text": 0}},
                        "opentrack": {"settings": {"enable": "0"}},
                        "subscriptiontrack": {
                            "settings": {"enable": 1, "text/html": "<% x %>", "text/plain": "<% %>", "replace": "[u]"}
                        },
                        "ganalytics": {"settings": {"enable": True, "utm_source": "odoo"}},
                        "bypass_list_management": {"settings": {"enable": 1}},
                        "footer": {"settings": {"enable": 1, "text/plain": "t", "text/html": "h"}},
                        "spamcheck": {"settings": {"enable": 0}},
                    },
                }
            ),
            {
                "custom_args": {"odoo_db": "a", "odoo_id": "b", "n": "1", "none": "null"},
                "categories": ["sale", "é"],
                "asm": {"group_id": 3, "groups_to_display": [3, 4]},
                "send_at": 1795500000,
                "ip_pool_name": "main",
                "tracking_settings": {
                    "click_tracking": {"enable": True, "enable_text": False},
                    "open_tracking": {"enable": False},
                    "subscription_tracking": {
                        "enable": True,
                        "text": "<% %>",
                        "html": "<% x %>",
                        "substitution_tag": "[u]",
                    },
                    "ganalytics": {"enable": True, "utm_source": "odoo"},
                },
                "mail_settings": {
                    "bypass_list_management": {"enable": True},
                    "footer": {"enable": True, "text": "t", "html": "h"},
                },
            },
        )
        self.assertEqual(self.settings({"category": "one"}), {"categories": ["one"]})
        self.assertEqual(self.settings({}), {})

    def test_clicks_as_the_account_has_it(self):
        """Test that the account is asked only where the message leaves the decision to it: the API wants it said."""
        ask = Mock(return_value=True)
        self.assertEqual(
            self.settings({"filters": {"opentrack": {"settings": {"enable": 1}}}}, is_click_tracked=ask).keys(),
            {"tracking_settings"},
        )
        ask.assert_not_called()
        for enabled in (True, False):
            settings = self.settings(smtpapi.no_plain_text_tracking(), is_click_tracked=lambda enabled=enabled: enabled)
            self.assertEqual(
                settings["tracking_settings"], {"click_tracking": {"enable": enabled, "enable_text": False}}
            )

    def test_settings_that_the_api_has_not(self):
        """Test that what would be lost is refused instead."""
        for settings, words in (
            ({"sub": {"%name%": ["Ada"]}}, "sub"),
            ({"to": ["ada@example.org"]}, "to"),
            ({"filters": {"gravatar": {"settings": {"enable": 1}}}}, "gravatar"),
            ({"filters": {"opentrack": {"settings": {"replace": "x"}}}}, "opentrack"),
            ({"filters": []}, None),
            ({"filters": ["x"]}, "filters"),
            ({"unique_args": "x"}, "unique_args"),
            ({"asm_group_id": "x"}, "asm_group_id"),
            ({"send_at": [1]}, "send_at"),
            ({"ip_pool": "x"}, "IP pool"),
            ({"ip_pool": "x" * 65}, "IP pool"),
            ({"asm_group_id": 1, "asm_groups_to_display": 1}, "asm_groups_to_display"),
            ({"asm_group_id": 1, "asm_groups_to_display": list(range(26))}, "unsubscribe groups to choose from: 26"),
            ({"filters": {"ganalytics": {"settings": {"enable": 1, "utm_x": "y"}}}}, "utm_x"),
        ):
            with self.subTest(settings):
                if words is None:
                    self.settings(settings)
                    continue
                with self.assertRaises(v3_mail.V3MailError) as caught:
                    self.settings(settings)
                self.assertIn(words, self.explain(caught.exception))
        self.refuse("not JSON", compose(X_SMTPAPI="{"))

    @given(
        st.dictionaries(
            st.sampled_from(["unique_args", "category", "filters", "asm_group_id", "send_at", "ip_pool", "to", "x"]),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | words,
                lambda inner: (
                    st.lists(inner, max_size=3)
                    | st.dictionaries(
                        st.sampled_from(["clicktrack", "opentrack", "footer", "settings", "enable"]), inner
                    )
                ),
                max_leaves=8,
            ),
        )
    )
    @few
    def test_any_settings(self, settings):
        """Test that any header is taken or refused with the reason, and nothing else happens."""
        try:
            json.dumps(self.settings(settings))
        except v3_mail.V3MailError as error:
            self.assertRegex(self.explain(error), r"\.$")

    # ------------------------------------------------------------
    # LIMITS
    # ------------------------------------------------------------

    def test_limits(self):
        """Test that the last that fits is built and the first that does not is refused, each with its reason."""
        everybody = [f"somebody{number}@example.org" for number in range(1001)]
        self.assertEqual(len(build(recipients=everybody[:1000])["personalizations"]), 1000)
        self.refuse("too many recipients: 1001", recipients=everybody)

        def args(length):
            return compose(X_SMTPAPI=json.dumps({"unique_args": {"a": "x" * length}}))

        self.assertTrue(build(args(10_000 - 10))["custom_args"])
        self.refuse("unique_args", args(10_000 - 9))

        def categories(*names):
            return compose(X_SMTPAPI=json.dumps({"category": list(names)}))

        self.assertEqual(len(build(categories(*"abcdefghij"))["categories"]), 10)
        self.refuse("too many categories: 11", categories(*"abcdefghijk"))
        self.assertTrue(build(categories("é" * 255)))
        self.refuse("more than 255", categories("é" * 256))

        self.refuse("“empty.txt” is empty", compose(attachments=[("empty.txt", b"", "text/plain")]))
        megabytes = 1024 * 1024
        self.assertTrue(build(compose(attachments=[("a.bin", bytes(22 * megabytes), "application/pdf")])))
        self.refuse("too large", compose(attachments=[("a.bin", bytes(23 * megabytes), "application/pdf")]))
