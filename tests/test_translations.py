import ast
import io
import os
import re
from collections import Counter
from pathlib import Path
from unittest.mock import patch

import polib
from lxml import etree

from odoo.tests import TransactionCase, tagged
from odoo.tools import SQL
from odoo.tools.translate import trans_export

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "i18n"
TEMPLATE = FOLDER / "sendgrid_tracking.pot"
LANGUAGES = ("ar", "de", "es", "fr", "it", "nl", "pt_BR")
PLACEHOLDER = re.compile(r"%\(\w+\)[a-z]|%[sd%]|\{\{.*?\}\}")
TAG = re.compile(r"</?[a-z][^>]*>")
READ_IN_TAG = re.compile(r' (aria-label|title)="[^"]*"')
# What begins with a capital and has several words is a text for people, or begins like one of these. So is a single
# word with a capital.
SENTENCE = re.compile(r"[A-Z][\w'’]*[,:;]? [\w“%($]|[A-Z][a-z]{2,}[.!?:…]?$")
NOT_READ = (
    "CHECK (",
    "LEFT JOIN",
    # The errors of a programmer.
    "Not a name of a form",
    "Not a way in which a word is said",
    "Not a word about measuring",
    "Not a wording",
)
# What a call of these gets as text is for programs, or for the log of the server.
NOT_FOR_PEOPLE = {"SQL", "execute", "debug", "info", "warning", "exception", "error", "namedtuple"}
JS_TEXT = re.compile(r'"((?:[^"\\\n]|\\.)*)"|`((?:[^`\\]|\\.)*)`')
JS_COMMENT = re.compile(r"/\*.*?\*/|^\s*//.*?$", re.DOTALL | re.MULTILINE)
QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")


def read(path):
    """Return {source text: translation} of a file; what is fuzzy or obsolete is left out."""
    return {
        entry.msgid: entry.msgstr
        for entry in polib.pofile(str(path))
        if not entry.obsolete and "fuzzy" not in entry.flags
    }


def get_fixed_parts(text):
    """Return the placeholders and tags of a text: what no translation may change."""
    return Counter(PLACEHOLDER.findall(text)), Counter(READ_IN_TAG.sub(r" \1", tag) for tag in TAG.findall(text))


def find_sentences(tree):
    """Yield the texts of a Python module that look like sentences, without docstrings and what is for programs."""
    if isinstance(tree, ast.Call):
        name = getattr(tree.func, "attr", getattr(tree.func, "id", ""))
        if name in NOT_FOR_PEOPLE:
            return
    if isinstance(tree, ast.Expr) and isinstance(tree.value, ast.Constant):
        return
    text = ""
    if isinstance(tree, ast.Constant) and isinstance(tree.value, str):
        text = tree.value
    elif isinstance(tree, ast.JoinedStr):
        text = "".join(part.value if isinstance(part, ast.Constant) else "%s" for part in tree.values)
    if SENTENCE.match(text):
        yield text
    for child in ast.iter_child_nodes(tree):
        yield from find_sentences(child)


def find_script_sentences(source):
    """Yield the texts of a JavaScript module that look like sentences."""
    for double, template in JS_TEXT.findall(JS_COMMENT.sub("", source)):
        text = (double or template).replace('\\"', '"')
        if SENTENCE.match(text):
            yield text


def find_template_sentences(path):
    """Yield the texts in expressions of a file of views or templates, where core looks for none."""
    for node in etree.parse(path).iter(etree.Element):
        for value in node.attrib.values():
            yield from filter(SENTENCE.match, map("".join, QUOTED.findall(value)))


