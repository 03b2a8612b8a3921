import base64
import hashlib
import json

from odoo.tests import TransactionCase, tagged

from ..tools.events.event import Event
from ..tools.events.parsing import BatchError, parse_batch
from .properties import given, quick, st
from .simulator import KINDS, Relayed, account_event, async_bounce, sample, sample_names, to_wire

NOW = 1_795_500_000
GOOD = {"email": "ada@example.org", "event": "delivered", "timestamp": NOW}

numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
# Texts with characters that no text of a database can hold, and others that come close.
odd_texts = st.text(alphabet="a\x00\ud800\udfff\ufffd\n\U0001f642 ", max_size=8)
# {name on the wire: attribute of `Event`} of all that an event may say besides name, address and time.
SIDE_FIELDS = {
    "sg_event_id": "sg_event_id",
    "sg_message_id": "sg_message_id",
    "smtp-id": "smtp_id",
    "odoo_db": "odoo_db",
    "odoo_id": "odoo_id",
    "reason": "reason",
    "response": "response",
    "status": "smtp_status",
    "attempt": "attempt",
    "type": "bounce_type",
    "bounce_classification": "bounce_classification",
    "url": "url",
    "url_offset": "url_offset",
    "ip": "ip",
    "useragent": "user_agent",
    "sg_machine_open": "sg_machine_open",
    "asm_group_id": "asm_group_id",
}
FIELDS = ["email", "event", "timestamp", *SIDE_FIELDS, "category"]
# The fields that a kind of event does not have: the matrix of SendGrid's docs, schema and captures, turned round.
OTHERS_OF_KIND = {
    "processed": "reason response status attempt type bounce_classification url url_offset ip useragent "
    "sg_machine_open",
    "dropped": "response attempt type bounce_classification url url_offset ip useragent sg_machine_open",
    "deferred": "status type bounce_classification url url_offset useragent sg_machine_open",
    "delivered": "reason status attempt type bounce_classification url url_offset useragent sg_machine_open",
    "bounce": "response attempt url url_offset useragent sg_machine_open",
    "open": "reason response status attempt type bounce_classification url_offset",
    "click": "reason response status attempt type bounce_classification sg_machine_open",
    "spamreport": "reason response status attempt type bounce_classification url url_offset ip useragent "
    "sg_machine_open asm_group_id",
    "unsubscribe": "reason response status attempt type bounce_classification url url_offset sg_machine_open "
    "asm_group_id",
    "group_unsubscribe": "reason response status attempt type bounce_classification url_offset sg_machine_open",
    "group_resubscribe": "reason response status attempt type bounce_classification url_offset sg_machine_open",
    "account_status_change": "email reason response status attempt bounce_classification url url_offset ip useragent "
    "sg_machine_open asm_group_id",
}
# Objects that look like events, with fields of any type in them.
half_events = st.builds(
    lambda base, fields: {**base, **fields},
    st.sampled_from([{}, GOOD]),
    st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=6),
)


def parse(*elements):
    return parse_batch(json.dumps(elements).encode())


