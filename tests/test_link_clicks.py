from datetime import timedelta

from odoo.tests import BaseCase, tagged

from ..tools.sending.followed import Clicks, find_followed
from .common import SendgridCase
from .properties import given, quick, st

SHOP, TERMS = "https://shop.example.com/a?x=1&y=2", "https://shop.example.com/terms"
BODY = (
    f"<p><a href='{SHOP.replace('&', '&amp;')}'>Logo</a> <a href='mailto:a@example.com'>Write</a> <a>Secret</a>"
    f" <a href='{TERMS}'>Terms</a> <a href='{SHOP.replace('&', '&amp;')}'>Buy</a></p>"
)


class TestFollowed(BaseCase):
    """Which links of a text were followed."""

    def find(self, *clicks, body=BODY):
        return [tuple(link) for link in find_followed(body, [Clicks(*click) for click in clicks])]

    def test_place(self):
        """Test that the place tells two links to one address apart, and that the address decides where it does not."""
        self.assertEqual(self.find((SHOP, "html:2", 3, 1)), [(SHOP, 1, 3, 1)])
        self.assertEqual(self.find((SHOP, "html:0", 3, 0)), [(SHOP, 0, 3, 0)])
        for odd in ("html:1", "html:77", "html:", "text:2", ":2", "", "amp:2"):
            with self.subTest(odd=odd):
                self.assertEqual(self.find((SHOP, odd, 3, 0)), [(SHOP, 0, 3, 0)])
                self.assertEqual(self.find((TERMS, odd, 2, 0)), [(TERMS, 0, 2, 0)])

    def test_sum(self):
        """Test that the clicks of one link are added up, also those of the mail's plain text, but not the header's."""
        told = ((TERMS, "html:1", 2, 1), (TERMS, "text:1", 1, 0), (TERMS, "header:0", 5, 0))
        self.assertEqual(self.find(*told), [(TERMS, 0, 3, 1)])

    def test_spellings(self):
        """Test that an address is found however it is quoted, and by its page when that is all that is kept of it."""
        body = "<a href='https://shop.example.com/%C3%A9/'>É</a>"
        self.assertEqual(
            self.find(("https://shop.example.com/é", "", 1, 0), body=body),
            [("https://shop.example.com/%C3%A9/", 0, 1, 0)],
        )
        self.assertEqual(self.find((SHOP.partition("?")[0], "html:2", 1, 0)), [(SHOP, 1, 1, 0)])
        short = "<a href='https://odoo.example.com/r/aB3'>Offer</a>"
        self.assertEqual(
            self.find(("https://odoo.example.com/r/aB3/m/17", "html:0", 1, 0), body=short),
            [("https://odoo.example.com/r/aB3", 0, 1, 0)],
        )

    def test_elsewhere(self):
        """Test that a click on what is not there is nobody's."""
        self.assertEqual(
            self.find(("https://elsewhere.example.com/", "html:0", 1, 0), (SHOP + "3", "html:0", 1, 0)), []
        )

    @quick
    @given(st.text(alphabet=st.sampled_from("ab <>\"'=&;/é\u0000\ud800ahref:http"), max_size=80), st.text(max_size=20))
    def test_anything(self, body, url):
        """Test that no text and no address makes it fail."""
        find_followed(body, [Clicks(url, "html:0", 1, 0)])


@tagged("post_install", "-at_install")
class TestLinkClicks(SendgridCase):
    """A document's content, with the clicks on its links."""

    def setUp(self):
        super().setUp()
        self.email = self.create_email(ago=timedelta(days=1), content=BODY, measured="full")
        self.copy = self.relay(self.email)
        self.happen("delivered", 5)

    def happen(self, kind, after, **fields):
        self.receive(self.copy.event(kind, timestamp=self.after(self.email, after), **fields))

    def click(self, url, index, after, **fields):
        self.happen("click", after, url=url, url_offset={"index": index, "type": "html"}, **fields)

    def assertTold(self, *expected, email=None):
        told = (email or self.email).with_user(self.salesperson).link_clicks
        self.assertEqual([(link["href"], link["place"], link["text"]) for link in told or []], list(expected))

    def test_clicks_of_people(self):
        """Test that people's clicks are counted beside the link, and a scanner's and a colleague's are not."""
        self.assertTold()
        self.happen("open", 3600)
        self.click(SHOP, 2, 3700)
        self.click(SHOP, 2, 4300)
        self.click(TERMS, 1, 5000, useragent="Barracuda Sentinel (EE)")
        self.assertEqual(self.email.machine_click_count, 1)
        self.env.company.sendgrid_networks = "198.51.100.0/24"
        self.click(TERMS, 1, 6000, ip="198.51.100.9")
        self.assertEqual(self.email.event_ids.filtered("is_colleague").verdict, "colleague")
        self.assertTold((SHOP, 1, "Clicks: 2"))
        self.assertEqual(self.email.click_count, 2)

    def test_unknown(self):
        """Test that clicks of which it cannot be told whose they are say so."""
        self.click(TERMS, 1, 30)
        self.assertEqual(self.email.unknown_click_count, 1)
        self.assertTold((TERMS, 0, "Clicks: 1, by whom unknown"))
        self.assertEqual(self.Email._describe_followed(2, 1), "Clicks: 2, of these by whom unknown: 1")

    def test_not_measured(self):
        """Test that there is no number where clicks are not kept, also of what is still to be deleted."""
        self.happen("open", 3600)
        self.click(SHOP, 0, 3700)
        self.assertTold((SHOP, 0, "Clicks: 1"))
        self.email.measured = "none"
        self.env.invalidate_all()
        self.assertTold()

    def test_secret(self):
        """Test that a secret link that was followed is told nowhere."""
        secret = "https://odoo.example.com/web/reset_password?token=never-on-a-page"
        body = BODY + f"<a href='{secret}'>Reset</a>"
        email = self.create_email(ago=timedelta(days=1), content=body, measured="full")
        copy = self.relay(email)
        for kind, after in (("delivered", 5), ("open", 3600), ("click", 3700)):
            self.receive(
                copy.event(kind, timestamp=self.after(email, after), **({"url": secret} if kind == "click" else {}))
            )
        self.assertEqual(email.click_count, 1)
        self.assertTold(email=email)

    def test_queries(self):
        """Test that the clicks of many documents are read in one query."""
        emails = self.Email
        for number in range(5):
            emails += self.create_email(f"{number}@example.org", content=BODY, measured="full")
        emails.mapped("content")
        with self.assertQueryCount(1):
            emails._read_clicks()
