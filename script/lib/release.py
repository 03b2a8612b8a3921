"""The versions that were released: `CHANGELOG.md` names the commit of each."""

import io
import re
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import NamedTuple

from . import lock, paths, say

HEADING = re.compile(r"^## (?P<version>\S+) \((?:unreleased|commit (?P<commit>[0-9a-f]{40}))\)$", re.MULTILINE)


class Release(NamedTuple):
    """A version. ``commit`` is None as long as it is not released."""

    version: str
    commit: str | None


def read_changelog() -> list[Release]:
    """The versions of `CHANGELOG.md`, newest first."""
    return [Release(found["version"], found["commit"]) for found in HEADING.finditer(paths.CHANGELOG.read_text())]


def latest() -> Release:
    """The version that was released last: the one that users upgrade from."""
    return next(release for release in read_changelog() if release.commit)


def addons_path(release: Release, root: Path = paths.ROOT) -> Path:
    """An addons path that holds the addon as it was released, taken out of git once.

    :param root: the repository
    :raise say.Problem: where the repository does not have the release's commit
    """
    folder = paths.RELEASES / release.commit
    with lock.exclusive("releases"):
        if not folder.exists():
            unfinished = folder.with_suffix(".new")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            with zipfile.ZipFile(io.BytesIO(_archive(release, root))) as archive:
                archive.extractall(unfinished / paths.ADDON)
            unfinished.rename(folder)
    return folder


def _archive(release: Release, root: Path) -> bytes:
    """The release's files as a zip file."""
    command = ["git", "-C", str(root), "archive", "--format=zip", release.commit]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise say.Problem(
            f"This clone has no history: the commit of version {release.version}, {release.commit}, is missing; "
            "`git fetch --unshallow` brings it."
        )
    return done.stdout
