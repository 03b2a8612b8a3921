"""As in production: what `docs/deploy.md` shows works, and either of its two servers may die at any moment."""

import base64
import os
import resource
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import production as productions
import pytest
import requests
from crowd import Crowd
from harness import OdooClient, wait_for, wire
from lxml import etree
from playwright.sync_api import expect, sync_playwright
from sender import Sender

from script.lib import chromium
from tools.sending.notice_token import LOOK, Holder, seal

# As `MAX_BODY` of controllers/webhook.py, and as docs/deploy.md says.
LARGEST = 4 * 1024 * 1024
TAKEN_OVER = 10  # seconds
AT_ONCE = 1000  # events of a POST
TIME_TO_SEE = 60_000  # milliseconds; generous, usually it takes one or two seconds


@pytest.fixture(scope="module")
def production(cluster):
    """Two servers with two processes for HTTP each, on two databases, behind the proxy."""
    cluster.start()
    with productions.running() as running:
        yield running


@pytest.fixture
def crowd(production):
    """Two hundred documents of the first database."""
    return Crowd(production.database, 200)


@pytest.fixture
def window(production):
    """A page of a real browser, which finds the hosts of the document on this machine."""
    # Odoo limits the address space of this process. Chromium reserves more than that.
    _soft, hard = limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    options = [f"--host-resolver-rules=MAP *.{productions.DOMAIN} 127.0.0.1", "--ignore-certificate-errors"]
    options += ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.path(), args=options)
        resource.setrlimit(resource.RLIMIT_AS, limits)
        context = browser.new_context(base_url=production.site.url, locale="en-US")
        context.set_default_timeout(90_000)  # the first page has to build the assets
        yield context.new_page()
        browser.close()


def test_webhook(production):
    """Each database takes what is signed for it, up to the largest POST, byte for byte; http leads to https."""
    first, second = production.webhook, production.other_webhook
    # Characters of each length in UTF-8, spaces and both kinds of line break: a proxy that touches the body is found.
    odd = wire([{"email": "ада@example.org", "event": "open", "timestamp": 1795500000, "x": "é€😀 \t"}]) + b" \n\r\n\t"
    largest = odd + b" " * (LARGEST - len(odd))
    for webhook, database in ((first, production.databases[0]), (second, production.databases[1])):
        for body in (odd, largest):
            assert webhook.post(body).status_code == 204
            query = "SELECT id FROM sendgrid_event_batch ORDER BY id DESC LIMIT 1"
            odoo = OdooClient(production.proxy.sites[production.databases.index(database)])
            assert base64.b64decode(odoo.read("sendgrid.event.batch", database.value(query), "body").body) == body
        assert webhook.post(largest + b" ").status_code == 413
        assert webhook.post(odd, headers={**webhook.sign(odd + b" ")}).status_code == 403
    elsewhere = first.url.replace(production.site.database, production.other_site.database)
    assert requests.post(elsewhere, data=odd, headers=first.sign(odd), timeout=60).status_code == 404
    plain = first.url.replace(f"https://{production.site.database}", f"http://{production.site.database}")
    plain = plain.replace(f":{production.proxy.port}", f":{production.proxy.plain_port}")
    answer = requests.post(plain, data=odd, headers=first.sign(odd), timeout=60, allow_redirects=False)
    assert (answer.status_code, answer.headers["Location"][:8]) == (301, "https://")


def test_downloads(production, crowd, chance):
    """An export and the body of a POST arrive as they were written, whichever server has written them."""
    events = crowd.events(chance, 300)
    assert production.webhook.post(events).status_code == 204
    crowd.wait_until_drained()
    odoo = OdooClient(production.site)
    assert odoo.http.cookies, "the session is known to both servers"
    batch = production.database.value("SELECT max(id) FROM sendgrid_event_batch")
    [contact] = odoo.find("res.partner", ("email", "=", crowd.addresses[0]), fields=["id"])
    action = odoo.ref("sendgrid_tracking.ir_actions_server_export_contact")
    context = {"active_model": "res.partner", "active_id": contact.id, "active_ids": [contact.id]}
    number = odoo.call("ir.actions.server", "run", [action], context=context)["res_id"]
    export = odoo.read("sendgrid.export", number, "state")
    assert export.state == "done"
    for _server in range(4):  # the proxy asks them in turns
        body = odoo.http.get(f"{production.site.url}/web/content/sendgrid.event.batch/{batch}/body", timeout=60)
        assert body.content == wire(events)
        file = odoo.http.get(f"{production.site.url}/sendgrid/export/{number}", timeout=60)
        assert etree.fromstring(file.content).xpath("//*[@data-field='subject']/text()") == [crowd.addresses[0]]


def test_consent_page(production, window):
    """A recipient opens his link and declines. It works in its own database only, and no log of the proxy has it."""
    query = "SELECT value FROM ir_config_parameter WHERE key = 'database.secret'"
    address = "reader@production.test"
    token = seal(Holder(LOOK, 1, int(time.time()), address), production.database.value(query))
    page = f"/sendgrid/measuring/{token}"
    assert requests.get(production.other_site.url + page, timeout=60).status_code == 404
    window.goto(page)
    window.get_by_role("button", name="I decline").click()
    expect(window.get_by_role("status")).to_contain_text("You have declined")
    word = "SELECT email_tracking FROM sendgrid_address WHERE email = %s"
    assert production.database.value(word, address) == "declined"
    log = production.proxy.access_log.read_text()  # of the other tests too
    # The number of an export, which another test downloads, is no secret.
    assert "/sendgrid/" not in log.replace("/sendgrid/export/", "")
    assert "/web/health" in log


