import email.message
import email.parser
import email.policy
import json
import smtplib

from odoo.tests import BaseCase, tagged

from ..tools.sending import smtpapi
from .properties import few, given, quick, st

OUR_SETTINGS = smtpapi.unique_args("0d2a8c1e-6f0f-11ee-8c99-0242ac120002", "5f0c9a1e2b7d4f6e9d0c8a1b2c3d4e5f")

# These texts are hard to fold: long words, many blanks, non-ASCII, and characters that JSON or mail headers escape.
texts = st.one_of(
    st.text(max_size=40),
    st.text(alphabet=' a"\\=?_,:\t', max_size=80),
    st.text(alphabet="ab", min_size=60, max_size=400),
    st.text(alphabet="é漢🙂", min_size=10, max_size=60),
    st.just("=?utf-8?q?encoded?="),
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
names = st.sampled_from(["unique_args", "category", "filters", "section", "send_at", "sub", "asm_group_id"]) | texts
settings = st.dictionaries(names, values, max_size=6)


def build(header=None, **headers):
    """Return a message as Odoo builds it, with our header added as `ir.mail_server` adds it."""
    message = email.message.EmailMessage(policy=email.policy.SMTP)
    message["Subject"] = "A long subject, " * 20
    message["To"] = '"Somebody" <somebody@example.org>'
    for name, value in headers.items():
        message[name] = value
    if header is not None:
        message[smtpapi.HEADER] = header
    message.set_content("The text é", charset="utf-8")
    return message


def transmit(message):
    """Return the bytes that smtplib's own code puts on the wire."""
    sent = []
    connection = smtplib.SMTP(local_hostname="localhost", timeout=10)
    connection.ehlo_or_helo_if_needed = lambda: None
    connection.sendmail = lambda sender, recipients, data, *args: sent.append(data)
    connection.send_message(message, "from@example.com", ["to@example.org"])
    return sent[0]


def receive(data):
    """Return the values of the header, unfolded as a receiver unfolds them."""
    message = email.parser.BytesParser(policy=email.policy.compat32).parsebytes(data)
    return ["".join(value.splitlines()) for value in message.get_all(smtpapi.HEADER, [])]


@tagged("post_install", "-at_install")
class TestSmtpapi(BaseCase):
    def assertSurvives(self, header, expected):
        """Assert that the header arrives once and as the JSON it was, folded as SendGrid accepts it."""
        data = transmit(build(header))
        head, _separator, body = data.partition(b"\r\n\r\n")
        self.assertIn(b"The text", body, "no blank line may end the header early")
        lines = head.split(b"\r\n")
        start = next(i for i, line in enumerate(lines) if line.startswith(b"X-SMTPAPI:"))
        end = next(i for i in range(start + 1, len(lines) + 1) if i == len(lines) or not lines[i].startswith(b" "))
        for line in lines[start:end]:
            self.assertTrue(line.strip(), "no line of nothing")
            self.assertLessEqual(len(line), 998)
            self.assertTrue(line.isascii())
            self.assertTrue(len(line) <= smtpapi.LINE_LENGTH or len(line.split()) <= 2, "folded where it can be")
        [value] = receive(data)
        self.assertEqual(json.loads(value), expected)

    @quick
    @given(settings)
    def test_any_header(self, header):
        """Test that any header of a user is on the wire the same JSON, with our ids in it."""
        merged = smtpapi.merge([json.dumps(header)], OUR_SETTINGS)
        args = header.get("unique_args")
        args = {**(args if isinstance(args, dict) else {}), **OUR_SETTINGS["unique_args"]}
        self.assertSurvives(merged, {**header, "unique_args": args})

    @few
    @given(settings)
    def test_header_set_on_a_message(self, header):
        """Test the same with the header of a message built by Odoo, as text with all characters in it."""
        text = json.dumps(header, ensure_ascii=False)
        # Python reads any header so: it refuses line ends, and decodes encoded-words.
        if len(text.splitlines()) == 1 and "=?" not in text:
            message = build(**{"x-smtpapi": text})
            self.assertSurvives(smtpapi.merge(message.get_all(smtpapi.HEADER), {}), header)

    @quick
    @given(settings, settings)
    def test_headers_are_merged(self, first, second):
        """Test that merging several headers loses only settings that a later one overrides."""
        merged = json.loads(smtpapi.merge([json.dumps(first), json.dumps(second)], {}))
        self.assertEqual(set(merged), set(first) | set(second))
        for name, value in merged.items():
            if name in first and name in second and isinstance(first[name], dict) and isinstance(second[name], dict):
                self.assertEqual(set(value), set(first[name]) | set(second[name]))
            else:
                self.assertEqual(value, second[name] if name in second else first[name])

    @quick
    @given(settings)
    def test_merging_again_changes_nothing(self, header):
        """Test that adding our settings twice is the same as once: a message passes two places of ours."""
        once = smtpapi.merge([json.dumps(header)], OUR_SETTINGS)
        self.assertEqual(smtpapi.merge([once], OUR_SETTINGS), once)
        self.assertEqual(smtpapi.merge([once], {}), once)

    def test_python_alone_breaks_it(self):
        """Test that the property above can fail: compact JSON, put on as plain text, does not arrive as JSON."""
        [value] = receive(transmit(build(json.dumps({"unique_args": {"a": "x" * 80}}, separators=(",", ":")))))
        with self.assertRaises(ValueError):
            json.loads(value)

    def test_nothing_but_blanks(self):
        """Test that a text with more blanks than a line holds makes no empty line, and keeps their number."""
        for text in (" " * 200, "a" + " " * 71 + "b", " " * 1000 + "\t" + " " * 1000, "\\" + " " * 200):
            self.assertSurvives(smtpapi.merge([json.dumps({"a": text, text: "b"})], {}), {"a": text, text: "b"})

    def test_any_case(self):
        """Test that a header in any case, and several of them, are found and become one."""
        for names_ in (["X-SMTPAPI"], ["x-smtpapi"], ["X-SmtpApi"], ["X-Smtpapi", "x-SMTPAPI"]):
            with self.subTest(names_):
                message = build()
                for number, name in enumerate(names_):
                    message[name] = json.dumps({f"key{number}": number})
                header = smtpapi.merge(message.get_all(smtpapi.HEADER), OUR_SETTINGS)
                del message[smtpapi.HEADER]
                message[smtpapi.HEADER] = header
                [value] = receive(transmit(message))
                self.assertEqual(
                    json.loads(value), {**{f"key{n}": n for n, _name in enumerate(names_)}, **OUR_SETTINGS}
                )

    def test_longest_line(self):
        """Test that a word that no line can hold is refused: SendGrid takes lines of 1,000 characters."""
        fits = smtpapi.merge([json.dumps({"a": "x" * 900})], OUR_SETTINGS)
        self.assertSurvives(fits, {"a": "x" * 900, **OUR_SETTINGS})
        with self.assertRaises(smtpapi.SmtpapiError):
            smtpapi.merge([json.dumps({"a": "x" * 2000})], OUR_SETTINGS)

    def test_broken_header(self):
        """Test that a header for which SendGrid would drop the mail raises, with the reason."""
        for name, header in {
            "nothing": "",
            "words": "category: sale",
            "a list": "[]",
            "a text": '"x"',
            "null": "null",
            "cut": '{"category": "sale"',
            "two objects": '{"a": 1}{"b": 2}',
            "single quotes": "{'category': 'sale'}",
            "encoded by Python": "=?utf-8?q?=7B=22a=22=3A_1=7D?=",
            "NaN": '{"send_at": NaN}',
            "5,000 digits": '{"send_at": %s}' % ("1" * 5000),
            "nested too deeply": '{"a":' * 100_000 + "1" + "}" * 100_000,
        }.items():
            with self.subTest(name), self.assertRaisesRegex(smtpapi.SmtpapiError, "X-SMTPAPI"):
                smtpapi.merge(["{}", header], OUR_SETTINGS)

    def test_recipients_of_its_own(self):
        """Test that a header that names recipients is refused, wherever it does, and that one with a place for them
        is not.
        """
        for name, header in (
            ("to", {"to": ["ada@example.org"]}),
            ("to", {"to": "Ada <ada@example.org>", "sub": {"-name-": ["Ada"]}}),
            ("bcc", {"filters": {"bcc": {"settings": {"enable": 1, "email": "archive@example.com"}}}}),
            ("bcc", {"filters": {"bcc": {"settings": {"enable": "1", "email": "archive@example.com"}}}}),
        ):
            with self.subTest(header), self.assertRaises(smtpapi.SmtpapiError) as caught:
                smtpapi.merge(['{"category": "sale"}', json.dumps(header), "{}"], OUR_SETTINGS)
            self.assertEqual(caught.exception.reason.parameters, {"header": "X-SMTPAPI", "name": name})
        for header in (
            {"to": []},
            {"to": None},
            {"unique_args": {"to": "ada@example.org"}},
            {"filters": {"bcc": {"settings": {"enable": 0, "email": "archive@example.com"}}}},
            {"filters": {"bcc": {"settings": {"email": "archive@example.com"}}}},
            {"filters": {"bcc": ["x"]}},
            {"filters": "bcc"},
        ):
            with self.subTest(header):
                merged = json.loads(smtpapi.merge([json.dumps(header)], {}))
                self.assertEqual(merged, header)

    def test_folded_header(self):
        """Test that a header that came folded is read unfolded."""
        merged = smtpapi.merge(['{"category":\r\n "sale",\n "a": "b\r\n c"}'], {})
        self.assertEqual(json.loads(merged), {"category": "sale", "a": "b c"})

    def test_unique_args(self):
        """Test that our header has only two opaque ids, and one for a copy without documents."""
        self.assertEqual(smtpapi.unique_args("db", "copy"), {"unique_args": {"odoo_db": "db", "odoo_id": "copy"}})
        self.assertEqual(smtpapi.unique_args("db", None), {"unique_args": {"odoo_db": "db"}})
        self.assertEqual(smtpapi.unique_args("db", ""), {"unique_args": {"odoo_db": "db"}})

    def test_no_plain_text_tracking(self):
        """Test that the links of the text part are not tracked, and no other setting is changed."""
        merged = json.loads(
            smtpapi.merge(['{"filters": {"opentrack": {"settings": {"enable": 1}}}}'], smtpapi.no_plain_text_tracking())
        )
        self.assertEqual(
            merged["filters"],
            {"opentrack": {"settings": {"enable": 1}}, "clicktrack": {"settings": {"enable_text": 0}}},
        )
