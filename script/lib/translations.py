"""`script/translations`: the addon's texts, as core exports them, and the languages into which they are translated."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import polib

from . import database, odoo, paths, postgres, process, say

FOLDER = paths.ROOT / "i18n"
WRAP = 78  # characters, as core has it
TEMPLATE = FOLDER / f"{paths.ADDON}.pot"


def main(arguments: list[str]) -> int:
    """Write `i18n/sendgrid_tracking.pot` anew, and bring the translations in line with it."""
    if arguments:
        raise say.Problem("script/translations takes no arguments.")
    FOLDER.mkdir(exist_ok=True)
    with postgres.running():
        export(TEMPLATE)
    for path in sorted(FOLDER.glob("*.po")):
        say.step(f"Bringing {path.name} in line …")
        bring_in_line(path, TEMPLATE)
    return 0


def bring_in_line(path: Path, template: Path) -> None:
    """Give a language the texts of a template in its order: new ones have no translation yet, and old ones are gone.

    Core writes templates by the same library, so that a text that did not change keeps its lines.
    """
    texts, translated = polib.pofile(str(template)), polib.pofile(str(path), wrapwidth=WRAP)
    translated.merge(texts)
    place = {text.msgid: number for number, text in enumerate(texts)}
    translated[:] = sorted((text for text in translated if not text.obsolete), key=lambda text: place[text.msgid])
    translated.save()


def export(target: Path) -> None:
    """Have core write the template of the translations to a file.

    Core walks through all files of an addon, and would never come back from `.dev`, which has a link to the addon. So
    it gets a copy without it.
    """
    with tempfile.TemporaryDirectory() as folder, database.for_tests() as name:
        copy = Path(folder, paths.ADDON)
        for file in _files():
            copied = copy / file
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(paths.ROOT / file, copied)
        with odoo.addons_from(Path(folder)):
            command = odoo.command("i18n", "export", "-d", name, "--output", str(target), paths.ADDON)
            process.run(command, "translations.log", "Exporting the texts …", env=odoo.environment(), cwd=paths.DATA)


def _files() -> list[str]:
    """Return the paths of the files whose texts people read, relative to the addon."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=paths.ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    return [
        path
        for path in listed
        if path.split("/")[0] not in database.NOT_INSTALLED - {"static"} and (paths.ROOT / path).is_file()
    ]
