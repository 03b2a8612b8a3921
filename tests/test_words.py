import ast
import re
from datetime import datetime
from pathlib import Path
from unittest.mock import patch

from odoo.tests import tagged
from odoo.tools import mute_logger
from odoo.tools.translate import code_translations

from ..models.durations import describe_time
from ..tools.events.engagement_rules import REASONS
from ..tools.events.lenient_json import AbsurdNumber, get_kind
from .common import SendgridCase

TOOLS = Path(__file__).resolve().parent.parent / "tools"
ERRORS = {
    "BatchError": "batch",
    "EventError": "element",
    "NetworkError": "network",
    "RecipientError": "mail",
    "SmtpapiError": "mail",
    "V3MailError": "mail",
}
SEVERAL_WORDS = re.compile(r"\w\W*\s\W*\w")
LOGGERS = ("_logger", "logging")


class Finder(ast.NodeVisitor):
    """A collector of the sentences in a module, and of the calls that make a coded error."""

    def __init__(self):
        self.sentences, self.calls = [], []

    def visit_Expr(self, node):
        if not isinstance(node.value, ast.Constant):  # a docstring is for developers
            self.generic_visit(node)

    def visit_Raise(self, node):
        """Take any text of several words for a sentence, because code that catches the exception would show it."""
        for inner in ast.walk(node):
            if SEVERAL_WORDS.search(_get_text(inner)):
                self.sentences.append(ast.unparse(inner))
        self.generic_visit(node)

    def visit_Call(self, node):
        function = node.func
        if isinstance(function, ast.Attribute) and getattr(function.value, "id", "") in LOGGERS:
            return
        name = getattr(function, "id", None) or getattr(function, "attr", None)
        if name in ERRORS and node.args and isinstance(node.args[0], ast.Constant):
            self.calls.append((ERRORS[name], node.args[0].value, {one.arg for one in node.keywords}))
        self.generic_visit(node)

    def visit_Constant(self, node):
        text = _get_text(node)
        if SEVERAL_WORDS.search(text) and text.rstrip().endswith((".", "!", "?")):
            self.sentences.append(text)

    def visit_JoinedStr(self, node):
        self.visit_Constant(node)
        self.generic_visit(node)


