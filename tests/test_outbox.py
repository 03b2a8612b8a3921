from hypothesis import given
from hypothesis import strategies as st

from odoo.tests import BaseCase, tagged

from ..tools.sending.outbox import Outbox
from .properties import quick

addresses = st.sampled_from([f"{name}@example.org" for name in "abcdef"])
recipients = st.lists(addresses, min_size=1, max_size=5)


@tagged("post_install", "-at_install")
class TestOutbox(BaseCase):
    def _outbox(self, sender="me@example.com", colleagues=(), odoo_db="db"):
        outbox = Outbox(1, odoo_db)
        outbox.learn(set(colleagues), set(colleagues))
        outbox.open(sender)
        return outbox

    @quick
    @given(st.lists(recipients, min_size=1, max_size=6))
    def test_retry_gives_the_same_names(self, copies):
        """Test that a second try of a mail gives its copies the same names, and that no two are named alike."""
        tries = []
        for _number in range(2):
            outbox = self._outbox()
            for copy in copies:
                outbox.stamp("<1@example.com>", copy)
                outbox.accept()
            tries.append(outbox.close())
        self.assertEqual(*tries)
        self.assertEqual(len({copy.odoo_id for copy in tries[0]}), len(copies))

    @quick
    @given(recipients, st.randoms(use_true_random=False))
    def test_order_of_recipients(self, copy, random):
        """Test that the order of the recipients, or one named twice, makes no other copy."""
        shuffled = copy + copy
        random.shuffle(shuffled)
        first = self._outbox().stamp("<1@example.com>", copy)
        self.assertEqual(self._outbox().stamp("<1@example.com>", shuffled), first)

    def test_other_names(self):
        """Test that another mail, database or recipient gives another name, which says nothing about them."""
        names = {
            outbox.stamp(message_id, to).odoo_id
            for outbox, message_id, to in (
                (self._outbox(), "<1@example.com>", ["a@example.org"]),
                (self._outbox(), "<2@example.com>", ["a@example.org"]),
                (self._outbox(), "<1@example.com>", ["b@example.org"]),
                (self._outbox(), "<1@example.com>", ["a@example.org", "b@example.org"]),
                (self._outbox(odoo_db="other"), "<1@example.com>", ["a@example.org"]),
            )
        }
        self.assertEqual(len(names), 5)
        for name in names:
            self.assertRegex(name, r"^[0-9a-f]{32}$")

    def test_only_accepted(self):
        """Test that only copies that the server accepted are handed out, once, and in order."""
        outbox = self._outbox()
        outbox.stamp("<1@example.com>", ["refused@example.org"])
        taken = [outbox.stamp("<1@example.com>", ["a@example.org"])]
        outbox.accept()
        outbox.stamp("<1@example.com>", ["refused2@example.org"])
        taken.append(outbox.stamp("<1@example.com>", ["b@example.org"]))
        outbox.accept()
        outbox.accept()
        outbox.stamp("<1@example.com>", ["refused3@example.org"])
        self.assertEqual(outbox.close(), taken)
        self.assertEqual(outbox.close(), [])

    def test_mails_do_not_mix(self):
        """Test that a mail that was never closed leaves nothing to the next one."""
        outbox = self._outbox()
        outbox.stamp("<1@example.com>", ["a@example.org"])
        outbox.accept()
        outbox.stamp("<1@example.com>", ["b@example.org"])
        outbox.open("other@example.com")
        outbox.accept()
        self.assertEqual(outbox.close(), [])
        again = outbox.stamp("<1@example.com>", ["a@example.org"])
        self.assertEqual(again, self._outbox().stamp("<1@example.com>", ["a@example.org"]))

    def test_who_is_tracked(self):
        """Test that colleagues and the sender himself get no document, unless the sender is the only recipient."""
        for to, tracked in (
            (["a@example.org"], ["a@example.org"]),
            (["b@example.org", "a@example.org"], ["a@example.org", "b@example.org"]),
            (["a@example.org", "colleague@example.com"], ["a@example.org"]),
            (["colleague@example.com"], []),
            (["a@example.org", "me@example.com"], ["a@example.org"]),
            (["me@example.com"], ["me@example.com"]),
            (["me@example.com", "me@example.com"], ["me@example.com"]),
            (["me@example.com", "colleague@example.com"], []),
        ):
            with self.subTest(to):
                copy = self._outbox(colleagues=["colleague@example.com"]).stamp("<1@example.com>", to)
                self.assertEqual(copy.tracked, tuple(tracked))
                self.assertEqual(copy.recipients, tuple(sorted(set(to))))
