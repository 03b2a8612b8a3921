"""`script/translations`: the addon's texts, as core exports them, and the languages into which they are translated."""

import shutil
import subprocess
import tempfile
from pathlib import Path

from . import database, odoo, paths, postgres, process, say

FOLDER = paths.ROOT / "i18n"
TEMPLATE = FOLDER / f"{paths.ADDON}.pot"


def main(arguments: list[str]) -> int:
    """Write `i18n/sendgrid_tracking.pot` anew, and bring the translations in line with it."""
    if arguments:
        raise say.Problem("script/translations takes no arguments.")
    FOLDER.mkdir(exist_ok=True)
    with postgres.running():
        export(TEMPLATE)
    for path in sorted(FOLDER.glob("*.po")):
        process.run(
            ["msgmerge", "--update", "--backup=none", "--no-fuzzy-matching", "--no-wrap", str(path), str(TEMPLATE)],
            "translations.log",
            f"Bringing {path.name} in line …",
        )
    return 0


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
