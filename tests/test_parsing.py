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
FIELDS = (
    "email event timestamp sg_event_id sg_message_id smtp-id odoo_db odoo_id reason response status attempt type "
    "bounce_classification url url_offset ip useragent sg_machine_open asm_group_id category"
).split()
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
        self.assertEqual([event.event for event in events], [str(element["event"]).strip() for element in landed])

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
            ({"email": " Ada@Example.ORG "}, "recipient", "ada@example.org"),
            ({"attempt": "0"}, "attempt", 0),
            ({"attempt": 3}, "attempt", 3),
            ({"attempt": ""}, "attempt", None),
            ({"attempt": None}, "attempt", None),
            ({"status": 550}, "smtp_status", "550"),
            ({"sg_machine_open": "true"}, "sg_machine_open", True),
            ({"sg_machine_open": "false"}, "sg_machine_open", False),
            ({"sg_machine_open": None}, "sg_machine_open", False),
            ({"url_offset": {"index": 2, "type": "html"}}, "url_offset", "html:2"),
            ({"url_offset": {"index": "2", "type": "header"}}, "url_offset", "header:2"),
            ({"url_offset": 4}, "url_offset", ":4"),
            ({"sg_message_id": " abc.recvd-1.0"}, "message_key", "abc"),
            ({"sg_message_id": "abc"}, "message_key", "abc"),
            ({"sg_message_id": ""}, "message_key", ""),
            ({"sg_message_id": "filter0093p1las1.9128.5C6"}, "message_key", ""),
            ({"odoo_id": 12}, "odoo_id", ""),
            ({"odoo_id": ["x"]}, "odoo_id", ""),
            ({"odoo_id": "x" * 1000}, "odoo_id", ""),
            ({"odoo_db": "\x00"}, "odoo_db", ""),
            # Whoever else sends through the account may call his own argument "type".
            ({"type": "email"}, "bounce_type", ""),
            ({"event": "bounce", "type": "blocked"}, "bounce_type", "blocked"),
            ({"category": [[["x"]]], "pool": 3, "unknown": {"a": []}}, "event", "delivered"),
        ):
            with self.subTest(given_):
                [event], rejected = parse({**GOOD, **given_})
                self.assertFalse(rejected)
                self.assertEqual(getattr(event, attribute), expected)

    def test_who_needs_an_address(self):
        """Test that an event about nobody is one only where the vendor says so."""
        for event, understood in (
            ({"event": "dropped", "email": ""}, True),
            ({"event": "account_status_change", "type": "reactivate"}, True),
            ({"event": "something_new"}, True),
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
            "a million characters": self._spoilt(reason="x" * 1_000_000),
            "a million characters of name": self._spoilt(event="x" * 1_000_000),
            "a million characters of address": self._spoilt(email="x" * 1_000_000),
            "NUL": self._spoilt(reason="a\x00b"),
            "NUL in the address": self._spoilt(email="a\x00@example.org"),
            "lone surrogate": self._spoilt(reason="\ud800"),
            "broken UTF-8": self._spoilt(reason="!").replace(b"!", b"\xff\xfe"),
            "cut UTF-8": self._spoilt(reason="!").replace(b"!", b"\xe2\x82"),
            "encoded surrogate": self._spoilt(reason="!").replace(b"!", b"\xed\xa0\x80"),
            "year 9999": self._spoilt(timestamp=253_402_300_799),
            "year 9999 in milliseconds": self._spoilt(timestamp=253_402_300_799_000),
            "before there was a SendGrid": self._spoilt(timestamp=0),
            "negative time": self._spoilt(timestamp=-NOW),
            "time of words": self._spoilt(timestamp="yesterday"),
            "time in other digits": self._spoilt(timestamp="١٧٩٥٥٠٠٠٠٠"),
            "time of a long text": self._spoilt(timestamp="1" * 5_000),
            "true time": self._spoilt(timestamp=True),
            "time without end": self._spoilt(timestamp=1).replace(b'"timestamp": 1', b'"timestamp": 1e400'),
            "5,000 digits": self._spoilt(timestamp=1).replace(b'"timestamp": 1', b'"timestamp": ' + b"1" * 5_000),
            "5,000 digits elsewhere": self._spoilt(reason=1).replace(b'"reason": 1', b'"reason": ' + b"9" * 5_000),
            "NaN": self._spoilt(timestamp=float("nan")),
            "NaN elsewhere": self._spoilt(reason=float("nan")),
            "Infinity": self._spoilt(attempt=float("inf")),
            "list for a text": self._spoilt(reason=["x"]),
            "object for an address": self._spoilt(email={"a": 1}),
            "list for a name": self._spoilt(event=["open"]),
            "number too large": self._spoilt(asm_group_id=2**31),
            "negative number": self._spoilt(attempt=-1),
            "fraction": self._spoilt(attempt=1.5),
            "words for a number": self._spoilt(attempt="first"),
            "list for true": self._spoilt(sg_machine_open=[]),
            "list for an offset": self._spoilt(url_offset=[1]),
            "list in an offset": self._spoilt(url_offset={"index": [1]}),
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
            {"ip": "203.0.113.8"},
            {"useragent": "Another/1.0"},
            {"response": "another"},
        ):
            with self.subTest(same=again):
                self.assertEqual(parse({**first, **again})[0][0].fingerprint, event.fingerprint)
        for other in (
            {"event": "open"},
            {"timestamp": NOW + 1},
            {"email": "bob@example.org"},
            {"url": "https://example.com"},
            {"url_offset": {"index": 1, "type": "html"}},
            {"sg_message_id": "another.recvd.0"},
            {"attempt": "2"},
            {"asm_group_id": 5},
            {"event": "dropped", "reason": "another"},
        ):
            with self.subTest(other=other):
                self.assertNotEqual(parse({**first, **other})[0][0].fingerprint, event.fingerprint)

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
