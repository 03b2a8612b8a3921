"""Odoo out of Debian's packages: downloaded and unpacked as an ordinary user, without installing anything.

apt gets a state of its own in a scratch folder and checks the archive's signatures as always.
"""

import getpass
import os
import shutil
import subprocess
from pathlib import Path

from . import say

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

# The one place where Debian's versions are fixed. Odoo's package has its fonts and jQuery as links into other packages.
# Font Awesome is from a release that still has version 4, whose files Odoo's icons need.
PACKAGES = {
    "odoo-19": "19.0.0+dfsg-1",
    "libjs-jquery": "3.7.1+dfsg+~3.5.33-1",
    "libjs-jquery-form": "12-4",
    "libjs-underscore": "1.13.8~dfsg+~1.13.0-1",
    "fonts-montserrat": "9.000-6",
    "fonts-roboto-unhinted": "2:3.016-1",
}
RELEASE = "unstable"
OLDER_PACKAGES = {"fonts-font-awesome": "5.0.10+really4.7.0~dfsg-4.1"}
OLDER_RELEASE = "trixie"

# Left out of the package as non-free; the web client complains without it. Its only user blurs backgrounds in video calls.
DROPPED_FILE = "usr/lib/python3/dist-packages/odoo/addons/mail/static/lib/selfie_segmentation/selfie_segmentation.js"


class Unavailable(Exception):
    """Why Odoo cannot be had this way on this machine."""


def unpack(target):
    """Download the packages and unpack them into the new folder `target`."""
    for tool in ("apt-get", "apt-cache", "dpkg-deb"):
        if not shutil.which(tool):
            raise Unavailable(f"there is no {tool}")
    if not os.path.exists(KEYRING):
        raise Unavailable(f"there is no {KEYRING}")
    apt = Apt(target.with_name(target.name + ".apt"))
    try:
        apt.update(RELEASE, OLDER_RELEASE)
        for release, packages in ((RELEASE, PACKAGES), (OLDER_RELEASE, OLDER_PACKAGES)):
            for name, version in packages.items():
                apt.download(name, version, release)
        say.step("Unpacking Odoo 19 (1.2 GB) …")
        for archive in sorted(apt.folder.glob("*.deb")):
            _run(["dpkg-deb", "-x", archive, target])
    finally:
        shutil.rmtree(apt.folder, ignore_errors=True)
    stub = target / DROPPED_FILE
    if not stub.exists():
        stub.parent.mkdir(parents=True, exist_ok=True)
        stub.write_text("/* Not part of Debian's package; used for video-call background blur only. */\n")


class Apt:
    """apt with lists, cache and sources of its own."""

    def __init__(self, folder):
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "lists" / "partial").mkdir(parents=True)
        (folder / "cache" / "archives" / "partial").mkdir(parents=True)
        self.folder = folder
        self.sources = folder / "sources.list"
        self.options = [
            option
            for setting in (
                f"Dir::Etc::sourcelist={self.sources}",
                "Dir::Etc::sourceparts=/dev/null",
                "Dir::Etc::preferences=/dev/null",
                "Dir::Etc::preferencesparts=/dev/null",
                f"Dir::State::lists={folder / 'lists'}",
                f"Dir::Cache={folder / 'cache'}",
                f"APT::Sandbox::User={getpass.getuser()}",
                "APT::Update::Error-Mode=any",
                "Acquire::Languages=none",
                "Acquire::Retries=3",
            )
            for option in ("-o", setting)
        ]

    def update(self, *releases):
        """Fetch the package lists, from the first of this machine's mirrors that has them."""
        mirrors = _mirrors()
        problem = "apt knows no mirror"
        for mirror in mirrors:
            self.sources.write_text(
                "".join(f"deb [signed-by={KEYRING}] {mirror} {release} main\n" for release in releases)
            )
            say.step("Reading Debian's package lists …")
            try:
                return _run(["apt-get", "-qq", *self.options, "update"])
            except Unavailable as error:
                problem = error
        raise Unavailable(problem)

    def download(self, name, version, release):
        """Download one package: the version we know, or the release's own when the mirror no longer has it."""
        listed = _run(["apt-cache", *self.options, "madison", name])
        if version not in [line.split("|")[1].strip() for line in listed.splitlines()]:
            say.warn(f"The mirror no longer has {name} {version}: taking the one in {release}.")
            name = f"{name}/{release}"
        else:
            name = f"{name}={version}"
        say.step(f"Downloading {name} …")
        _run(["apt-get", "-q", *self.options, "download", name], cwd=self.folder)


def _mirrors():
    """This machine's package mirrors, those that are known to be Debian's first (apt may not have read them yet)."""
    lines = _run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(ORIGIN) $(LABEL)", "Created-By: Packages"]
    ).splitlines()
    debian = [line.split()[0] for line in lines if line.split()[1:] == ["Debian", "Debian"]]
    unread = [line.split()[0] for line in lines if len(line.split()) == 1]
    return list(dict.fromkeys(debian + unread))


def _run(command, cwd=None):
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise Unavailable(lines[0] if lines else f"{Path(command[0]).name} failed")
    return done.stdout
