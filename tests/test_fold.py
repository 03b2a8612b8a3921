import dataclasses
import itertools
import time

from odoo.tests import BaseCase, tagged

from ..tools.events.event import DELIVERY_EVENTS, ENGAGEMENT_EVENTS, Event
from ..tools.events.fold import STATUSES, STRENGTH, fold
from .properties import given, quick, st
from .simulator import BROWSER

NOW = 1_795_500_000
HOUR = 3600

# Each field has few values, so that events meet: in the same second, about the same link, equal but for one detail.
events = st.builds(
    Event,
    event=st.sampled_from([*DELIVERY_EVENTS, *ENGAGEMENT_EVENTS, "something_new"]),
    timestamp=st.integers(NOW, NOW + 5) | st.sampled_from([NOW + HOUR, NOW + 80 * HOUR]),
    recipient=st.just("ada@example.org"),
    sg_event_id=st.sampled_from(["", "1", "2"]),
    reason=st.sampled_from(["", "Bounced Address", "550 no", "552 full"]),
    response=st.sampled_from(["", "451 later", "250 OK"]),
    smtp_status=st.sampled_from(["", "5.1.1", "4.2.2"]),
    attempt=st.sampled_from([None, 0, 1]),
    bounce_type=st.sampled_from(["", "bounce", "blocked", "expired"]),
    url=st.sampled_from(["", "https://a", "https://b", "https://c"]),
    url_offset=st.sampled_from(["", "html:1"]),
    user_agent=st.sampled_from([BROWSER, "", "Mozilla/5.0", "Barracuda/1.0", "GoogleImageProxy"]),
    sg_machine_open=st.booleans(),
    asm_group_id=st.sampled_from([None, 1, 2]),
)
# These fields may differ between two reports of one interaction.
DETAILS = {
    "user_agent": [BROWSER, "Barracuda/1.0"],
    "sg_machine_open": [True, False],
    "smtp_status": ["", "4.2.2", "5.1.1"],
    "reason": ["", "Bounced Address", "552 full"],
    "response": ["", "451 later"],
}
histories = st.lists(events, max_size=8)


def event(name, minutes=0, **fields):
    """Return an event some minutes after the sending; in these tests only its kind matters."""
    if name in ("blocked", "expired"):
        name, fields = "bounce", {"bounce_type": name, **fields}
    elif name == "bounce":
        fields = {"bounce_type": "bounce", "smtp_status": "5.1.1", **fields}
    elif name == "machine_open":
        name, fields = "open", {"sg_machine_open": True, **fields}
    if name in ("open", "click"):
        fields = {"user_agent": BROWSER, "ip": "203.0.113.7", **fields}
    return Event(event=name, timestamp=NOW + round(60 * minutes), recipient="ada@example.org", **fields)


