from odoo.tests import TransactionCase, tagged

from ..tools.events.device import identify
from .properties import given, quick, st
from .simulator import BROWSER

IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148"
OUTLOOK = (
    "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 10.0; WOW64; Trident/7.0; .NET4.0C; .NET4.0E; Microsoft Outlook "
    "16.0.17928; ms-office; MSOffice 16)"
)
GMAIL = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"


@tagged("post_install", "-at_install")
class TestDevice(TransactionCase):
    def describe(self, user_agent):
        return self.env["sendgrid.event"].new({"user_agent": user_agent}).device

    def test_words(self):
        """Test that the usual programs are described in words."""
        for user_agent, words in (
            (BROWSER, r"^Chrome on Linux$"),
            (OUTLOOK, r"^Outlook.* on Windows"),
            (IPHONE, r"on iOS$|iPhone|Mobile Safari|Apple"),
            (GMAIL, r"^Gmail$"),
            ("Mozilla/5.0", r"^(?!.*Other)"),
            ("", r"^$"),
        ):
            with self.subTest(user_agent):
                self.assertRegex(self.describe(user_agent) or "", words)

    @quick
    @given(st.text())
    def test_any_text(self, user_agent):
        """Test that any text gives some names, or none, and raises nothing."""
        self.assertTrue(all(isinstance(name, str) for name in identify(user_agent)))

    def test_endless_text(self):
        """Test that a user agent of the greatest length is described without delay."""
        for text in ("Mozilla/5.0 " * 5_000, "(" * 64_000, "Chrome/" + "1" * 64_000):
            self.assertTrue(all(isinstance(name, str) for name in identify(text)))