def test_live_page(production, crowd, window, report):
    """The Tracking page shows events while one looks, and goes on when the server of its websocket has died."""
    events = [crowd.event_of(0, name, number) for number, name in enumerate(("processed", "delivered", "deferred"))]
    document = production.database.value("SELECT id FROM sendgrid_email WHERE recipient = %s", crowd.addresses[0])
    window.goto("/web/login")
    window.fill("input[name=login]", "admin")
    window.fill("input[name=password]", "admin")
    window.click(".oe_login_form button[type=submit]")
    window.wait_for_selector(".o_web_client .o_main_navbar")
    window.goto(f"/odoo/sendgrid.email/{document}")
    window.click(".o_notebook .nav-link:has-text('Tracking')")
    window.evaluate("window.notReloaded = true")

    def show(event):
        start = time.monotonic()
        assert production.webhook.post([event]).status_code == 204
        shown = window.locator(f".o_sendgrid_event[data-event={event['event']}]")
        expect(shown).to_be_visible(timeout=TIME_TO_SEE)
        return time.monotonic() - start

    before = [show(event) for event in events[:2]]
    victim = production.server_of_websocket()
    victim.kill()
    after = show(events[2])
    assert window.evaluate("window.notReloaded")
    report(f"production: an open page shows an event after {max(before):.1f} s; {after:.1f} s when its server has died")
    victim.start()


def kill_the_draining(production, report, what):
    """Kill the server that drains; return it, once the other one drains."""
    victim = wait_for(production.draining, "one of them drains")
    [other] = [server for server in production.servers if server is not victim]
    victim.kill()
    start = time.monotonic()
    wait_for(lambda: production.draining() is other, "the other one drains", 90)
    seconds = time.monotonic() - start
    report(f"production: the other server drained {seconds:.1f} s after kill -9, {what}")
    assert seconds < TAKEN_OVER
    return victim


@pytest.mark.parametrize("number", [1, 2])
def test_kill_while_posts_come(production, crowd, chance, report, number):
    """The server that drains is killed while both take POSTs. Nothing that was answered 204 is lost or double."""
    with Sender(production.webhook, lambda: crowd.events(chance, chance.randint(1, 300)), chance) as sender:
        wait_for(lambda: sender.taken > 20, "posts are taken")
        victim = kill_the_draining(production, report, "while posts came in")
        taken = sender.taken
        wait_for(lambda: sender.taken > taken + 20, "posts are taken")
    victim.start()
    crowd.wait_until_drained()
    crowd.check(sender.events)
    report(f"production: {len(sender.events)} events, answers {dict(Counter(sender.answers))}")


def test_kill_the_other(production, crowd, chance):
    """The server that only takes POSTs is killed: the drain goes on, and nothing that was answered 204 is lost."""
    with Sender(production.webhook, lambda: crowd.events(chance, chance.randint(1, 300)), chance) as sender:
        wait_for(lambda: sender.taken > 20, "posts are taken")
        draining = wait_for(production.draining, "one of them drains")
        [victim] = [server for server in production.servers if server is not draining]
        victim.kill()
        taken = sender.taken
        wait_for(lambda: sender.taken > taken + 20, "posts are taken")
    wait_for(lambda: not production.pending(), "all drained", 90)  # nobody wakes anybody
    victim.start()
    crowd.check(sender.events)


@pytest.mark.parametrize("number", [1, 2])
def test_kill_when_all_is_quiet(production, crowd, chance, report, number):
    """The server that drains is killed after the last POST, so that nothing more wakes the other one."""
    batches = [crowd.events(chance, AT_ONCE) for _ in range(25)]
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda events: production.webhook.post(events).status_code, batches)) == {204}
    victim = kill_the_draining(production, report, "after the last post")
    wait_for(lambda: not production.pending(), "all drained", 90)  # nobody wakes anybody
    victim.start()
    crowd.check([event for events in batches for event in events])


class Client:
    """SendGrid's side, as cheap as possible: bodies are signed beforehand, and a thread keeps its connection."""

    def __init__(self, webhook):
        self.webhook = webhook
        self.local = threading.local()

    def post_all(self, batches, clients=6):
        """Post all batches at once; return how many were taken a second."""
        posts = [(wire(events), self.webhook.sign(wire(events))) for events in batches]
        start = time.monotonic()
        with ThreadPoolExecutor(clients) as pool:
            assert set(pool.map(lambda post: self._post(*post), posts)) == {204}
        return len(posts) / (time.monotonic() - start)

    def _post(self, body, headers):
        if not hasattr(self.local, "http"):
            self.local.http = requests.Session()
        return self.local.http.post(self.webhook.url, data=body, headers=headers, timeout=60).status_code


@pytest.mark.parametrize(("servers", "workers"), [(1, 2), (1, 4), (2, 2), (2, 4)])
def test_capacity(cluster, chance, report, servers, workers):
    """Measure what the document tells: posts and events a second. Nothing is judged."""
    cluster.start()
    with productions.running([f"--workers={workers}"]) as production:
        for server in production.servers[servers:]:
            server.kill()
        crowd = Crowd(production.database, 1000)
        client = Client(production.webhook)
        client.post_all([crowd.events(chance, 1) for _ in range(100)])  # fills the caches
        crowd.wait_until_drained()
        small = client.post_all([crowd.events(chance, 1) for _ in range(1000)])
        crowd.wait_until_drained()
        batches = [crowd.events(chance, AT_ONCE) for _ in range(60)]
        start = time.monotonic()
        large = client.post_all(batches)
        crowd.wait_until_drained()
        drained = len(batches) * AT_ONCE / (time.monotonic() - start)
        report(
            f"capacity: servers {servers}, workers {workers}: {small:.0f} posts/s of 1 event, "
            f"{large:.0f} posts/s of {AT_ONCE}; {drained:.0f} events/s from the first post until all are drained"
        )