@tagged("post_install", "-at_install")
class TestFold(BaseCase):
    def assertFolds(self, history, **expected):
        """Assert the state of a history, and that its order and repetition make no difference."""
        state = fold(history)
        self.assertEqual({name: getattr(state, name) for name in expected}, expected)
        orders = itertools.permutations(history) if len(history) <= 5 else [history[::-1], history[1:] + history[:1]]
        for order in orders:
            self.assertEqual(fold(order), state)
        self.assertEqual(fold(history * 3), state)

    # ------------------------------------------------------------
    # PROPERTIES
    # ------------------------------------------------------------

    @quick
    @given(histories, st.randoms(use_true_random=False))
    def test_order(self, history, random):
        """Test that any order gives the same state."""
        shuffled = list(history)
        random.shuffle(shuffled)
        self.assertEqual(fold(shuffled), fold(history))
        self.assertEqual(fold(iter(history)), fold(history))

    @quick
    @given(histories.filter(bool), st.data())
    def test_order_of_variants(self, history, data):
        """Test the same if one interaction is told in several ways, of which one counts."""
        variants = [
            dataclasses.replace(
                data.draw(st.sampled_from(history)),
                **{name: data.draw(st.sampled_from(values)) for name, values in DETAILS.items()},
            )
            for _number in range(data.draw(st.integers(1, 6)))
        ]
        told = history + variants
        self.assertEqual(fold(data.draw(st.permutations(told))), fold(told))

    @quick
    @given(histories.filter(bool), st.data())
    def test_repetition(self, history, data):
        """Test that repeated events, with the same or another id, change nothing."""
        again = data.draw(st.lists(st.sampled_from(history), max_size=10))
        renamed = [dataclasses.replace(e, sg_event_id=f"again{number}") for number, e in enumerate(again)]
        told = data.draw(st.permutations(history + again + renamed))
        self.assertEqual(fold(told), fold(history))

    @quick
    @given(histories)
    def test_figures(self, history):
        """Test rules that hold for every state: its figures add up, and an event proves its status."""
        state = fold(history)
        different = {e.fingerprint: e for e in history}.values()
        opens = [e for e in different if e.event == "open"]
        clicks = [e for e in different if e.event == "click"]
        self.assertEqual(state.open_count + state.machine_open_count, len(opens))
        self.assertEqual(state.click_count + state.machine_click_count, len(clicks))
        wishes = [e for e in different if e.event in ("unsubscribe", "group_unsubscribe")]
        self.assertEqual(set(state.verdicts), {e.fingerprint for e in opens + clicks + wishes})
        verdicts = [(e, state.verdicts[e.fingerprint].verdict) for e in different if e.fingerprint in state.verdicts]
        for name, count, first in (
            ("open", state.unknown_open_count, state.person_open),
            ("click", state.unknown_click_count, state.person_click),
        ):
            told = [(e, verdict) for e, verdict in verdicts if e.event == name]
            self.assertEqual(count, sum(verdict == "unknown" for _event, verdict in told))
            self.assertEqual(first, min((e.timestamp for e, verdict in told if verdict == "human"), default=None))
        self.assertEqual(
            state.is_unsubscribed_by_machine,
            bool(wishes) and all(state.verdicts[e.fingerprint].is_machine for e in wishes),
        )
        self.assertEqual(state.first_open is None, state.open_count == 0)
        if state.open_count:
            self.assertLessEqual(state.first_open, state.last_open)
        for figure, name in ((state.processed, "processed"), (state.delivered, "delivered")):
            self.assertEqual(figure, min((e.timestamp for e in history if e.event == name), default=None))
        self.assertIn(state.status, STATUSES)
        if state.status == "opened":
            self.assertTrue(state.open_count)
        if state.status == "clicked":
            self.assertTrue(state.click_count)

    @quick
    @given(histories, events.filter(lambda e: e.event in ("spamreport", "unsubscribe", "dropped", "processed")))
    def test_never_weaker(self, history, late):
        """Test that an event that proves no person behind an open never makes the status weaker."""
        self.assertGreaterEqual(STRENGTH[fold([*history, late]).status], STRENGTH[fold(history).status])

    # ------------------------------------------------------------
    # CASES
    # ------------------------------------------------------------

    def test_nothing(self):
        """Test that an e-mail without events was sent, and nothing more is known."""
        self.assertFolds([], status="sent", reason="", processed=None, delivered=None, open_count=0, click_count=0)
        self.assertFolds([event("something_new"), event("account_status_change")], status="sent")

    def test_strength(self):
        """Test the statuses one by one, each stronger than the one before, whatever came later."""
        # No event makes an e-mail failed.
        self.assertEqual(STATUSES[:2], ("failed", "sent"))
        by_strength = [
            ("processed", event("processed", 9)),
            ("deferred", event("deferred", 8)),
            ("delivered", event("delivered", 1)),
            ("opened", event("open", 7)),
            ("clicked", event("click", 6, url="https://a")),
            ("blocked", event("blocked", 5)),
            ("dropped", event("dropped", 4)),
            ("bounced", event("bounce", 3)),
            ("replied", event("reply", 3, answer="own", answer_id="<a@x>")),
            ("unsubscribed", event("unsubscribe", 2)),
            ("spam", event("spamreport", 1)),
        ]
        self.assertEqual([status for status, _event in by_strength], list(STATUSES[2:]))
        for count, (status, _event) in enumerate(by_strength, start=1):
            with self.subTest(status):
                self.assertFolds([e for _status, e in by_strength[:count]], status=status)

    def test_named_cases(self):
        """Test the histories that go wrong if the last event is taken for the state."""
        delivered, opened, clicked = event("delivered", 1), event("open", 30), event("click", 31, url="https://a")
        for name, history, expected in (
            ("late delivered", [opened, event("delivered", 1)], {"status": "opened", "open_count": 1}),
            ("late processed", [delivered, event("processed")], {"status": "delivered", "processed": NOW}),
            ("open, then bounce", [opened, event("bounce", 40)], {"status": "bounced"}),
            (
                "delivered, then bounce",
                [delivered, event("bounce", 99, reason="no")],
                {"status": "bounced", "reason": "no"},
            ),
            (
                "deferred, then delivered",
                [event("deferred", 0, response="later"), delivered],
                {"status": "delivered", "reason": ""},
            ),
            ("deferred", [event("deferred", 0, response="later")], {"status": "deferred", "reason": "later"}),
            (
                "deferred twice",
                [event("deferred", 0, response="a"), event("deferred", 9, response="b")],
                {"reason": "b"},
            ),
            (
                "spam after click",
                [delivered, opened, clicked, event("spamreport", 50)],
                {"status": "spam", "click_count": 1, "open_count": 1, "delivered": NOW + 60},
            ),
            (
                "unsubscribed after click",
                [delivered, clicked, event("unsubscribe", 50)],
                {"status": "unsubscribed", "click_count": 1},
            ),
            ("blocked", [event("blocked", 1, reason="full")], {"status": "blocked", "reason": "full"}),
            (
                "blocked, then bounce",
                [event("blocked", 1, reason="full"), event("bounce", 2, reason="no")],
                {"status": "bounced", "reason": "no"},
            ),
            (
                "bounce, then blocked",
                [event("bounce", 1, reason="no"), event("blocked", 2, reason="full")],
                {"status": "bounced", "reason": "no"},
            ),
            (
                "dropped",
                [event("processed"), event("dropped", 1, reason="Spam Content")],
                {"status": "dropped", "reason": "Spam Content"},
            ),
            ("bounce without type", [event("bounce", bounce_type="")], {"status": "bounced"}),
            (
                "bounce without type, temporary",
                [event("bounce", bounce_type="", smtp_status="4.2.2")],
                {"status": "blocked"},
            ),
            ("bounce without anything", [event("bounce", bounce_type="", smtp_status="")], {"status": "bounced"}),
            (
                "opened by a machine alone",
                [delivered, event("machine_open", 2)],
                {
                    "status": "delivered",
                    "open_count": 0,
                    "machine_open_count": 1,
                    "first_open": None,
                    "last_open": None,
                },
            ),
            (
                "by a machine and a person",
                [delivered, event("machine_open", 2), opened],
                {"status": "opened", "open_count": 1, "machine_open_count": 1, "first_open": NOW + 1800},
            ),
            (
                "opened twice",
                [delivered, event("open", 90), opened],
                {"open_count": 2, "first_open": NOW + 1800, "last_open": NOW + 5400},
            ),
            (
                "two programs that open in the same second are two, and one that is told twice is one",
                [delivered, opened, opened, event("open", 30, user_agent=BROWSER + " Edg/1")],
                {"open_count": 2},
            ),
        ):
            with self.subTest(name):
                self.assertFolds(history, **expected)

    def test_unsubscription_beside_a_check(self):
        """Test that a gateway's check of links does not make a reader's own unsubscription a machine's.

        A scanner's that comes with its clicks stays one: from its address, with its program, or if nobody had read.
        """
        second = 1 / 60
        delivered, opened = event("delivered"), event("open", 60)
        checked = event("click", 62, user_agent="Mimecast", ip="198.51.100.9", url="https://a")
        other = BROWSER + " Edg/1"
        for name, history, wish, by_machine in (
            ("reader's", [opened], {"user_agent": BROWSER, "ip": "203.0.113.7"}, False),
            ("reader's, without details", [opened], {}, False),
            ("not read before", [], {"user_agent": BROWSER, "ip": "203.0.113.7"}, True),
            ("read only later", [event("open", 90)], {}, True),
            ("the gateway's address", [opened], {"user_agent": other, "ip": "198.51.100.9"}, True),
            ("the gateway's program", [opened], {"user_agent": "Mimecast", "ip": "198.51.100.77"}, True),
        ):
            for seconds in (8, -8):
                with self.subTest(name, seconds=seconds):
                    wished = event("unsubscribe", 62 + seconds * second, **wish)
                    told = [delivered, checked, wished, *history]
                    self.assertFolds(told, status="unsubscribed", is_unsubscribed_by_machine=by_machine)

    def test_groups(self):
        """Test that of leaving and coming back the later one wins, for each group by itself."""

        def leave(minutes, group=1):
            return event("group_unsubscribe", minutes, asm_group_id=group)

        def back(minutes, group=1):
            return event("group_resubscribe", minutes, asm_group_id=group)

        delivered = event("delivered", 1)
        for name, history, status in (
            ("left", [leave(2)], "unsubscribed"),
            ("left and back", [leave(2), back(3)], "delivered"),
            ("back and left", [back(2), leave(3)], "unsubscribed"),
            ("left, back, left", [leave(2), back(3), leave(4)], "unsubscribed"),
            ("left, back, left, back", [leave(2), back(3), leave(4), back(5)], "delivered"),
            ("left one, back to another", [leave(2, 1), back(3, 2)], "unsubscribed"),
            ("left two, back to both", [leave(2, 1), leave(2, 2), back(3, 1), back(4, 2)], "delivered"),
            ("left two, back to one", [leave(2, 1), leave(2, 2), back(3, 1)], "unsubscribed"),
            ("at the same second", [back(2), leave(2)], "unsubscribed"),
            ("back alone", [back(2)], "delivered"),
            ("left and back, but unsubscribed from all", [leave(2), back(3), event("unsubscribe", 1)], "unsubscribed"),
        ):
            with self.subTest(name):
                self.assertFolds([delivered, *history], status=status)

    def test_group_at_the_same_second(self):
        """Test that of leaving and coming back in one second leaving wins, whatever else the two say."""
        for number in range(20):
            leave = event("group_unsubscribe", number, asm_group_id=1)
            back = event("group_resubscribe", number, asm_group_id=1)
            self.assertFolds([leave, back], status="unsubscribed")

    def test_expired(self):
        """Test that our own "not within 72 hours" counts only while nothing shows that the e-mail arrived."""
        deferred, expired = event("deferred", 1, response="later"), event("expired", 72 * 60, reason="72 hours")
        self.assertFolds([deferred, expired], status="blocked", reason="72 hours")
        for arrived in ("delivered", "open", "click", "machine_open", "group_resubscribe"):
            for minutes in (2, 80 * 60):
                with self.subTest(arrived, minutes=minutes):
                    state = fold([deferred, expired, event(arrived, minutes, url="https://a")])
                    self.assertNotIn(state.status, ("blocked", "bounced"))
        self.assertFolds([deferred, expired, event("bounce", 90 * 60, reason="no")], status="bounced", reason="no")
        self.assertFolds([deferred, expired, event("blocked", 90 * 60, reason="full")], status="blocked", reason="full")

    def test_many_events(self):
        """Test that very many events of one e-mail take no time: a scanner's, or a newsletter forwarded to a list."""
        history = [event("delivered")]
        history += [event("open", 10 + n) for n in range(2_000)]
        history += [event("click", 10, url=f"https://{n}") for n in range(2_000)]
        history += [event("click", 100 + n, url=f"https://{n}", url_offset=f"html:{n}") for n in range(2_000)]
        history += [event("unsubscribe", n, user_agent=f"{BROWSER} {n}") for n in range(2_000)]
        started = time.process_time()
        state = fold(history)
        self.assertLess(time.process_time() - started, 2)
        self.assertEqual(state.open_count + state.machine_open_count, 2_000)
