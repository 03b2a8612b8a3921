import ast
import re
from itertools import chain
from pathlib import Path

from lxml import etree

from odoo.tests import BaseCase, tagged

from ..controllers.webhook import MAX_BODY
from ..tools.events import fold, refusal

ROOT = Path(__file__).resolve().parent.parent
ARCHITECTURE = ROOT / "docs" / "architecture.md"
DESCRIPTIONS = (ARCHITECTURE, ROOT / "CONTRIBUTING.md")
PRIVACY = ROOT / "docs" / "privacy.md"
DEPLOY = ROOT / "docs" / "deploy.md"
CODE = ("controllers", "models", "tools", "wizard")
PARAMETER = "sendgrid_tracking."
KEY = "sendgrid_"

TICKED = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
# Matches a path that begins with a folder, or the name of a file.
PATH = re.compile(r"[\w.-]+/[\w./-]*|[\w-]*\.(?:css|csv|js|json|md|py|scss|sql|toml|txt|xml)")


def get_section(title):
    """Return the text of a section of `docs/architecture.md`."""
    sections = re.split(r"^##+ (.+)\n", ARCHITECTURE.read_text(), flags=re.MULTILINE)
    return dict(zip(sections[1::2], sections[2::2], strict=True))[title]


def get_rows(title):
    """Return the rows of the tables of a section, without headings and rulers. A row is a list of cells."""
    rows = []
    for line in get_section(title).splitlines():
        if line.startswith("|--"):
            rows.pop()
        elif line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def get_names(title):
    """Return the names in backticks in the first cells of the tables of a section."""
    return list(chain.from_iterable(TICKED.findall(row[0]) for row in get_rows(title)))


def get_paths(text):
    """Return the set of paths that a text names as links, in backticks or in commands."""
    words = [span.split()[0] for span in TICKED.findall(FENCE.sub("", text))]
    words += [word.partition("::")[0] for fence in FENCE.findall(text) for word in fence.split() if "/" in word]
    words += [target for target in LINK.findall(text) if "://" not in target]
    return {word for word in words if PATH.fullmatch(word)}


def get_calls():
    """Yield (name of the method, `ast.Call`, source of the object) for the method calls in the addon's code."""
    for path in chain.from_iterable((ROOT / folder).rglob("*.py") for folder in CODE):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                yield node.func.attr, node, ast.unparse(node.func.value)


def get_first_text(call):
    """Return the first argument of a call if it is a text, else an empty one."""
    first = call.args[0] if call.args else None
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""


@tagged("post_install", "-at_install")
class TestDocs(BaseCase):
    """The descriptions say what the code says: files, scheduled actions, context keys, statuses, facts."""

    def test_paths(self):
        """Test that each file and folder that a description names exists."""
        for description in DESCRIPTIONS:
            paths = get_paths(description.read_text())
            self.assertGreater(len(paths), 5)
            for path in paths:
                with self.subTest(description=description.name, path=path):
                    bases = (ROOT, description.parent)
                    self.assertTrue(any((base / path).exists() for base in bases))

    def test_readme(self):
        """Test that the README leads to both descriptions, and to the pages for data protection and for production."""
        links = LINK.findall((ROOT / "README.md").read_text())
        self.assertLessEqual({str(path.relative_to(ROOT)) for path in (*DESCRIPTIONS, PRIVACY, DEPLOY)}, set(links))

    def test_largest_post(self):
        """Test that whoever sets up a proxy is told how large a POST may be."""
        self.assertIn(f"{MAX_BODY:,} bytes", DEPLOY.read_text())

    def test_scheduled_actions(self):
        """Test that each scheduled action is described, with its interval."""
        actions = {}
        for record in etree.parse(ROOT / "data" / "ir_cron.xml").iterfind("record"):
            number, kind = (record.findtext(f"field[@name='interval_{name}']") for name in ("number", "type"))
            actions[record.get("id")] = f"{number} {kind.removesuffix('s') if number == '1' else kind}"
        described = {TICKED.findall(row[0])[0]: row[1] for row in get_rows("Scheduled actions")}
        self.assertEqual(described, actions)

    def test_context_keys(self):
        """Test that each context key of ours is described, and no other."""
        keys = set()
        for name, call, on in get_calls():
            if name == "with_context":
                keys |= {keyword.arg for keyword in call.keywords if keyword.arg}
            elif name == "get" and on.endswith("context"):
                keys.add(get_first_text(call))
        self.assertCountEqual(get_names("Context keys"), {key for key in keys if key.startswith(KEY)})

    def test_system_parameters(self):
        """Test that each system parameter of ours is described, and no other."""
        parameters = {get_first_text(call) for name, call, _on in get_calls() if name.endswith("_param")}
        described = [name for name in get_names("System parameters") if name.startswith(PARAMETER)]
        self.assertCountEqual(described, {name for name in parameters if name.startswith(PARAMETER)})

    def test_statuses(self):
        """Test that the order of the statuses is described."""
        [order] = re.findall(r"^\w+(?: < \w+)+$", get_section("Status"), re.MULTILINE)
        self.assertEqual(tuple(order.split(" < ")), fold.STATUSES)

    def test_facts(self):
        """Test that each fact is described with its consequences, and no other."""
        facts = {*fold.CLAIMED_FACTS, *fold.GROUP_FACTS.values(), *refusal.DROP_FACTS, "unsubscribed"}
        self.assertCountEqual(get_names("Facts and what follows"), facts)

    def test_what_to_open(self):
        """Test that the files that the last table says to open have the names that it says to look for."""
        rows = [row for row in get_rows("To change X, open Y") if any(row[1:])]
        self.assertGreater(len(rows), 20)
        for change, opened, names in rows:
            files = [ROOT / path for path in get_paths(opened)]
            self.assertTrue(files, change)
            texts = [path.read_text() for path in files if path.is_file()]
            for name in TICKED.findall(names):
                with self.subTest(change=change, name=name):
                    self.assertTrue(any(name in text for text in texts))
