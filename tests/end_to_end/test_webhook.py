"""The webhook over real HTTP: it stores before it answers, refuses everything else, and the drain loses nothing."""

import base64
import gzip
import json
import secrets
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec
from harness import Database, OdooError, SandboxClient, Webhook, wait_for, wire

from odoo.addons.sendgrid_tracking.tools.sending.outbox import Outbox

from sandbox import keys

BROWSER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
MEGABYTE = 1024 * 1024


def make_event(name="open", **fields):
    """Return an event that nobody has seen before, unless ``fields`` say otherwise."""
    return {
        "email": "somebody@webhook.test",
        "event": name,
        "timestamp": int(time.time()),
        "sg_event_id": secrets.token_urlsafe(16),
        "sg_message_id": f"{secrets.token_urlsafe(16)}.recvd-6f5b-q2x4p-1-69244E10-5.0",
        "useragent": BROWSER,
        "ip": "203.0.113.7",
        **fields,
    }


@pytest.fixture(autouse=True)
def _nobody_else_posts(sandbox):
    """Forget the messages of other tests, so that they bring no more events."""
    sandbox.clear()


def count_batches(database):
    return database.value("SELECT count(*) FROM sendgrid_event_batch")


def last_batch(database):
    return database.value("SELECT coalesce(max(id), 0) FROM sendgrid_event_batch")


@pytest.fixture(params=["threads", "processes"])
def server(request):
    """The webhook and the database of a server with threads, and of one with two processes."""
    running = request.getfixturevalue("stack" if request.param == "threads" else "large_stack")
    return Webhook(SandboxClient(running.sandbox).webhook()["url"]), Database(running.odoo.database)


def test_stored_before_answered(server):
    """At the moment of the answer another connection finds the body, byte for byte."""
    webhook, database = server
    for _ in range(10):
        body = wire([make_event(reason="Größe < 5 „€“")])
        before = last_batch(database)
        assert webhook.post(body).status_code == 204
        stored = database.query("SELECT body_gzip FROM sendgrid_event_batch WHERE id > %s", before)
        assert body in [gzip.decompress(base64.b64decode(bytes(one))) for (one,) in stored]


def test_same_post_fifty_times_at_once(server):
    """Fifty deliveries of one POST at the same moment: all are answered 2xx, each event is there once."""
    webhook, database = server
    events = [make_event(name) for name in ("processed", "delivered", "open", "click")]
    body = wire(events)
    headers = webhook.sign(body)

    def post(_number):
        while True:
            try:
                return webhook.post(body, headers).status_code
            except requests.ConnectionError:
                pass  # two processes have a short queue; SendGrid, too, would post again

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(post, range(50)))
    assert answers == [204] * 50
    ids = [event["sg_event_id"] for event in events]

    def drained():
        return not database.value("SELECT count(*) FROM sendgrid_event_batch WHERE state = 'pending'")

    wait_for(drained, "all batches drained")
    stored = database.query("SELECT sg_event_id FROM sendgrid_event WHERE sg_event_id = ANY(%s)", ids)
    assert sorted(one for (one,) in stored) == sorted(ids)


def test_forged_signatures(webhook, database):
    """A POST that the key did not sign over these very bytes is refused and leaves nothing."""
    before = count_batches(database)
    events = [make_event(), make_event("click", url="https://example.com/ä")]
    body = wire(events)
    good = webhook.sign(body)
    stranger = keys.sign(ec.generate_private_key(ec.SECP256R1()), "1795500000", body)
    signature, timestamp = "X-Twilio-Email-Event-Webhook-Signature", "X-Twilio-Email-Event-Webhook-Timestamp"
    tries = {
        "no signature": (body, {name: value for name, value in good.items() if name != signature}),
        "no timestamp": (body, {name: value for name, value in good.items() if name != timestamp}),
        "nothing": (body, {}),
        "another key": (body, {**good, signature: stranger, timestamp: "1795500000"}),
        "another time": (body, {**good, timestamp: "1795500000"}),
        "no base64": (body, {**good, signature: "€ § not base64".encode()}),
        "empty": (body, {**good, signature: ""}),
        "without the last line break": (body.rstrip(), good),
        "dumped again": (json.dumps(events, ensure_ascii=False).encode(), good),
        "one byte": (body.replace(b"203.0.113.7", b"203.0.113.8"), good),
        "no body": (b"", good),
    }
    for what, (sent, headers) in tries.items():
        assert webhook.post(sent, headers).status_code == 403, what
    assert count_batches(database) == before
    assert webhook.post(body, good).status_code == 204
    assert count_batches(database) == before + 1