@tagged("post_install", "-at_install")
class TestParsing(TransactionCase):
    def assertRejected(self, body, neighbours=2):
        """Assert that the element in the middle of the body is rejected with a reason, and its neighbours land."""
        events, rejected = parse_batch(body)
        self.assertEqual([event.recipient for event in events], [f"n{i}@example.org" for i in range(neighbours)])
        self.assertEqual([element.index for element in rejected], [1])
        self.assertTrue(rejected[0].reason)
        self.assertLess(len(rejected[0].reason), 200, "a reason is a code, not the data")
        words = self._put_into_words(rejected[0].reason, self.env["sendgrid.event.batch"]._get_rejection_messages())
        self.assertRegex(words, r"^(It|Its) .*\.$")
        self.assertLess(len(words), 200, "a reason is a sentence, not the data")

    def _put_into_words(self, reason, messages):
        return self.env["sendgrid.event.batch"]._put_into_words(reason, messages)

    def _around(self, element):
        """The body of a POST in which ``element`` (JSON as bytes) stands between two good events."""
        neighbours = [json.dumps({**GOOD, "email": f"n{i}@example.org"}).encode() for i in range(2)]
        return b"[%s,\r\n%s,\r\n%s]\r\n" % (neighbours[0], element, neighbours[1])

    # ------------------------------------------------------------
    # PROPERTIES
    # ------------------------------------------------------------

    @quick
    @given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
    def test_any_bytes(self, body):
        """Test that bytes that nobody sent on purpose give a BatchError with its reason, and nothing else."""
        try:
            parse_batch(body)
        except BatchError as error:
            self.assertTrue(str(error))

    @quick
    @given(st.text(alphabet='[]{},:"\\ \n0eE-.tnu', max_size=60))
    def test_nearly_json(self, text):
        """Test the same for texts that are nearly JSON, also where the list is read element by element."""
        deep = "[" * 20_000
        for body in (text, f"[{text}]", f"[{deep},{text}]", f"[{text},{deep}{']' * 20_000}]"):
            try:
                parse_batch(body.encode())
            except BatchError as error:
                self.assertTrue(str(error))

    @quick
    @given(st.lists(st.just(GOOD) | json_values | half_events, max_size=8))
    def test_every_element_lands_or_is_rejected(self, elements):
        """Test that each element of any list is an event or rejected with a reason, and good ones land."""
        events, rejected = parse(*elements)
        self.assertEqual(len(events) + len(rejected), len(elements))
        self.assertEqual(sorted({r.index for r in rejected}), [r.index for r in rejected])
        self.assertFalse([r for r in rejected if elements[r.index] == GOOD])
        self.assertTrue(all(r.reason for r in rejected))
        landed = [element for index, element in enumerate(elements) if index not in {r.index for r in rejected}]
        names = [str(element["event"]).replace("\x00", "\ufffd").strip() for element in landed]
        self.assertEqual([event.event for event in events], names)

    @quick
    @given(
        st.sampled_from(sorted(KINDS)),
        st.dictionaries(
            st.sampled_from(sorted(SIDE_FIELDS)) | st.text(max_size=8), json_values | odd_texts, max_size=10
        ),
    )
    def test_nothing_else_costs_an_event(self, kind, odd):
        """Test that an event with name, address and time lands with its good fields, whatever its others are."""
        good = Relayed(["ada@example.org"], {"odoo_db": "x", "odoo_id": "y"}, "<1@example.com>").event(kind)
        odd = {key: value for key, value in odd.items() if key not in ("event", "email", "timestamp")}
        [expected] = parse(good)[0]
        [event], rejected = parse({**good, **odd})
        self.assertFalse(rejected)
        unread = event.unread.split(",") if event.unread else []
        self.assertLessEqual(set(unread), set(odd))
        for key, attribute in SIDE_FIELDS.items():
            if key not in odd:
                self.assertEqual(getattr(event, attribute), getattr(expected, attribute), key)
            elif key in unread:
                self.assertFalse(getattr(event, attribute), key)
        for name in ("event", "recipient", "timestamp"):
            self.assertEqual(getattr(event, name), getattr(expected, name))
        for text in filter(None, (getattr(event, attribute) for attribute in SIDE_FIELDS.values())):
            self.assertNotRegex(str(text), "[\x00\ud800-\udfff]")

    @quick
    @given(json_values.filter(lambda value: not isinstance(value, list)))
    def test_no_list(self, value):
        """Test that JSON that is no list is not a batch."""
        with self.assertRaises(BatchError):
            parse_batch(json.dumps(value).encode())

    @quick
    @given(st.lists(st.sampled_from(sorted(KINDS)), max_size=6), st.booleans())
    def test_wire_form(self, kinds, marked):
        """Test that the vendor's wire form and Python's own, with and without a byte order mark, say the same."""
        message = Relayed(["ada@example.org"], {"odoo_db": "x", "odoo_id": "y"}, "<1@example.com>")
        events = [message.event(kind) for kind in kinds]
        said, rejected = parse_batch(b"\xef\xbb\xbf" * marked + to_wire(events))
        self.assertFalse(rejected)
        self.assertEqual((said, []), parse(*events))
        self.assertEqual([event.event for event in said], [event["event"] for event in events])
        self.assertEqual({event.message_key for event in said}, {message.key} if said else set())

    # ------------------------------------------------------------
    # WHAT IS UNDERSTOOD
    # ------------------------------------------------------------

    def test_samples(self):
        """Test that every sample is understood, and loses nothing that we keep."""
        self.assertEqual(len(sample_names()), 17)
        for name in sample_names():
            with self.subTest(name):
                [raw] = sample(name)
                [event], rejected = parse_batch(to_wire([raw]))
                self.assertFalse(rejected)
                self.assertEqual(event.event, raw["event"])
                self.assertEqual(event.timestamp, raw["timestamp"])
                self.assertEqual(event.recipient, raw.get("email", ""))
                self.assertEqual(event.smtp_id, raw.get("smtp-id", ""))
                self.assertEqual(event.odoo_db, raw.get("odoo_db", ""))
                self.assertEqual(event.reason, raw.get("reason", ""))
                self.assertEqual(event.response, raw.get("response", "").strip())
                self.assertEqual(event.url, raw.get("url", ""))
                self.assertEqual(event.sg_machine_open, raw.get("sg_machine_open", False))
                self.assertEqual(event.asm_group_id, raw.get("asm_group_id"))
                self.assertEqual(event.attempt, int(raw["attempt"]) if "attempt" in raw else None)

    def test_fields(self):
        """Test the spellings that were seen of a field."""
        for given_, attribute, expected in (
            ({"timestamp": str(NOW)}, "timestamp", NOW),
            ({"timestamp": NOW * 1000 + 123}, "timestamp", NOW),
            ({"timestamp": float(NOW)}, "timestamp", NOW),
            ({"timestamp": NOW + 0.999}, "timestamp", NOW),
            ({"timestamp": f"{NOW}.41447"}, "timestamp", NOW),
            ({"timestamp": f" {NOW}\n"}, "timestamp", NOW),
            ({"timestamp": f"+{NOW}."}, "timestamp", NOW),
            ({"timestamp": "1.7955e9"}, "timestamp", NOW),
            ({"timestamp": "1.7955E+09"}, "timestamp", NOW),
            ({"timestamp": f"{NOW}123"}, "timestamp", NOW),
            ({"timestamp": f"{NOW}123.9"}, "timestamp", NOW),
            ({"timestamp": NOW * 1000 + 123.9}, "timestamp", NOW),
            ({"timestamp": NOW * 10**6 + 123_456}, "timestamp", NOW),
            ({"timestamp": f"{NOW * 10**9 + 999_999_999}"}, "timestamp", NOW),
            ({"email": " Ada@Example.ORG "}, "recipient", "ada@example.org"),
            ({"event": "deferred", "attempt": "0"}, "attempt", 0),
            ({"event": "deferred", "attempt": 3}, "attempt", 3),
            ({"event": "deferred", "attempt": ""}, "attempt", None),
            ({"event": "deferred", "attempt": None}, "attempt", None),
            ({"event": "deferred", "reason": "busy"}, "reason", "busy"),
            ({"event": "bounce", "status": 550}, "smtp_status", "550"),
            ({"event": "open", "sg_machine_open": "true"}, "sg_machine_open", True),
            ({"event": "open", "sg_machine_open": "false"}, "sg_machine_open", False),
            ({"event": "open", "sg_machine_open": None}, "sg_machine_open", False),
            ({"event": "click", "url_offset": {"index": 2, "type": "html"}}, "url_offset", "html:2"),
            ({"event": "click", "url_offset": {"index": "2", "type": "header"}}, "url_offset", "header:2"),
            ({"event": "click", "url_offset": 4}, "url_offset", ":4"),
            ({"sg_message_id": " abc.recvd-1.0"}, "message_key", "abc"),
            ({"sg_message_id": "abc"}, "message_key", "abc"),
            ({"sg_message_id": ""}, "message_key", ""),
            ({"sg_message_id": "filter0093p1las1.9128.5C6"}, "message_key", ""),
            ({"odoo_id": 12}, "odoo_id", ""),
            ({"odoo_id": ["x"]}, "odoo_id", ""),
            ({"odoo_id": "x" * 1000}, "odoo_id", ""),
            ({"odoo_db": "\x00"}, "odoo_db", ""),
            ({"event": "bounce", "type": "blocked"}, "bounce_type", "blocked"),
            ({"event": "bounce", "type": "Blocked"}, "bounce_type", "blocked"),
            ({"event": "bounce", "type": " EXPIRED "}, "bounce_type", "expired"),
            ({"event": "bounce", "type": "Bounced"}, "bounce_type", "bounce"),
            ({"event": "account_status_change", "type": "Compliance_Ban"}, "bounce_type", "compliance_ban"),
            ({"category": [[["x"]]], "pool": 3, "unknown": {"a": []}}, "event", "delivered"),
            ({"category": "May"}, "event", "delivered"),
            ({"category": None}, "event", "delivered"),
            ({"category": {}}, "event", "delivered"),
            ({"reseller_id": 123456789012345678901234567890}, "event", "delivered"),
        ):
            with self.subTest(given_):
                [event], rejected = parse({**GOOD, **given_})
                self.assertFalse(rejected)
                self.assertEqual(getattr(event, attribute), expected)
                self.assertFalse(event.unread)

    def test_custom_arguments(self):
        """Test that a custom argument with the name of a field is not taken for it, of whatever type it is."""
        for value in ("2nd reminder", "7", 7, -1, True, ["x"], {"index": 1}, "x" * 1_000_000):
            for kind, others in OTHERS_OF_KIND.items():
                message = Relayed(["ada@example.org"], {"odoo_db": "x", "odoo_id": "y"}, "<1@example.com>")
                raw = message.event(kind, timestamp=NOW)
                with self.subTest(kind=kind, value=str(value)[:20]):
                    [event], rejected = parse({**raw, **dict.fromkeys(others.split(), value)})
                    self.assertFalse(rejected)
                    self.assertEqual(event, parse(raw)[0][0])

    def test_unknown_kind(self):
        """Test that of an unknown kind of event all fields are read but "type", and unusable ones are noted."""
        [event], rejected = parse({**GOOD, "event": "something_new", "reason": "why", "type": "x", "attempt": "often"})
        self.assertFalse(rejected)
        self.assertEqual((event.reason, event.bounce_type, event.attempt, event.unread), ("why", "", None, "attempt"))

    def test_unread(self):
        """Test that a field of the wrong type, size or range stays empty and is noted, and its neighbours are read."""
        for kind, odd in (
            ("deferred", {"attempt": 1.0}),
            ("deferred", {"attempt": -1}),
            ("deferred", {"attempt": "first"}),
            ("deferred", {"attempt": True}),
            ("delivered", {"response": ["x"]}),
            ("delivered", {"response": "x" * 70_000}),
            ("delivered", {"asm_group_id": -1}),
            ("delivered", {"asm_group_id": 2**31}),
            ("delivered", {"asm_group_id": "1" * 5_000}),
            ("delivered", {"sg_event_id": {"a": 1}}),
            ("delivered", {"sg_message_id": False}),
            ("delivered", {"smtp-id": "x" * 1_000}),
            ("open", {"sg_machine_open": 1}),
            ("open", {"sg_machine_open": []}),
            ("open", {"ip": ["203.0.113.7"]}),
            ("open", {"useragent": {}}),
            ("click", {"url": "x" * 1_000_000}),
            ("click", {"url": 1.5}),
            ("click", {"url_offset": "3"}),
            ("click", {"url_offset": [1]}),
            ("click", {"url_offset": {"index": [1]}}),
            ("click", {"url_offset": {"type": "x" * 17}}),
            ("bounce", {"status": 5.1}),
            ("bounce", {"type": ["bounce"], "reason": [], "bounce_classification": {}}),
            ("account_status_change", {"type": {}}),
        ):
            with self.subTest(odd=str(odd)[:60], kind=kind):
                raw = Relayed(["ada@example.org"]).event(kind, timestamp=NOW)
                [event], rejected = parse({**raw, **odd})
                self.assertFalse(rejected)
                self.assertEqual(sorted(event.unread.split(",")), sorted(odd))
                [expected] = parse({key: value for key, value in raw.items() if key not in odd})[0]
                expected.unread = event.unread
                self.assertEqual(event, expected)

    def test_absurd_numbers(self):
        """Test that a number that nobody can mean costs no more than its field."""
        for source in (b"9" * 5_000, b"NaN", b"-Infinity", b"1e400"):
            with self.subTest(source[:9]):
                [event], rejected = parse_batch(
                    b'[{"event":"bounce","email":"a@b.c","timestamp":%d,"status":"5.1.1","reason":%s}]' % (NOW, source)
                )
                self.assertFalse(rejected)
                self.assertEqual((event.reason, event.smtp_status, event.unread), ("", "5.1.1", "reason"))

    def test_what_no_text_can_hold(self):
        """Test that bytes and characters that no text can hold become U+FFFD, wherever they are."""
        for name, given_, expected in (
            ("NUL", b"a\\u0000b", "a\ufffdb"),
            ("half an emoji", b"550 \\ud83d cut", "550 \ufffd cut"),
            ("the other half", b"\\ude00", "\ufffd"),
            ("a whole emoji", b"\\ud83d\\ude00", "\U0001f600"),
            ("Latin-1", b"Empf\xe4nger", "Empf\ufffdnger"),
            ("bytes that are nothing", b"!\xff\xfe!", "!\ufffd\ufffd!"),
            ("cut UTF-8", b"!\xe2\x82", "!\ufffd"),
            ("an encoded surrogate", b"!\xed\xa0\x80!", "!\ufffd\ufffd\ufffd!"),
            ("UTF-8", "Empfänger".encode(), "Empfänger"),
        ):
            for key, attribute in (("reason", "reason"), ("event", "event"), ("email", "recipient")):
                with self.subTest(name, key=key):
                    raw = {"event": "bounce", "email": "a@example.org", "timestamp": NOW, key: "?"}
                    [event], rejected = parse_batch(json.dumps([raw]).encode().replace(b"?", given_))
                    self.assertFalse(rejected)
                    expected_here = expected.lower() if key == "email" else expected
                    self.assertEqual((getattr(event, attribute), event.unread), (expected_here, ""))

    def test_who_needs_an_address(self):
        """Test that an event about nobody is one only where the vendor says so."""
        for event, understood in (
            ({"event": "dropped", "email": ""}, True),
            ({"event": "account_status_change", "type": "reactivate"}, True),
            ({"event": "dropped", "email": ["x"]}, True),
            ({"event": "account_status_change", "email": {}}, True),
            ({"event": "something_new"}, True),
            ({"event": "something_new", "email": 1.5}, True),
            ({"event": "open"}, False),
            ({"event": "bounce", "email": ""}, False),
            ({"event": "processed", "email": " "}, False),
        ):
            with self.subTest(event):
                events, rejected = parse({"timestamp": NOW, **event})
                self.assertEqual((len(events), len(rejected)), (1, 0) if understood else (0, 1))

    def test_empty_list(self):
        """Test that a batch of nothing is a batch."""
        for body in (b"[]", b" [ ]\r\n", b"\xef\xbb\xbf[]"):
            self.assertEqual(parse_batch(body), ([], []))

    # ------------------------------------------------------------
    # WHAT IS NOT
    # ------------------------------------------------------------

    def test_absurd_elements(self):
        """Test that an absurd element is rejected alone, with a reason."""
        deep = 100_000
        elements = {
            "a number": b"1",
            "a text": b'"delivered"',
            "null": b"null",
            "a list": b"[]",
            "nested lists": b"[[[[]]]]",
            "empty": b"{}",
            "no event": b'{"email":"a@b.c","timestamp":%d}' % NOW,
            "no timestamp": b'{"email":"a@b.c","event":"open"}',
            "no email": b'{"event":"open","timestamp":%d}' % NOW,
            "a million characters of name": self._spoilt(event="x" * 1_000_000),
            "a million characters of address": self._spoilt(email="x" * 1_000_000),
            "year 9999": self._spoilt(timestamp=253_402_300_799),
            "year 9999 in milliseconds": self._spoilt(timestamp=253_402_300_799_000),
            "before there was a SendGrid": self._spoilt(timestamp=0),
            "negative time": self._spoilt(timestamp=-NOW),
            "time of words": self._spoilt(timestamp="yesterday"),
            "time in other digits": self._spoilt(timestamp="١٧٩٥٥٠٠٠٠٠"),
            "time of a long text": self._spoilt(timestamp="1" * 5_000),
            "time of underscores": self._spoilt(timestamp="1_795_500_000"),
            "time without end, as a text": self._spoilt(timestamp="inf"),
            "a huge exponent": self._spoilt(timestamp="1e99"),
            "two times": self._spoilt(timestamp=f"{NOW} {NOW}"),
            "true time": self._spoilt(timestamp=True),
            "time without end": self._spoilt(timestamp=1).replace(b'"timestamp": 1', b'"timestamp": 1e400'),
            "5,000 digits": self._spoilt(timestamp=1).replace(b'"timestamp": 1', b'"timestamp": ' + b"1" * 5_000),
            "NaN": self._spoilt(timestamp=float("nan")),
            "object for an address": self._spoilt(email={"a": 1}),
            "list for a name": self._spoilt(event=["open"]),
            "nested too deeply": b"[" * deep + b"]" * deep,
            "nested too deeply in a field": b'{"a":' * deep + b"1" + b"}" * deep,
            "nested too deeply, brackets in texts": b'{"]":"[{\\"","a":' * deep + b"1" + b"}" * deep,
        }
        for name, element in elements.items():
            with self.subTest(name):
                self.assertRejected(self._around(element))

    def _spoilt(self, **fields):
        return json.dumps({**GOOD, **fields}).encode()

    def test_several_deep_elements(self):
        """Test that each of several elements that are nested too deeply is rejected in its place."""
        deep = b"[" * 50_000 + b"]" * 50_000
        good = self._spoilt()
        events, rejected = parse_batch(b"[%s, %s,%s , %s]" % (deep, good, deep, good))
        self.assertEqual(len(events), 2)
        self.assertEqual([element.index for element in rejected], [0, 2])

    def test_not_a_batch(self):
        """Test that a body that is no list as a whole is refused, with a reason that people understand."""
        good = self._spoilt()
        for name, body in {
            "nothing": b"",
            "blanks": b"  \r\n",
            "an object": good,
            "an object with numbers": b'{"0":%s}' % good,
            "objects without a list": good + b"\r\n" + good,
            "a text": b'"x"',
            "HTML": b"<html></html>",
            "form data": b"a=1&b=2",
            "cut": b"[" + good + b",",
            "cut in an event": (b"[" + good)[:-5],
            "more behind it": b"[" + good + b"]x",
            "two lists": b"[" + good + b"][" + good + b"]",
            "no comma": b"[" + good + good + b"]",
            "UTF-16": json.dumps([GOOD]).encode("utf-16"),
            "compressed": b"\x1f\x8b\x08\x00abc",
            "deep and cut": b"[" + b"[" * 100_000,
            "deep object": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
            "deep list, more behind it": b"[" + b"[" * 100_000 + b"]" * 100_000 + b"] x",
            "deep list, broken neighbour": b"[x," + b"[" * 100_000 + b"]" * 100_000 + b"]",
        }.items():
            with self.subTest(name), self.assertRaises(BatchError) as caught:
                parse_batch(body)
            words = self._put_into_words(str(caught.exception), self.env["sendgrid.event.batch"]._get_error_messages())
            self.assertRegex(words, r"^The body .*")

    def test_duplicate_keys(self):
        """Test that of a key given twice one counts, as everywhere in JSON."""
        [event], rejected = parse_batch(b'[{"event":"open","event":"click","email":"a@b.c","timestamp":%d}]' % NOW)
        self.assertFalse(rejected)
        self.assertEqual(event.event, "click")

    # ------------------------------------------------------------
    # IDENTITY
    # ------------------------------------------------------------

    def test_fingerprint(self):
        """Test that what an event says is its identity, and not how it was delivered."""
        message = Relayed(["ada@example.org", "bob@example.org"], {"odoo_db": "x", "odoo_id": "y"}, "<1@example.com>")
        first = message.event("click", timestamp=NOW)
        [event], _rejected = parse(first)
        for again in (
            {"sg_event_id": "another"},
            {"sg_event_id": None},
            {"category": ["x"]},
            {"timestamp": str(NOW)},
            {"email": "ADA@example.org"},
            {"unknown": 1},
            {"attempt": 2},
            {"response": "another"},
        ):
            with self.subTest(same=again):
                self.assertEqual(parse({**first, **again})[0][0].fingerprint, event.fingerprint)
        sent = message.event("delivered", timestamp=NOW)
        for again in ({"ip": "203.0.113.8"}, {"useragent": "Another/1.0"}, {"response": "another"}):
            with self.subTest(same=again, event="delivered"):
                self.assertEqual(parse({**sent, **again})[0][0].fingerprint, parse(sent)[0][0].fingerprint)
        for other in (
            {"event": "open"},
            {"timestamp": NOW + 1},
            {"email": "bob@example.org"},
            {"url": "https://example.com"},
            {"url_offset": {"index": 1, "type": "html"}},
            {"sg_message_id": "another.recvd.0"},
            {"asm_group_id": 5},
            # Two programs, or one at two places, can follow a link in the same second.
            {"ip": "203.0.113.8"},
            {"useragent": "Another/1.0"},
            {"event": "open", "sg_machine_open": False},
            {"event": "open", "sg_machine_open": True},
            {"event": "deferred"},
            {"event": "deferred", "attempt": "2"},
            {"event": "dropped", "reason": "another"},
        ):
            with self.subTest(other=other):
                self.assertNotEqual(parse({**first, **other})[0][0].fingerprint, event.fingerprint)

    def test_former_fingerprint(self):
        """Test that an event says under which name version 19.0.1.0.0 has stored it, where that was another one."""
        message = Relayed(["ada@example.org"], {"odoo_db": "x", "odoo_id": "y"}, "<1@example.com>")
        custom = {"attempt": "2", "url": "about", "url_offset": 3, "asm_group_id": 7, "reason": "x", "type": "y"}
        for kind in KINDS:
            raw = message.event(kind, timestamp=NOW)
            for given_ in (raw, {**custom, **raw}, {**raw, "attempt": 0}, {**raw, "attempt": "first"}):
                [event] = parse(given_)[0]
                with self.subTest(given_):
                    self.assertEqual(event.former_fingerprint or event.fingerprint, self._name_as_before(given_))
                    self.assertNotEqual(event.former_fingerprint, event.fingerprint)
        for given_, former in (
            (message.event("bounce", timestamp=NOW, type="Blocked"), True),
            (message.event("bounce", timestamp=NOW, type="blocked"), False),
            (account_event(NOW, type="Compliance_Ban"), True),
            (account_event(NOW), False),
            ({**GOOD, "event": "something_new", "type": "X", "attempt": 3}, False),
        ):
            [event] = parse(given_)[0]
            with self.subTest(given_):
                self.assertEqual(bool(event.former_fingerprint), former)
                self.assertEqual(event.former_fingerprint or event.fingerprint, self._name_as_before(given_))

    def _name_as_before(self, raw):
        """Return the fingerprint that version 19.0.1.0.0 gave to an event.

        It rejected an event whose attempt was no number; then this says what it would have been without.
        """
        has_type = raw["event"] in ("bounce", "account_status_change")
        offset = raw.get("url_offset", "")
        said = (
            raw["event"],
            raw.get("sg_message_id", ""),
            raw.get("email", ""),
            raw["timestamp"],
            raw.get("url", ""),
            f"{offset['type']}:{offset['index']}" if isinstance(offset, dict) else f":{offset}" if offset else "",
            int(raw["attempt"]) if str(raw.get("attempt", "")).isdigit() else None,
            raw.get("type", "") if has_type else "",
            raw.get("asm_group_id"),
            raw.get("reason", "") if raw["event"] == "dropped" else "",
            raw["sg_event_id"] if raw["event"] == "account_status_change" else "",
        )
        digest = hashlib.sha256(repr(said).encode()).digest()
        return base64.urlsafe_b64encode(digest[:16])[:22].decode()

    def test_fingerprints_of_samples(self):
        """Test that no two samples are taken for one event."""
        events = [event for name in sample_names() for event in parse(*sample(name))[0]]
        self.assertEqual(len({event.fingerprint for event in events}), len(events))
        for event in events:
            self.assertRegex(event.fingerprint, r"^[\w-]{22}$")

    def test_no_ids(self):
        """Test that a bounce without ids and a word about the account are understood."""
        [bounce, word], rejected = parse(async_bounce("late@example.org", NOW), account_event(NOW))
        self.assertFalse(rejected)
        self.assertEqual((bounce.message_key, bounce.recipient, bounce.smtp_status), ("", "late@example.org", "5.1.10"))
        self.assertEqual(
            (word.event, word.recipient, word.bounce_type), ("account_status_change", "", "compliance_suspend")
        )
        self.assertIsInstance(word, Event)
