"""Starts a real Odoo server, PostgreSQL and local SendGrid once for all tests of this folder."""

import os
import re
import resource

import pytest
from all_pages import make_world
from harness import PATIENCE, Database, Gateway, Log, OdooClient, SandboxClient, Webhook
from playwright.sync_api import expect, sync_playwright

from script.lib import chromium, paths, process
from script.lib import database as databases
from script.lib import stack as stacks

STACKS = ("stack", "large_stack")
# Playwright's own 5 seconds are too few for a page on a busy machine.
expect.set_options(timeout=PATIENCE * 1000)


@pytest.fixture(scope="session")
def stack():
    """Odoo and the local SendGrid, wired to each other, on a database of their own."""
    with stacks.for_tests() as running:
        yield running


@pytest.fixture(scope="session")
def large_stack():
    """A second stack, with two processes for HTTP, another for scheduled jobs, and mass mailing installed."""
    with databases.for_tests() as name:
        logs = paths.LOG / name
        logs.mkdir(exist_ok=True)
        databases.run_odoo(name, "Installing mass mailing …", "--init=mass_mailing")
        ports = [process.free_port() for _ in range(3)]
        stacks.configure(name, *ports)
        with stacks.Stack(name, ports, logs, workers=2, options=["--max-cron-threads=1"]) as running:
            yield running


def log_in(stack):
    """Log the administrator in, and give him a name and an address, so that he can send mail."""
    client = OdooClient(stack.odoo)
    client.write("res.partner", client.session["partner_id"], name="Marc Demo", email="marc@example.com")
    # Core sends queued mails each hour, even those that a test is just sending. The tests run that job themselves.
    client.write("ir.cron", client.ref("mail.ir_cron_mail_scheduler_action"), nextcall="2100-01-01 00:00:00")
    return client


@pytest.fixture(scope="session")
def odoo(stack):
    """The administrator's client."""
    return log_in(stack)


@pytest.fixture(scope="session")
def large_odoo(large_stack):
    """The administrator's client of the second stack."""
    return log_in(large_stack)


@pytest.fixture(scope="session")
def sandbox(stack):
    """The local SendGrid's API."""
    return SandboxClient(stack.sandbox)


@pytest.fixture(scope="session")
def gateway(stack):
    """A mail server that hands over to Odoo what comes in."""
    with Gateway(stack.odoo) as running:
        yield running


@pytest.fixture(scope="session")
def webhook(sandbox):
    """The account's webhook, to POST to as SendGrid or as somebody else."""
    return Webhook(sandbox.webhook()["url"])


@pytest.fixture(scope="session")
def database(stack):
    """The database, as another connection sees it: only committed rows."""
    return Database(stack.odoo.database)


@pytest.fixture(scope="module")
def world(request, odoo, sandbox, webhook):
    """Records for every page of ours, see `all_pages`."""
    return make_world(odoo, sandbox, webhook, request.module.__name__.replace("_", "-") + ".test")


# A browser that does not announce itself as headless: that would count as a machine.
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"


@pytest.fixture(scope="module")
def browser():
    """The machine's Chromium, driven by Playwright."""
    # Odoo, which also runs in this process, limits the address space. Chromium reserves more than that.
    _soft, hard = limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    with sync_playwright() as playwright:
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        running = playwright.chromium.launch(executable_path=chromium.path(), args=options)
        resource.setrlimit(resource.RLIMIT_AS, limits)
        yield running
        running.close()


@pytest.fixture
def open_browser(browser, stack):
    """A function that opens a window and logs a user in by the login page. Errors of its pages fail the test."""
    contexts, errors = [], []

    def open_window(login, password):
        context = browser.new_context(
            base_url=stack.odoo.url,
            viewport={"width": 1280, "height": 900},
            timezone_id="Europe/Berlin",
            locale="en-US",
            user_agent=AGENT,
            reduced_motion="reduce",  # a colour that is just fading in has no contrast yet
        )
        context.set_default_timeout(90_000)  # the first page has to build the assets
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto("/web/login")
        page.fill("input[name=login]", login)
        page.fill("input[name=password]", password)
        page.click(".oe_login_form button[type=submit]")
        page.wait_for_selector(".o_web_client .o_main_navbar")
        return page

    yield open_window
    for context in contexts:
        context.close()
    assert not errors, "errors in the pages"


@pytest.fixture
def expected_problems():
    """Patterns of the problems that a test expects in the server's log. Each has to occur."""
    return []


# If two windows of Discuss mark a channel as seen at once, or a page is left while another one opens, core logs the
# conflict on its own table.
CORES_OWN = r'(?s)UPDATE "?(discuss_channel_member|mail_presence)"?.*could not serialize access'


@pytest.fixture(autouse=True)
def _nothing_else_in_the_log(request, expected_problems):
    """Fail a test that leaves an error or traceback in a server's log, except those that it expects."""
    logs = [Log(request.getfixturevalue(name).odoo.log) for name in STACKS if name in request.fixturenames]
    yield
    problems = [problem for log in logs for problem in log.problems()]
    missing = [one for one in expected_problems if not any(re.search(one, problem) for problem in problems)]
    assert not missing, f"expected in the log: {missing}"
    known = [*expected_problems, CORES_OWN]
    problems = [problem for problem in problems if not any(re.search(one, problem) for one in known)]
    assert not problems, "In the server's log:\n" + "\n".join(problems)