@pytest.mark.parametrize("signed", ["what arrives", "what was announced"])
def test_half_a_body(webhook, database, signed):
    """The connection ends before the announced length: nothing is stored, even if the received part is signed."""
    before = count_batches(database)
    half = wire([make_event()])
    whole = half + b" " * 1000
    lines = webhook.sign(half if signed == "what arrives" else whole) | {"Content-Length": len(whole), "Host": "odoo"}
    head = f"POST {webhook.path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    with webhook.connect() as connection:
        connection.sendall(head.encode() + b"\r\n" + half)
        connection.shutdown(1)  # nothing more will come
        answer = connection.recv(65536)
    assert not answer.startswith((b"HTTP/1.1 2", b"HTTP/1.0 2")), answer
    assert webhook.post([make_event()]).status_code == 204
    assert count_batches(database) == before + 1


def test_chunked(webhook, database):
    """A body of unknown length, in pieces, is stored whole."""
    body = wire([make_event() for _ in range(300)])
    before = last_batch(database)
    pieces = (body[start : start + 1000] for start in range(0, len(body), 1000))
    answer = requests.post(webhook.url, data=pieces, headers=webhook.sign(body), timeout=30)
    assert answer.status_code == 204
    stored = database.query("SELECT body_gzip FROM sendgrid_event_batch WHERE id > %s", before)
    assert body in [gzip.decompress(base64.b64decode(bytes(one))) for (one,) in stored]


def test_too_large(webhook, database):
    """More than 4 MB is refused, in one piece, in chunks, and at the mere announcement; 4 MB is not."""
    before = count_batches(database)
    allowed = b"[]" + b" " * (4 * MEGABYTE - 2)
    body = allowed + b" "
    headers = webhook.sign(body)
    assert webhook.post(body, headers).status_code == 413
    chunks = (body[start : start + MEGABYTE] for start in range(0, len(body), MEGABYTE))
    assert requests.post(webhook.url, data=chunks, headers=headers, timeout=30).status_code == 413
    with webhook.connect() as connection:
        head = f"POST {webhook.path} HTTP/1.1\r\nHost: odoo\r\nContent-Length: {10**12}\r\n\r\n"
        connection.sendall(head.encode())
        assert b" 413 " in connection.recv(65536).splitlines()[0]
    assert count_batches(database) == before
    assert webhook.post(allowed).status_code == 204
    assert count_batches(database) == before + 1


def test_methods_and_tokens(webhook, database):
    """Only POST is answered, and only at the secret address."""
    before = count_batches(database)
    body = wire([make_event()])
    headers = webhook.sign(body)
    for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE"):
        answer = requests.request(method, webhook.url, data=body, headers=headers, timeout=30)
        assert answer.status_code == 405, method
    for url in (webhook.url[:-1], webhook.url + "A", webhook.url.rsplit("/", 1)[0] + "/1"):
        assert requests.post(url, data=body, headers=headers, timeout=30).status_code == 404, url
    assert count_batches(database) == before


