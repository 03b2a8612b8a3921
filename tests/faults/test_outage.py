"""Without database or disk no answer is 2xx, nothing is half stored, and all work continues by itself afterwards."""

import contextlib
import os
import secrets
import subprocess
import tempfile
from pathlib import Path

import psycopg2
import pytest
import requests
from harness import wait_for
from psycopg2.sql import SQL, Identifier
from sender import keep_running

from script.lib import postgres

REFUSED = 20  # posts while nothing can be stored
MEGABYTE = 1024 * 1024


@pytest.fixture
def refusing(cluster, database):
    """Ways to make the database refuse connections, by name."""

    def alter(option, disconnect=False):
        with cluster.administrator() as cursor:
            cursor.execute(SQL("ALTER DATABASE {} {}").format(Identifier(database.name), SQL(option)))
            if disconnect:
                query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
                cursor.execute(query, [database.name])

    @contextlib.contextmanager
    def closed():
        alter("ALLOW_CONNECTIONS false", disconnect=True)
        yield
        alter("ALLOW_CONNECTIONS true")

    @contextlib.contextmanager
    def full():
        alter("CONNECTION LIMIT 0", disconnect=True)
        yield
        alter("CONNECTION LIMIT -1")

    @contextlib.contextmanager
    def stopped():
        cluster.stop()
        yield
        cluster.start()

    return {"closed": closed, "full": full, "stopped": stopped}


@pytest.mark.parametrize("way", ["closed", "full", "stopped"])
def test_no_database(stack, database, webhook, crowd, chance, refusing, way):
    """While the database cannot be reached no POST is taken; afterwards all are, without anybody's help."""
    before = crowd.events(chance, 300)
    assert webhook.post(before).status_code == 204
    refused = [crowd.events(chance, 50) for _ in range(REFUSED)]
    with refusing[way]():
        for events in refused:
            assert not 200 <= status_of(webhook, events) < 300
    post_until_taken(stack, webhook, refused)
    crowd.wait_until_drained()
    crowd.check(before + [event for events in refused for event in events])


def status_of(webhook, events):
    """Return the status of the answer to a POST; 0 if there is none."""
    try:
        return webhook.post(events).status_code
    except requests.RequestException:
        return 0


def post_until_taken(stack, webhook, batches):
    """Post as SendGrid does: again and again."""

    def is_taken(events):
        keep_running(stack.odoo)
        return status_of(webhook, events) == 204

    for events in batches:
        wait_for(lambda events=events: is_taken(events), "taken again", 120)


def can_mount():
    """Tell whether this machine lets us mount a small file system in memory."""
    with tempfile.TemporaryDirectory() as folder:
        possible = os.geteuid() == 0 and mount(folder, "size=1m")
        subprocess.run(["umount", folder], capture_output=True, check=False)
        return possible


def mount(folder, options):
    """Mount a file system in memory; tell whether that was possible."""
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]
    return not subprocess.run(command, capture_output=True, check=False).returncode


@contextlib.contextmanager
def small_disk(cluster, database, table):
    """Put the table on a disk with 8 MB to spare. Give a function that makes it larger, and the table space's name."""
    name = f"small_{secrets.token_hex(4)}"  # unique, since a killed run may have left one
    names = {"space": Identifier(name), "table": Identifier(table), "role": Identifier(postgres.ROLE)}
    size = database.value("SELECT pg_table_size(%s)", table) + 8 * MEGABYTE
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        assert mount(folder, f"size={size},mode=755")
        space = Path(folder) / "space"
        space.mkdir(0o700)
        owner = cluster.data.stat()
        os.chown(space, owner.st_uid, owner.st_gid)
        try:
            with cluster.administrator() as cursor:
                cursor.execute(SQL("CREATE TABLESPACE {space} LOCATION %s").format(**names), [str(space)])
                cursor.execute(SQL("GRANT CREATE ON TABLESPACE {space} TO {role}").format(**names))
            database.query(SQL("ALTER TABLE {table} SET TABLESPACE {space}").format(**names))
            yield lambda: mount(folder, "remount,size=1g"), name
            database.query("DROP TABLE IF EXISTS filler")
            database.query(SQL("ALTER TABLE {table} SET TABLESPACE pg_default").format(**names))
            with cluster.administrator() as cursor:
                cursor.execute("CHECKPOINT")  # removes the files that were moved away
                cursor.execute(SQL("DROP TABLESPACE {space}").format(**names))
        finally:
            subprocess.run(["umount", "--lazy", folder], capture_output=True, check=False)


@contextlib.contextmanager
def small_files(cluster, _database, _table):
    """Limit PostgreSQL's files to 16 MB, the size of its log segments. The system lets their owner do that.

    Give a function that removes the limit.
    """

    def limit(size):
        for pid in cluster.processes():
            # A process that has just ended needs no limit; ignore that error.
            subprocess.run(
                cluster.as_owner("prlimit", f"--pid={pid}", f"--fsize={size}:"), capture_output=True, check=False
            )

    limit(16 * MEGABYTE)
    try:
        yield lambda: limit("unlimited"), None
    finally:
        limit("unlimited")


CASES = [pytest.param(small_files, "sendgrid_event_batch", id="small files")]
if can_mount():
    CASES.append(pytest.param(small_disk, "sendgrid_event_batch", id="no room for batches"))
    CASES.append(pytest.param(small_disk, "sendgrid_event", id="no room for events"))


@pytest.mark.parametrize(("shortage", "table"), CASES)
def test_full_disk(stack, cluster, database, webhook, crowd, chance, shortage, table):
    """A POST that cannot be written is refused, and not stored in part; with space again all continues by itself."""
    known = database.value("SELECT count(*) FROM sendgrid_event_batch")
    taken, refused = [], []

    def fill():
        # No compression makes these texts smaller.
        events = crowd.events(chance, 300)
        padding = [{**event, "padding": secrets.token_hex(5000)} for event in events]
        (taken if status_of(webhook, padding) == 204 else refused).append(events)

    with shortage(cluster, database, table) as (relieve, space):
        if table == "sendgrid_event":
            # These POSTs are taken: only the drain has no space.
            occupy(database, space)
            for _ in range(5):
                fill()
            assert not refused
            database.minute_is_over()
            wait_for(lambda: drain_stopped(stack), "the drain has met it")
        else:
            while len(refused) < 5:
                fill()
                assert len(taken) < 100
        assert database.value("SELECT count(*) FROM sendgrid_event_batch") == known + len(taken)
        relieve()
        post_until_taken(stack, webhook, refused)
        crowd.wait_until_drained()
        crowd.check([event for events in taken + refused for event in events])


def occupy(database, name):
    """Fill the small disk up to the last page."""
    database.query(SQL("CREATE TABLE filler (padding text STORAGE PLAIN) TABLESPACE {}").format(Identifier(name)))
    for rows in (100, 1):
        with contextlib.suppress(psycopg2.errors.DiskFull):
            while True:
                database.query("INSERT INTO filler SELECT repeat('x', 7000) FROM generate_series(1, %s)", rows)


def drain_stopped(stack):
    """Tell whether the drain has logged that it continues later."""
    return "No space left on device" in stack.odoo.log.read_text(errors="replace")
