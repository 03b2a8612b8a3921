from email import message_from_bytes, policy
from email.message import EmailMessage
from email.mime.text import MIMEText

from odoo.tests import BaseCase, tagged

from ..tools.sending import addresses
from .properties import given, quick, st

# Python folds some of these so that addresses vanish from the header (CVE-2025-1795).
PIECES = (
    "Ann",
    "Müller, Jörg",
    "=?utf-8?q?Ann?=",
    "O'Neil \\ S",
    "a@b.c",
    "<x>",
    '"q"',
    "محمد",
    "🧀🧀🧀",
    "; x",
    "(c)",
    "x" * 60,
    "é" * 40,
    "=?x",
)
names = st.lists(st.sampled_from(PIECES), max_size=2).map(" ".join)
people = st.lists(st.tuples(names, st.sampled_from((0, 5, 30, 50))), min_size=2, max_size=5)


def quote(name):
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


@tagged("post_install", "-at_install")
class TestHeaderLines(BaseCase):
    """The headers with addresses, as they stand on the wire."""

    @quick
    @given(people)
    def test_nobody_vanishes(self, people):
        """Test that whatever the names are, a mail program reads all addresses, in their order."""
        emails = [f"u{number}.{'y' * length}@example.org" for number, (_name, length) in enumerate(people)]
        texts = [f"{quote(name)} <{one}>" if name else one for (name, _length), one in zip(people, emails, strict=True)]
        message = EmailMessage(policy.SMTP)
        message["To"] = ", ".join(texts)
        addresses.write_in_lines(message)
        read = message_from_bytes(message.as_bytes(), policy=policy.default)["To"]
        self.assertEqual([address.addr_spec for address in read.addresses], emails)

    def test_old_policy(self):
        """Test that a message that a module builds by Python's old policy stays as it is, and can be read."""
        message = MIMEText("Hello")
        message["To"] = "Jörg <j@example.org>, Ann <a@example.org>"
        message["Cc"] = "Cc <c@example.org>"
        before = message.as_string()
        addresses.write_in_lines(message)
        self.assertEqual(message.as_string(), before)
        self.assertEqual(addresses.get_names(message, "Cc"), {"c@example.org": "Cc"})
        self.assertEqual(list(addresses.get_names(message, "To")), ["j@example.org", "a@example.org"])