def _get_text(node):
    """Return the text of a literal, with a word for each value that is put into it; ``""`` for anything else."""
    if isinstance(node, ast.JoinedStr):
        return "".join(_get_text(value) or "value" for value in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def find(source):
    """Return a `Finder` that has visited the source text of a module."""
    finder = Finder()
    finder.visit(ast.parse(source))
    return finder


@tagged("post_install", "-at_install")
class TestWords(SendgridCase):
    """`tools/` says codes, and models say the words, because words can be translated there only."""

    def test_tools_say_no_sentence(self):
        """Test that nothing in `tools/` looks like a sentence for a person."""
        files = sorted(TOOLS.rglob("*.py"))
        self.assertGreater(len(files), 20)
        for file in files:
            with self.subTest(file.relative_to(TOOLS)):
                self.assertEqual(find(file.read_text()).sentences, [])

    def test_a_sentence_is_found(self):
        """Test that the test above can fail, and that it lets docstrings, log lines and single words pass."""
        for source in (
            'raise ValueError("no good")',
            'raise ValueError(f"{name} is gone")',
            'x = {"a": "It is gone."}',
            'x = f"It has {n} parts."',
        ):
            self.assertTrue(find(source).sentences, source)
        for source in ('"""It is gone."""', '_logger.info("It is gone.")', 'raise ValueError("gone")', 'x = "a b"'):
            self.assertFalse(find(source).sentences, source)

    def test_every_code_has_its_words(self):
        """Test that each code that is raised has its words, and that the parameters fill every place in the words."""
        calls = [
            call
            for folder in (TOOLS, TOOLS.parent / "models")
            for file in folder.rglob("*.py")
            for call in find(file.read_text()).calls
        ]
        batch, server = self.env["sendgrid.event.batch"], self.env["ir.mail_server"]
        tables = {
            "batch": batch._get_error_messages(),
            "element": batch._get_rejection_messages(),
            "network": self.env["res.company"]._get_network_messages(),
            "mail": server._get_sendgrid_refusal_messages(),
        }
        for kind, table in tables.items():
            raised = {code for what, code, _names in calls if what == kind}
            self.assertEqual(raised, set(table) - {"more"})
        for kind, code, names in calls:
            with self.subTest(code, kind=kind):
                self.assertTrue(tables[kind][code] % dict.fromkeys(names, "x"))
        self.assertEqual(set(self.env["sendgrid.event"]._get_machine_explanations()), set(REASONS))
        kinds = {get_kind(value) for value in (AbsurdNumber("1"), 1, {}, [], "", True, None)}
        self.assertEqual(kinds, set(batch._get_kinds()))

    def test_each_reader_has_his_language(self):
        """Test that a failed batch, and one with rejected events, say the reasons in the language of the reader."""
        self.env["res.lang"]._activate_lang("fr_FR")
        failed, rejected = self.store(b"{}"), self.store(b'[{"event": "open", "timestamp": 1795500000}]')
        self.drain()
        self.assertEqual(failed.error_explanation, "The body is not a list of events. Found instead: an object.")
        self.assertEqual(rejected.rejected_explanation, "Event 1: Its email is missing.")
        french = {
            "The body is not a list of events. Found instead: %(kind)s.": "Pas une liste, mais %(kind)s.",
            "an object": "un objet",
            "Its %(key)s is missing.": "%(key)s manque.",
            "Event %(number)s: %(reason)s": "Événement %(number)s : %(reason)s",
        }
        with patch.dict(code_translations.python_translations, {("sendgrid_tracking", "fr_FR"): french}):
            self.assertEqual(failed.with_context(lang="fr_FR").error_explanation, "Pas une liste, mais un objet.")
            self.assertEqual(rejected.with_context(lang="fr_FR").rejected_explanation, "Événement 1 : email manque.")

    def test_name_in_each_language(self):
        """Test that what was read in one language is not told to the reader of another one."""
        self.env["res.lang"]._activate_lang("fr_FR")
        account = self.env["sendgrid.account"].create({"name": "Ours", "api_key": "SG.ours"})
        account.connected_url = "https://elsewhere.example.com"
        event = self.env["sendgrid.event"].new({"event": "delivered", "account_id": account.id})
        for record, name in ((account, "place_warning"), (event, "display_name"), (account, "event_graph")):
            with self.subTest(name):
                self.assertTrue(record[name])
                self.assertNotEqual(record.with_context(lang="fr_FR")[name], record[name])

    def test_times_as_on_pages(self):
        """Test that times within texts look as the web client writes them: in the user's zone, with his digits."""
        moment = datetime(self.env.cr.now().year, 11, 28, 9, 26)
        for lang, zone, shown in (
            ("en_US", "America/New_York", "Nov 28, 4:26 AM"),
            ("fr_FR", "Asia/Kathmandu", "28 nov., 15:11"),
            ("ar_001", "Pacific/Kiritimati", "٢٨ نوفمبر، ١١:٢٦ م"),
        ):
            with self.subTest(lang):
                self.env["res.lang"]._activate_lang(lang)
                self.assertEqual(describe_time(self.env(context={"lang": lang, "tz": zone}), moment), shown)

    def test_found_by_the_words(self):
        """Test that a search finds a batch by words that its page shows, and by the name of a field in them."""
        failed, rejected = self.store(b"{}"), self.store(b'[{"event": "open", "timestamp": 1795500000}]')
        self.drain()
        for words, found in (
            ("not a list", failed),
            ("EMAIL", rejected),
            ("is missing", rejected),
            ("no such", failed[:0]),
        ):
            domain = ["|", ("error_explanation", "ilike", words), ("rejected_explanation", "ilike", words)]
            self.assertEqual(self.Batch.search([("id", "in", (failed | rejected).ids), *domain]), found, words)

    def test_code_of_before(self):
        """Test that a code that only an older version has stored still has its words, and is found by them."""
        batch = self.store(b"[]")
        batch.rejected_reasons = '{"code": "unstorable", "number": 2, "key": "reason"}'
        words = "Event 2: Its reason holds characters that no text can hold."
        self.assertEqual(batch.rejected_explanation, words)
        self.assertIn(batch, self.Batch.search([("rejected_explanation", "ilike", "no text can hold")]))

    def test_text_of_before(self):
        """Test that text that an older version has stored is shown as it is."""
        for text in (
            "The body is not JSON: Expecting value",
            '{"code": "another"}',
            '{"code": "not_json"}',
            "[1]",
            "7",
        ):
            batch = self.store(b"[]")
            batch.write({"state": "failed", "error": text, "rejected_reasons": f"Event 2: It has no email.\n{text}"})
            self.assertEqual(batch.error_explanation, text)
            self.assertEqual(batch.rejected_explanation, f"Event 2: It has no email.\n{text}")

    @mute_logger("odoo.addons.mail.models.mail_mail")
    def test_broken_header_of_a_mail(self):
        """Test that a mail with a broken `X-SMTPAPI` header fails and says why in words."""
        for header, words in (
            ("{", "X-SMTPAPI is not JSON from its character 2 on."),
            ("[]", "X-SMTPAPI is not a JSON object."),
            ('{"a": "%s"}' % ("x" * 2000), "has a word of more than 997 characters"),
        ):
            self.send_mail(headers=repr({"X-SMTPAPI": header}), subject=words)
            mail = self.env["mail.mail"].search([("subject", "=", words)])
            self.assertEqual(mail.state, "exception")
            self.assertIn(words, mail.failure_reason)
