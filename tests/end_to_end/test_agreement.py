"""A real scheduled job reads SendGrid's lists of suppressed addresses, and is killed on the way."""

import os
import re
import signal
import time

from harness import Database, SandboxClient, wait_for

BOUNCES = 49_000
UNSUBSCRIBES = 1_000
AT_ONCE = 10_000


def test_fifty_thousand_entries_and_a_kill(large_stack, large_odoo):
    """The job's process dies in the middle. The next one continues there, and in the end each entry is there, once."""
    sandbox, database = SandboxClient(large_stack.sandbox), Database(large_stack.odoo.database)
    listed_since = int(time.time()) - 3600
    for start in range(0, BOUNCES, AT_ONCE):
        enlist(sandbox, "bounces", range(start, min(start + AT_ONCE, BOUNCES)), listed_since)
    enlist(sandbox, "unsubscribes", range(UNSUBSCRIBES), listed_since)
    contacts = [large_odoo.contact(f"Agreed {n}", address(n)) for n in range(0, BOUNCES, 1000)]
    account = large_odoo.ref("sendgrid_tracking.sendgrid_account_demo")
    sync = large_odoo.call("sendgrid.account", "action_sync_suppressions", [account])["res_id"]

    def progress():
        return large_odoo.read("sendgrid.suppression.sync", sync, "state", "seen_count", "current_offset", "error")

    wait_for(lambda: progress().seen_count > 5000, "some pages", timeout=120)
    pid = job_process(large_stack)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not alive(pid), "the process is gone")
    halfway = progress()
    # PostgreSQL undoes the write that was under way, and keeps those that it had committed.
    assert halfway.state == "running" and 5000 < halfway.seen_count < BOUNCES, halfway

    def done():
        database.minute_is_over()
        return progress().state != "running"

    successor = wait_for(lambda: {job_process(large_stack)} - {pid}, "its successor").pop()
    wait_for(done, "all read", timeout=300)
    memory = re.search(r"VmHWM:\s+(\d+) kB", open(f"/proc/{successor}/status").read()).group(1)
    print(f"\nPeak memory of the job's process: {int(memory) // 1024} MB")
    end = progress()
    assert (end.state, end.error, end.seen_count) == ("done", False, BOUNCES + UNSUBSCRIBES), end
    count = (
        "SELECT count(*), count(DISTINCT email), min(sync_id), max(sync_id) FROM sendgrid_suppression WHERE list = %s"
    )
    assert database.query(count, "bounces") == [(BOUNCES, BOUNCES, sync, sync)]
    assert database.query(count, "unsubscribes") == [(UNSUBSCRIBES, UNSUBSCRIBES, sync, sync)]
    flagged = large_odoo.find("res.partner", ("email_bounced", "=", True), ("id", "in", contacts), fields=["id"])
    assert len(flagged) == len(contacts)
    reasons = """SELECT count(*), count(DISTINCT res_id) FROM mail_message
                  WHERE model = 'mail.blacklist' AND body LIKE '%%unsubscribed from all e-mails%%'"""
    assert database.query(reasons) == [(UNSUBSCRIBES, UNSUBSCRIBES)], "blacklisted once, with the reason"


def address(number):
    return f"agreed-{number}@example.net"


def enlist(sandbox, name, numbers, created):
    entries = [{"email": address(number), "created": created} for number in numbers]
    sandbox.http.post(f"{sandbox.server.url}/sandbox/suppressions/{name}", json=entries, timeout=60).raise_for_status()


def job_process(stack):
    """Return the id of the process that runs scheduled jobs now, from the server's log."""
    with open(stack.odoo.log) as log:
        return int(re.findall(r"Worker WorkerCron \((\d+)\) alive", log.read())[-1])


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