def test_bodies_that_are_no_batch(odoo, webhook, database):
    """Every body that SendGrid signs is kept, and shown with the reason; the next batch is not harmed."""
    bodies = [b"", b"{}", b"[", b"\xff\xfe", b'{"event": "open"}', b"null", b"[" * 100_000]
    before = last_batch(database)
    assert {webhook.post(body, webhook.sign(body)).status_code for body in bodies} == {204}
    neighbours = [make_event(), "text", None, make_event(timestamp="soon"), make_event(useragent="x" * 1_000_000), []]
    assert webhook.post(neighbours).status_code == 204

    def batches():
        found = odoo.find("sendgrid.event.batch", ("id", ">", before))
        return all(one.state != "pending" for one in found) and found

    *failed, done = wait_for(batches, "all drained")
    assert [one.state for one in failed] == ["failed"] * len(bodies)
    assert all(one.error for one in failed)
    assert (done.state, done.event_count, done.rejected_count) == ("done", 6, 4)
    assert done.body, "what was not understood is kept"
    # One field costs no event, whatever is in it.
    assert {event.unread for event in odoo.find("sendgrid.event", ("batch_id", "=", done.id))} == {False, "useragent"}


def test_events_before_their_mail(odoo, webhook):
    """Odoo commits after the last mail of a transaction has left: events that come earlier wait, and then land."""
    address = "early@webhook.test"
    mail_id = odoo.create(
        "mail.mail", subject="Early", body_html="<p>x</p>", email_to=address, email_from="o@example.com"
    )
    mail = odoo.read("mail.mail", mail_id, "message_id")
    odoo_db = odoo.call("ir.config_parameter", "get_param", "database.uuid")
    outbox = Outbox(0, odoo_db)
    outbox.open("", mail_id=mail_id)
    copy = outbox.stamp(mail.message_id, [address])
    ids = {"email": address, "odoo_db": odoo_db, "odoo_id": copy.odoo_id}
    message = f"{secrets.token_urlsafe(16)}.recvd-1.0"
    now = int(time.time())
    early = [
        make_event("processed", **ids, sg_message_id=message, timestamp=now),
        make_event("delivered", **ids, sg_message_id=message, timestamp=now),
        make_event("open", **ids, sg_message_id=message, timestamp=now + 300),
    ]
    assert webhook.post(early).status_code == 204
    waiting = wait_for(lambda: odoo.find("sendgrid.event", ("odoo_id", "=", copy.odoo_id)), "the early events")
    assert [(one.match, one.email_id) for one in waiting] == [("early", False)] * 3

    odoo.call("mail.mail", "send", [mail_id])
    document = odoo.document_to(address)
    assert document.odoo_id == copy.odoo_id
    wait_for(lambda: odoo.document_to(address).status == "opened", "the early events on the document")
    assert {one.match for one in odoo.events_of(document.id)} == {"odoo_id"}
    assert {one.id for one in waiting} <= {one.id for one in odoo.events_of(document.id)}


@pytest.fixture
def crowd(odoo, sandbox):
    """Twenty documents of one copy, before any event: their addresses, and the ids that name them in events."""
    url = sandbox.webhook()["url"]
    sandbox.webhook(url=None)
    domain = f"{secrets.token_hex(4)}.test"
    addresses = [f"crowd{number}@{domain}" for number in range(20)]
    odoo.send_mail(subject=domain, body_html="<p>Hello</p>", email_to=", ".join(addresses))
    message = sandbox.message_to(addresses[0])
    wait_for(lambda: sandbox.webhook()["pending"] == 0, "nothing pending")
    sandbox.webhook(url=url)
    return addresses, message["smtpapi"]["unique_args"] | {"sg_message_id": f"{message['id']}.recvd-1.0"}


def state_of(odoo, addresses):
    """Return the values of the documents."""
    names = ["status", "open_count", "click_count", "first_open_date", "last_open_date", "delivered_date"]
    return {tuple(one[name] for name in names) for one in odoo.documents(("recipient", "in", addresses), fields=names)}


