from odoo.tests import BaseCase, tagged

from ..tools.events.event import ACCOUNT_EVENT, TEST_RECIPIENT, Event
from ..tools.events.matching import Document, Evidence, has_no_ids, learn_keys, match_one, pick_document

ADA, BEN = "ada@example.org", "ben@example.org"
KEY = "k3Jx0QmFT2eWz1yYbN4t7A"


def document(number, recipient=ADA, odoo_id="copy", is_alone=True, key=None):
    return Document(number, odoo_id, recipient, is_alone, None, key)


def event(name="delivered", **told):
    return Event(name, 1_795_500_000, **{"recipient": ADA, "odoo_db": "ours", **told})


@tagged("post_install", "-at_install")
class TestMatching(BaseCase):
    """The choice of an event's document out of the evidence, without a database."""

    def test_strongest_first(self):
        """Test that each kind of evidence is believed where the stronger ones say nothing, and not before them."""
        evidence = Evidence(
            odoo_db="ours",
            by_odoo_id={"copy": [document(1)]},
            by_key={KEY: [document(2)]},
            by_smtp_id={"<mail>": [document(3)]},
            taught_by_key={"taught": [document(4)]},
            by_address={(7, ADA, 1_795_500_000): document(5)},
        )
        told = {"odoo_id": "copy", "sg_message_id": f"{KEY}.recvd-1.0", "smtp_id": "<mail>", "odoo_db": "ours"}
        for left_out, match, number in (
            ((), "odoo_id", 1),
            (("odoo_id",), "sg_message_id", 2),
            (("odoo_id", "sg_message_id"), "smtp_id", 3),
            (("odoo_id", "sg_message_id", "smtp_id", "odoo_db"), "address", 5),
        ):
            with self.subTest(match):
                some = {name: value for name, value in told.items() if name not in left_out}
                found, chosen = match_one(7, event("bounce", **{"odoo_db": "", **some}), evidence)
                self.assertEqual((found, chosen.id), (match, number))
        for name, ids in (("open", {}), ("bounce", {"sg_message_id": "unknown.recvd-1.0"})):
            found = match_one(7, event(name, odoo_db="", **ids), evidence)
            self.assertEqual(found, ("unknown", None), "not of the bounce of the same second and address")
        found, chosen = match_one(7, event(sg_message_id="taught.recvd-1.0"), evidence)
        self.assertEqual((found, chosen.id), ("sg_message_id", 4))
        found, chosen = match_one(7, event(sg_message_id="taught.recvd-1.0", smtp_id="<mail>"), evidence)
        self.assertEqual((found, chosen.id), ("smtp_id", 3), "a key that was just taught is weaker than the Message-ID")

    def test_without_document(self):
        """Test what is said of an event that no document is found for."""
        evidence = Evidence(odoo_db="ours", by_odoo_id={"copy": [document(1, is_alone=False)]})
        for match, one in (
            ("account", event(ACCOUNT_EVENT, odoo_id="copy")),
            ("untracked", event(recipient=BEN, odoo_id="copy")),
            ("untracked", event()),
            ("early", event(odoo_id="other")),
            ("foreign", event(odoo_db="theirs", odoo_id="other")),
            ("unknown", event(odoo_db="")),
            ("test", event(odoo_db="", recipient=TEST_RECIPIENT)),
        ):
            with self.subTest(match):
                self.assertEqual(match_one(7, one, evidence), (match, None))

    def test_recipient(self):
        """Test that the address decides among several, and is not needed where a copy went to one."""
        both = [document(1, ADA, is_alone=False), document(2, BEN, is_alone=False)]
        self.assertEqual(pick_document(both, event(recipient=BEN), is_exact=False).id, 2)
        self.assertIsNone(pick_document(both, event(recipient="cc@example.org"), is_exact=False))
        alone = [document(3, ADA)]
        self.assertEqual(pick_document(alone, event(recipient="Ada@mail.example.org"), is_exact=False).id, 3)
        self.assertIsNone(pick_document(alone, event(recipient=BEN), is_exact=True), "a Message-ID names all copies")

    def test_keys(self):
        """Test that events teach the message key of the documents that another name has found, once."""
        pair = [document(1, ADA, "a", is_alone=False), document(2, BEN, "a", is_alone=False)]
        twin = document(3, ADA, "b", key="known")
        evidence = Evidence(odoo_db="ours", by_odoo_id={"a": pair}, by_smtp_id={"<mail>": [*pair, twin]})
        keys = learn_keys(
            [
                event(odoo_id="a", sg_message_id=f"{KEY}.recvd-1.0"),
                event(recipient=BEN, smtp_id="<mail>", sg_message_id="second.recvd-1.0"),
                event(recipient="cc@example.org", smtp_id="<mail>", sg_message_id="third.recvd-1.0"),
                event(odoo_id="nobody", sg_message_id="fourth.recvd-1.0"),
            ],
            evidence,
        )
        self.assertEqual(keys, {1: "second", 2: "second"})
        self.assertEqual(evidence.taught_by_key, {KEY: pair, "second": pair})
        self.assertEqual(learn_keys([event(odoo_id="a", sg_message_id=f"{KEY}.recvd-1.0")], evidence), {})

    def test_no_ids(self):
        """Test which event is looked for by address and time: a bounce that carries no name of anything."""
        self.assertTrue(has_no_ids(event("bounce", odoo_db="")))
        for one in (event("delivered", odoo_db=""), event("bounce"), event("bounce", odoo_db="", smtp_id="<mail>")):
            self.assertFalse(has_no_ids(one))