@tagged("post_install", "-at_install")
class TestTranslations(TransactionCase):
    """What a person can read is translatable, and translated into all our languages."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.template = read(TEMPLATE).keys()

    def test_template(self):
        """The template has all texts that core finds, and no others: `script/translations` writes it anew."""
        walk = os.walk

        def walk_without_hidden(top, **options):
            # Core walks through all that is in an addon, also what stands there only while it is developed.
            for folder, folders, files in walk(top, **options):
                folders[:] = [one for one in folders if not one.startswith(".")]
                yield folder, folders, files

        buffer = io.BytesIO()
        with patch("odoo.tools.translate.os.walk", walk_without_hidden):
            trans_export(None, ["sendgrid_tracking"], buffer, "po", self.env)
        found = {entry.msgid for entry in polib.pofile(buffer.getvalue().decode())}
        self.assertFalse(found - self.template, "they are missing")
        self.assertFalse(self.template - found, "they are read nowhere any more")

    def test_code(self):
        """All sentences of the code are in the template."""
        left = {}
        for folder in ("controllers", "models", "wizard"):
            for path in sorted((ROOT / folder).rglob("*.py")):
                left[path.relative_to(ROOT)] = set(find_sentences(ast.parse(path.read_text())))
        for path in sorted((ROOT / "static" / "src").rglob("*.js")):
            left[path.relative_to(ROOT)] = set(find_script_sentences(path.read_text()))
        for folder in ("data", "static/src", "views", "wizard"):
            for path in sorted((ROOT / folder).rglob("*.xml")):
                left[path.relative_to(ROOT)] = set(find_template_sentences(path))
        for texts in left.values():
            texts -= self.template | {text for text in texts if text.startswith(NOT_READ)}
        self.assertFalse({name: texts for name, texts in left.items() if texts})

    def test_languages(self):
        """All texts are translated, with the same placeholders and tags as in English."""
        for language in LANGUAGES:
            with self.subTest(language):
                translations = read(FOLDER / f"{language}.po")
                missing = {text for text in self.template if not translations.get(text)}
                self.assertFalse(missing)
                self.assertFalse(translations.keys() - self.template, "they are read nowhere any more")
                broken = {
                    text: translation
                    for text, translation in translations.items()
                    if get_fixed_parts(text) != get_fixed_parts(translation)
                }
                self.assertFalse(broken)

    def test_fields_of_applications(self):
        """A field that an application's model inherits is translated, although no translation of ours names it."""
        self.env["res.lang"]._activate_lang("fr_FR")
        self.env["ir.module.module"].search([("name", "=", "sendgrid_tracking")])._update_translations(["fr_FR"])
        field_id = self.env["ir.model.fields"]._get("crm.lead", "email_tracking").id
        for statement in (
            SQL(
                """UPDATE ir_model_fields SET field_description = field_description - 'fr_FR', help = help - 'fr_FR'
                    WHERE id = %s""",
                field_id,
            ),
            SQL("UPDATE ir_model_fields_selection SET name = name - 'fr_FR' WHERE field_id = %s", field_id),
        ):
            self.env.cr.execute(statement)
        self.env.invalidate_all()
        self.env.registry.clear_cache("stable")
        shown, expected = (
            self.env[model].with_context(lang="fr_FR").fields_get(["email_tracking"], ["string", "help", "selection"])
            for model in ("crm.lead", "mail.thread.blacklist")
        )
        self.assertEqual(shown, expected)
        self.assertEqual(shown["email_tracking"]["string"], "Suivi des e-mails")

    def test_summaries(self):
        """The summaries that the code of ready-made rules names are translated where an activity is created."""
        summaries = re.findall(
            r'"mail\.mail_activity_data_\w+", "([^"]+)"', (ROOT / "data/base_automation.xml").read_text()
        )
        self.assertEqual(len(summaries), 4)
        translate = self.env["sendgrid.email"].with_context(lang="fr_FR")._translate_summary
        self.env["res.lang"]._activate_lang("fr_FR")
        for summary in summaries:
            self.assertEqual(translate(summary), read(FOLDER / "fr.po")[summary])
        self.assertEqual(translate("Somebody's own"), "Somebody's own")
