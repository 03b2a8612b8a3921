"""Kills while people decline to be measured, or have their tracking forgotten: afterwards nothing tells of them."""

import contextlib
import gzip
import json
import time
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest
from harness import wait_for
from sender import Sender, keep_running
from test_kill import RECOVERY, Killer

from script.lib import database as databases
from script.lib import say

# A few documents are reduced at once, so that the scheduled action has something left to do.
END = """
import json, os
from odoo.service.model import retrying
from odoo.addons.sendgrid_tracking.models import sendgrid_reduction
sendgrid_reduction.AT_ONCE = 2
addresses, reason = json.loads(os.environ["ADDRESSES"]), os.environ["REASON"]

def end():
    if reason == "wish":
        env["sendgrid.address"]._hold(addresses).write({"email_tracking": "declined"})
    env["sendgrid.reduction"]._begin(reason, addresses=addresses)

env.cr.rollback()  # a request begins with a state of its own
retrying(end, env)  # as each request does
env.cr.commit()
"""
WAYS = ("job_worker", "postgres", "backend", "connections", "server")


def _end_measuring(name, addresses, reason):
    """Have some people decline, or their tracking forgotten. Who is told that it failed tries again."""
    deadline = time.monotonic() + RECOVERY
    while True:
        try:
            return databases.run_script(name, END, ADDRESSES=json.dumps(addresses), REASON=reason)
        except say.Problem:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def test_kill_while_reducing(request, stack, cluster, database, webhook, crowd, chance, report):
    """Kill something at a random moment while people decline and SendGrid goes on posting; then check the result."""
    # A round takes long, because who declines is an Odoo of its own here. So there are fewer.
    rounds = max(len(WAYS), request.config.getoption("rounds") // 3)
    killer = Killer(stack, cluster, database, chance)
    ended, rest = set(), list(crowd.addresses)
    chance.shuffle(rest)
    with (
        Sender(webhook, lambda: crowd.events(chance, chance.randint(1, 50)), chance, clients=2) as sender,
        ThreadPoolExecutor(1) as pool,
    ):
        for number in range(rounds):
            some, rest = rest[:5], rest[5:]
            ending = pool.submit(_end_measuring, database.name, some, chance.choice(("wish", "forgotten")))
            ended.update(some)
            time.sleep(chance.uniform(0, 6))  # a random moment: the transaction begins after some seconds
            getattr(killer, WAYS[number % len(WAYS)])()

            def is_done(ending=ending):
                keep_running(stack.odoo)
                return ending.done()

            wait_for(is_done, "the people could decline", 2 * RECOVERY)
            ending.result()
    wait_for(lambda: keep_running(stack.odoo) or stack.odoo.running(), "Odoo runs", RECOVERY)
    crowd.wait_until_drained(RECOVERY)

    def is_reduced():
        keep_running(stack.odoo)
        # An administrator would wait an hour for what a crash left behind.
        with contextlib.suppress(psycopg2.OperationalError):
            database.query(
                """UPDATE ir_cron SET nextcall = now() AT TIME ZONE 'UTC' - interval '1 minute'
                    WHERE id = (SELECT res_id FROM ir_model_data WHERE name = 'ir_cron_reduce')"""
            )
            database.minute_is_over()
            return not database.value("SELECT count(*) FROM sendgrid_reduction WHERE state != 'done'")
        return False

    wait_for(is_reduced, "all is reduced", RECOVERY)
    assert database.value("SELECT count(*) FROM sendgrid_reduction") >= rounds
    told = [e for e in sender.events if not (e["email"] in ended and e["event"] in ("open", "click"))]
    assert len(told) < len(sender.events), "they opened something"
    crowd.check(told)
    measured = "SELECT DISTINCT measured FROM sendgrid_email WHERE recipient = ANY(%s)"
    assert database.query(measured, sorted(ended)) == [("none",)]
    for (body,) in database.query("SELECT body_gzip FROM sendgrid_event_batch"):
        for event in json.loads(gzip.decompress(b64decode(bytes(body)))):
            assert not (event["email"] in ended and event["event"] in ("open", "click")), event
    report(f"kill while reducing: {rounds} rounds, {len(ended)} people; {len(sender.events)} events, {len(told)} kept")


@pytest.fixture(autouse=True)
def _postgres_is_there_afterwards(cluster):
    yield
    cluster.start()
