from odoo.tests import BaseCase, tagged

from ..tools.sending.outbox import Outbox
from .properties import given, quick, st

addresses = st.sampled_from([f"{name}@example.org" for name in "abcdef"])
recipients = st.lists(addresses, min_size=1, max_size=5)


def accept(outbox):
    """Let the server take the copy stamped last, if there is one, and sending end with its Message-ID."""
    outbox.take()
    outbox.confirm("<1@example.com>")


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
                accept(outbox)
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

    def test_names_of_the_released_version(self):
        """Test that a mail without an id has the names that version 19.0.1.0.0 gave: SendGrid knows them."""
        outbox = self._outbox()
        names = [outbox.stamp("<1@example.com>", ["b@example.org", "a@example.org"]).odoo_id for _time in range(2)]
        self.assertEqual(names[1], "9089b2d2ad371ecec60eb3f9f0521bc2")

    def test_only_accepted(self):
        """Test that only copies that the server accepted are handed out, once, and in order."""
        outbox = self._outbox()
        outbox.stamp("<1@example.com>", ["refused@example.org"])
        taken = [outbox.stamp("<1@example.com>", ["a@example.org"])]
        accept(outbox)
        outbox.stamp("<1@example.com>", ["refused2@example.org"])
        taken.append(outbox.stamp("<1@example.com>", ["b@example.org"]))
        accept(outbox)
        accept(outbox)
        outbox.stamp("<1@example.com>", ["refused3@example.org"])
        self.assertEqual(outbox.close(), taken)
        self.assertEqual(outbox.close(), [])

    def test_several_in_one_call(self):
        """Test that copies that the server took one after the other are accepted together, or not at all."""
        for answer in ("<1@example.com>", None):
            with self.subTest(answer):
                outbox = self._outbox()
                for number, address in enumerate(("a@example.org", "b@example.org", "c@example.org")):
                    outbox.stamp("<1@example.com>", [address])
                    if number != 1:
                        outbox.take(f"id{number}")
                outbox.confirm(answer)
                accepted = [(copy.recipients[0], copy.sg_message_id) for copy in outbox.close()]
                failed = [copy.recipients[0] for copy in outbox.close_failed("<1@example.com>", has_stopped=False)]
                self.assertEqual(accepted, [("a@example.org", "id0"), ("c@example.org", "id2")] if answer else [])
                rest = ["b@example.org"] if answer else ["a@example.org", "b@example.org", "c@example.org"]
                self.assertEqual(sorted(failed), rest)

    def test_never_confirmed(self):
        """Test that what the server took fails where nobody confirms it, and is no part of the next call."""
        outbox = self._outbox()
        outbox.stamp("<1@example.com>", ["a@example.org"])
        outbox.take()
        outbox.interrupt()
        outbox.stamp("<1@example.com>", ["b@example.org"])
        outbox.take()
        outbox.confirm("<1@example.com>")
        outbox.stamp("<1@example.com>", ["c@example.org"])
        outbox.take()
        self.assertEqual([copy.recipients for copy in outbox.close()], [("b@example.org",)])
        failed = outbox.close_failed("<1@example.com>", has_stopped=False)
        self.assertEqual([copy.recipients for copy in failed], [("a@example.org",), ("c@example.org",)])

    def test_taken_out_of_the_envelope(self):
        """Test that of a planned copy only those did not leave whom another module did not send to in another copy."""
        outbox = self._outbox()
        outbox.open("me@example.com", contacts=[(["a@example.org", "b@example.org"],), (["c@example.org"],)])
        outbox.stamp("<1@example.com>", ["a@example.org"])
        accept(outbox)
        outbox.stamp("<1@example.com>", ["c@example.org"])
        outbox.fail("no")
        failed = outbox.close_failed("<1@example.com>", has_stopped=True)
        self.assertEqual(
            [(copy.tracked, copy.refused) for copy in failed],
            [(("c@example.org",), {"c@example.org": "no"}), (("b@example.org",), {"b@example.org": None})],
        )

    def test_mails_do_not_mix(self):
        """Test that a mail that was never closed leaves nothing to the next one, though both are of one message."""
        outbox = self._outbox()
        outbox.open("me@example.com", mail_id=1, contacts=[(["a@example.org"], 7), (["a@example.org"], 8)])
        first = outbox.stamp("<1@example.com>", ["a@example.org"])
        accept(outbox)
        outbox.stamp("<1@example.com>", ["b@example.org"])
        outbox.open("other@example.com", mail_id=2)
        accept(outbox)
        self.assertEqual(outbox.close(), [])
        alone = self._outbox()
        alone.open("other@example.com", mail_id=2)
        second = outbox.stamp("<1@example.com>", ["a@example.org"])
        self.assertEqual(second, alone.stamp("<1@example.com>", ["a@example.org"]))
        self.assertNotEqual(second.odoo_id, first.odoo_id)

    @quick
    @given(
        st.lists(
            st.tuples(recipients, st.none() | st.integers(1, 3)), min_size=1, max_size=6, unique_by=lambda one: one[1]
        ),
        st.randoms(use_true_random=False),
    )
    def test_mails_of_one_message(self, copies, random):
        """Test that no copy of two mails of one message has the other's name, and that each keeps its own.

        When a mail is sent again, its contacts can be in another order, since Odoo sorts them by their names.
        """

        def send(mail_id, some):
            outbox = Outbox(1, "db")
            contacts = [([*reversed(to), to[0]], contact) for to, contact in some]
            outbox.open("me@example.com", mail_id=mail_id, contacts=contacts)
            return {contact: outbox.stamp("<1@example.com>", to).odoo_id for to, contact in some}

        names = {mail_id: send(mail_id, copies) for mail_id in (1, 2)}
        self.assertEqual(len({name for found in names.values() for name in found.values()}), 2 * len(copies))
        shuffled = random.sample(copies, len(copies))
        for mail_id, found in names.items():
            self.assertEqual(send(mail_id, shuffled), found)

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