def make_crowd_events(crowd, opens, padding=0):
    """Return a delivery and some opens for each of the crowd, one every five minutes; and the state that follows."""
    addresses, ids = crowd
    start = int(time.time())
    agent = BROWSER + " " * bool(padding) + "x" * padding
    events = [make_event("delivered", **ids, email=address, timestamp=start) for address in addresses]
    events += [
        make_event("open", **ids, email=address, timestamp=start + 300 * (number + 1), useragent=agent)
        for number in range(opens)
        for address in addresses
    ]

    def moment(seconds):
        return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))

    return events, {("opened", opens, 0, moment(start + 300), moment(start + 300 * opens), moment(start))}


def test_second_drain_beside_the_first(odoo, webhook, database, crowd):
    """While events pour in twice each and the scheduler drains, others start the drain too: the state is the same."""
    events, expected = make_crowd_events(crowd, opens=30)
    before = last_batch(database)
    posts = [events[start : start + 20] for start in range(0, len(events), 20)] * 2
    job = odoo.ref("sendgrid_tracking.ir_cron_drain")
    outcomes = set()

    def start_another(_number):
        try:
            odoo.call("ir.cron", "method_direct_trigger", [job])
            outcomes.add("drained")
        except OdooError as refused:
            assert "already executing" in str(refused)
            outcomes.add("refused")

    with ThreadPoolExecutor(8) as pool:
        drains = pool.map(start_another, range(6))
        answers = list(pool.map(lambda some: webhook.post(some).status_code, posts))
        list(drains)
    assert set(answers) == {204}
    assert outcomes
    states = "SELECT DISTINCT state FROM sendgrid_event_batch WHERE id > %s"
    wait_for(lambda: ("pending",) not in database.query(states, before), "all drained")
    assert database.query(states, before) == [("done",)]
    assert state_of(odoo, crowd[0]) == expected
    assert database.value("SELECT count(*) FROM sendgrid_event WHERE batch_id > %s", before) == len(events)


def test_killed_after_the_answer(stack, odoo, webhook, database):
    """The server dies right after it said 204: the event is there when it is back."""
    event = make_event()
    assert webhook.post([event]).status_code == 204
    stack.odoo.kill()
    assert count_batches(database)
    stack.odoo.start()

    def drained():
        database.minute_is_over()
        return odoo.find("sendgrid.event", ("sg_event_id", "=", event["sg_event_id"]))

    wait_for(drained, "the event")


def test_killed_in_the_middle_of_the_drain(stack, odoo, webhook, database, crowd):
    """The server dies in the middle of a drain: in the end nothing is missing or double."""
    events, expected = make_crowd_events(crowd, opens=150, padding=2500)
    before = last_batch(database)
    size = len(events) // 6 + 1
    bodies = [wire(events[start : start + size]) for start in range(0, len(events), size)]
    assert len(bodies) == 6 and all(MEGABYTE < len(body) < 2 * MEGABYTE for body in bodies), "some transactions' worth"

    def states():
        rows = database.query("SELECT state, count(*) FROM sendgrid_event_batch WHERE id > %s GROUP BY state", before)
        return dict(rows)

    # Hold the job until all is there.
    job = odoo.ref("sendgrid_tracking.ir_cron_drain")
    wait_for(lambda: not hold(odoo, job), "the job held")
    assert [webhook.post(body).status_code for body in bodies] == [204] * 6
    assert states() == {"pending": 6}
    odoo.write("ir.cron", job, active=True, nextcall="2026-01-01 00:00:00")
    database.minute_is_over()
    wait_for(lambda: states().get("done"), "the drain has begun")
    stack.odoo.kill()
    left = states()
    assert left.get("pending") and left.get("done"), left

    stack.odoo.start()

    def drained():
        database.minute_is_over()
        return states() == {"done": 6}

    wait_for(drained, "all drained")
    assert state_of(odoo, crowd[0]) == expected
    assert database.value("SELECT count(*) FROM sendgrid_event WHERE batch_id > %s", before) == len(events)


def hold(odoo, job):
    """Switch a job off; return why not, if it is running."""
    try:
        odoo.write("ir.cron", job, active=False)
        return ""
    except OdooError as refused:
        return str(refused)
