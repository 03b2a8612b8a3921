from datetime import timedelta

from odoo import fields
from odoo.tests import tagged

from .test_consequences import SENT, SENT_SECONDS, ConsequenceCase


@tagged("post_install", "-at_install")
class TestDecisions(ConsequenceCase):
    """Wishes that are repeated or taken back, and what people decide in Odoo: the evidence and its time count."""

    def setUp(self):
        super().setUp()
        self.account.group_unsubscribe_action = "blacklist"
        self._begin()

    def _begin(self):
        """Begin with a new contact, and two e-mails to it."""
        self.partner = self._contact()
        self.mails = [self._sent(self.partner)[1] for _number in range(2)]

    def _tell(self, *told, together=False):
        """POST events, each by itself unless ``together``: triples of the mail's number, the kind and the seconds."""
        events = [
            self.mails[mail].event(kind, timestamp=SENT_SECONDS + seconds, **(fields_[0] if fields_ else {}))
            for mail, kind, seconds, *fields_ in told
        ]
        for some in [events] if together else [[event] for event in events]:
            self._post(*some)

    def assertBlacklisted(self, expected):
        self.assertEqual(self._is_blacklisted(self.partner.email_normalized), expected)

    def _get_entry(self):
        blacklist = self.env["mail.blacklist"].with_context(active_test=False)
        return blacklist.search([("email", "=", self.partner.email_normalized)])

    def _decide(self, at):
        """Take the address off the blacklist, and have that have been some seconds after the sending."""
        self.env["mail.blacklist"]._remove(self.partner.email_normalized)
        address = self.env["sendgrid.address"].search([("email", "=", self.partner.email_normalized)])
        address.wanted_date = SENT + timedelta(seconds=at)

    # ------------------------------------------------------------
    # WISHES
    # ------------------------------------------------------------

    def test_repeated_wish(self):
        """Test that who leaves by one e-mail, returns by another, and leaves again by the first, has left."""
        for together in (False, True):
            with self.subTest(together=together):
                self._begin()
                self._tell(
                    (0, "group_unsubscribe", 10),
                    (1, "group_resubscribe", 20),
                    (0, "group_unsubscribe", 30),
                    together=together,
                )
                self.assertBlacklisted(True)

    def test_groups_one_after_the_other(self):
        """Test that who left two groups and returned to both is back, in one POST and in four."""
        for together in (False, True):
            with self.subTest(together=together):
                self._begin()
                self._tell(
                    (0, "group_unsubscribe", 10, {"asm_group_id": 1}),
                    (0, "group_unsubscribe", 20, {"asm_group_id": 2}),
                    (0, "group_resubscribe", 30, {"asm_group_id": 1}),
                    (0, "group_resubscribe", 40, {"asm_group_id": 2}),
                    together=together,
                )
                self.assertBlacklisted(False)

    def test_unsubscribed_again(self):
        """Test that who unsubscribes again after somebody has lifted it is on the blacklist again."""
        self._tell((0, "unsubscribe", 10))
        self._decide(at=20)
        self.assertBlacklisted(False)
        self._tell((0, "open", 25))
        self.assertBlacklisted(False)
        self._tell((1, "unsubscribe", 30))
        self.assertBlacklisted(True)
        self._decide(at=40)
        self._tell((0, "unsubscribe", 50))
        self.assertBlacklisted(True)

    def test_group_of_a_drop(self):
        """Test that a drop that names a group follows the account's setting for groups, and ends with the return."""
        drop = {"reason": "Unsubscribed Address", "asm_group_id": 5}
        self.account.group_unsubscribe_action = "nothing"
        self._tell((0, "dropped", 10, drop))
        self.assertBlacklisted(False)
        self.account.group_unsubscribe_action = "blacklist"
        self._tell((1, "dropped", 20, drop))
        self.assertBlacklisted(True)
        self._tell((1, "group_resubscribe", 30, {"asm_group_id": 5}))
        self.assertBlacklisted(False)

    def test_wish_that_a_group_does_not_take_back(self):
        """Test that a return to a group leaves alone who has also unsubscribed from everything, in any order."""
        told = [(0, "unsubscribe", 10), (0, "group_unsubscribe", 20), (1, "group_resubscribe", 30)]
        for order in (told, told[::-1], [told[1], told[2], told[0]]):
            with self.subTest(order=[kind for _mail, kind, _seconds in order]):
                self._begin()
                self._tell(*order)
                self.assertBlacklisted(True)

    def test_by_hand(self):
        """Test that a return to a group takes no entry away that somebody made by hand, whenever he did."""
        self._tell((0, "group_unsubscribe", 10))
        self.env["mail.blacklist"]._remove(self.partner.email_normalized)
        self.env["mail.blacklist"]._add(self.partner.email_normalized)
        self._tell((0, "group_resubscribe", 20))
        self.assertBlacklisted(True)

    def test_word_in_odoo(self):
        """Test that who opts out in Odoo, while a group keeps him on the blacklist, stays there after his return."""
        self._tell((0, "group_unsubscribe", 10))
        self.env["mail.blacklist"]._add(self.partner.email_normalized)
        self._tell((0, "group_resubscribe", 20))
        self.assertBlacklisted(True)

    def test_entry_that_is_gone(self):
        """Test that an entry can be deleted once more, as core lets one do."""
        entry = self.env["mail.blacklist"]._add("gone@example.com")
        entry.unlink()
        self.env.invalidate_all()
        self.assertTrue(entry.unlink())

    def test_entry_that_exists(self):
        """Test that creating an entry that was archived is not taken for taking the address off the blacklist."""
        self.env["mail.blacklist"]._remove(self.partner.email_normalized)
        self.env["sendgrid.address"].search([]).unlink()
        self.env["mail.blacklist"].create({"email": self.partner.email_normalized})
        self._tell((0, "unsubscribe", 10))
        self.assertBlacklisted(True)

    # ------------------------------------------------------------
    # HELD BACK
    # ------------------------------------------------------------

    def test_held_back(self):
        """Test that a refusal for which SendGrid holds mail back is on the contact until a later mail is delivered."""
        quota = {"status": "4.2.2", "reason": "452 4.2.2 over quota", "bounce_classification": "Mailbox Unavailable"}
        for order in ((0, 1), (1, 0)):
            with self.subTest(order=order):
                self._begin()
                told = [(0, "bounce", 10, quota), (1, "delivered", 900)]
                self._tell(told[order[0]])
                if order[0] == 0:
                    self.assertFalse(self.partner.email_bounced)
                    self.assertIn("SendGrid holds back", self.partner.sendgrid_warning)
                    self.assertIn("over quota", self.partner.sendgrid_warning)
                self._tell(told[order[1]])
                self.partner.invalidate_recordset()
                self.assertFalse(self.partner.sendgrid_warning)

    # ------------------------------------------------------------
    # DECISIONS
    # ------------------------------------------------------------

    def test_older_wish(self):
        """Test that a wish that is older than a decision changes nothing, whatever event tells it."""
        self._decide(at=100)
        for kind, values in (
            ("unsubscribe", {}),
            ("spamreport", {}),
            ("group_unsubscribe", {}),
            ("dropped", {"reason": "Unsubscribed Address"}),
            ("dropped", {"reason": "Spam Reporting Address"}),
        ):
            self._tell((0, kind, 50, values))
            self.assertBlacklisted(False)
        # SendGrid's drop only reminds of a wish, about which somebody has decided.
        self._tell((1, "dropped", 150, {"reason": "Unsubscribed Address"}))
        self.assertBlacklisted(False)
        self._tell((1, "spamreport", 150))
        self.assertBlacklisted(True)

    def test_older_bounce(self):
        """Test that a bounce that is older than "Address is valid" neither flags nor counts; a later one does."""
        self._tell((0, "bounce", 10))
        self.partner.action_email_is_valid()
        address = self.env["sendgrid.address"].search([("email", "=", self.partner.email_normalized)])
        address.valid_date = SENT + timedelta(seconds=100)
        self._tell((1, "bounce", 50))
        self.assertRecordValues(self.partner, [{"email_bounced": False, "message_bounce": 0}])
        self._tell((0, "dropped", 150))
        self.assertFalse(self.partner.email_bounced, "the bounce behind the drop is older")
        self._tell((1, "bounce", 200))
        self.assertRecordValues(
            self.partner,
            [{"email_bounced": True, "message_bounce": 1, "email_bounce_date": SENT + timedelta(seconds=200)}],
        )

    def test_bounce_of_a_former_address(self):
        """Test that a bounce of an address that was corrected meanwhile blames nobody."""
        former = self.partner.email_normalized
        self.partner.email = "corrected@example.org"
        self._tell((0, "bounce", 10))
        self.assertRecordValues(self.partner, [{"email_bounced": False, "message_bounce": 0}])
        self.partner.email = former
        self.assertTrue(self.partner.email_bounced, "it is that address that bounced")

    def test_clock_ahead(self):
        """Test that a decision counts although SendGrid's clock, by which the wish was told, is ahead of ours."""
        ahead = int((fields.Datetime.now() - SENT).total_seconds()) + 600
        self._tell((0, "unsubscribe", ahead), (0, "bounce", ahead))
        self.env["mail.blacklist"]._remove(self.partner.email_normalized)
        self.partner.action_email_is_valid()
        self._tell((1, "open", ahead + 1), (1, "group_resubscribe", ahead + 2))
        self.assertBlacklisted(False)
        self.assertFalse(self.partner.email_bounced)
        self.assertEqual(len(self._get_entry()), 1)
