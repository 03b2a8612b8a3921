"""Databases: made by Odoo under another name and renamed when complete, so that half of one is never taken for one."""

import ast
import contextlib
import hashlib
import itertools
import os
import re
import shutil
import subprocess

import psycopg2
from psycopg2 import sql

from . import lock, odoo, paths, process, say

# What is in these cannot change what is in a database.
NOT_INSTALLED = {".ci", ".dev", ".git", "__pycache__", "benchmarks", "docs", "sandbox", "script", "static", "tests"}
# Two checkouts can share a PostgreSQL.
_PREFIX = f"sendgrid_{hashlib.sha256(os.fsencode(paths.ROOT)).hexdigest()[:6]}_"
_numbers = itertools.count(1)
INSTALLED_SUFFIXES = {".csv", ".po", ".py", ".sql", ".xml"}


def addon_hash():
    """A name for the state of what the addon brings into a database, and of the Odoo under it."""
    digest = hashlib.sha256(_base_hash().encode())
    for folder, folders, files in os.walk(paths.ROOT):
        folders[:] = sorted(name for name in folders if not (name in NOT_INSTALLED and folder == str(paths.ROOT)))
        for name in sorted(files):
            path = os.path.join(folder, name)
            if os.path.splitext(name)[1] in INSTALLED_SUFFIXES:
                digest.update(os.path.relpath(path, paths.ROOT).encode())
                with open(path, "rb") as file:
                    digest.update(hashlib.sha256(file.read()).digest())
    return digest.hexdigest()[:12]


def exists(name):
    """Whether there is a database of that name."""
    with _maintenance() as cursor:
        cursor.execute("SELECT FROM pg_database WHERE datname = %s", [name])
        return bool(cursor.rowcount)


def drop(name):
    """Drop a database, whoever is connected to it, and its filestore."""
    with _maintenance() as cursor:
        cursor.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
    shutil.rmtree(_filestore(name), ignore_errors=True)


def drop_all(prefix):
    """Drop all databases whose names begin like this."""
    for name in _names(prefix):
        drop(name)


def _names(prefix):
    with _maintenance() as cursor:
        cursor.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [prefix])
        return [name for [name] in cursor.fetchall()]


def rename(old, new):
    """Rename a database and its filestore."""
    shutil.rmtree(_filestore(new), ignore_errors=True)
    if _filestore(old).exists():
        _filestore(old).rename(_filestore(new))
    with _maintenance() as cursor:
        cursor.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(old), sql.Identifier(new)))


def clone(source, target):
    """Copy a database. The filestore's files are never written to, only added and removed: links are enough."""
    with _maintenance() as cursor:
        cursor.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(target), sql.Identifier(source)))
    if _filestore(source).exists():
        shutil.copytree(_filestore(source), _filestore(target), copy_function=os.link, dirs_exist_ok=True)


def odoo_run(name, *arguments, title=None):
    """Run Odoo on a database to install or update something."""
    command = odoo.command("server", "-d", name, "--stop-after-init", "--no-http", "--max-cron-threads=0", *arguments)
    try:
        lines = process.run(command, f"install-{name}.log", title, env=odoo.environment())
    except process.Failed as failure:
        raise say.Problem(_last_error(failure.lines, failure.log)) from None
    if any(f" {level} {name} " in line for line in lines for level in ("ERROR", "CRITICAL")):
        raise say.Problem(_last_error(lines, paths.LOG / f"install-{name}.log"))


def odoo_shell(name, script, variables):
    """Run a script in Odoo's shell on a database and return what it prints."""
    done = subprocess.run(
        odoo.command("shell", "-d", name, "--no-http", "--log-level=error"),
        env={**odoo.environment(), **variables},
        input=script,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        reason = done.stderr.strip().splitlines() or ["no reason given"]
        raise say.Problem(f"A script in Odoo's shell failed: {reason[-1]}")
    return done.stdout


def mark(name):
    """What `set_mark` wrote last."""
    with _maintenance() as cursor:
        cursor.execute("SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", [name])
        return cursor.fetchone()[0]


def set_mark(name, text):
    """Write a line on a database, in the place that PostgreSQL has for it."""
    with _maintenance() as cursor:
        cursor.execute(sql.SQL("COMMENT ON DATABASE {} IS %s").format(sql.Identifier(name)), [text])


def _last_error(lines, log):
    """The line that tells most of a log: the exception, or the last that was logged as an error."""
    telling = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Violation)\b|.* (ERROR|CRITICAL) ", line)]
    return f"Odoo failed: {telling[-1] if telling else 'no reason given'} (see {log})"


def test_template():
    """The database that every test database is a copy of: Odoo with the addon, made once per state of the sources.

    Call it with the lock `template` held, until the copy is made.
    """
    dependencies = ",".join(_manifest()["depends"])
    base = f"{_PREFIX}base_{_base_hash()}"
    template = f"{_PREFIX}template_{addon_hash()}"
    if not exists(base):
        drop_all(f"{_PREFIX}base_")
        drop(base + "_new")
        odoo_run(base + "_new", "-i", dependencies, title="Installing Odoo for the tests …")
        rename(base + "_new", base)
    if not exists(template):
        drop_all(f"{_PREFIX}template_")
        clone(base, template + "_new")
        odoo_run(template + "_new", "-i", paths.ADDON, title="Installing the addon for the tests …")
        rename(template + "_new", template)
    return template


@contextlib.contextmanager
def for_tests():
    """The name of a fresh copy of the template, which is dropped at the end. Clears away what killed runs left."""
    with lock.exclusive("template"):
        template = test_template()
        for name in _names(f"{_PREFIX}test_"):
            if not _alive(int(name.split("_")[-2])):
                drop(name)
        name = f"{_PREFIX}test_{os.getpid()}_{next(_numbers)}"
        clone(template, name)
    try:
        yield name
    finally:
        drop(name)


def _alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _base_hash():
    """A name for what the addon stands on."""
    parts = [str(odoo.source()), str(sorted(_manifest()["depends"])), (paths.ROOT / "requirements-dev.txt").read_text()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _manifest():
    return ast.literal_eval((paths.ROOT / "__manifest__.py").read_text())


def _filestore(name):
    return paths.DATA / "filestore" / name


@contextlib.contextmanager
def _maintenance():
    with contextlib.closing(psycopg2.connect(dbname="postgres")) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor
