"""The public page that tells how an e-mail is measured, in a real browser, with JavaScript and without, end to end."""

import base64
import concurrent.futures
import contextlib
import gzip
import json
import re
import secrets
import time
from urllib.parse import urlsplit

import psycopg2
import pytest
import requests
from axe import find_violations
from conftest import AGENT
from harness import PATIENCE, html_of, picture, wait_for
from playwright.sync_api import expect

from odoo.addons.sendgrid_tracking.tools.sending.notice import ADDRESS

BODY = f'<p>See <a href="https://www.example.com/offer">our offer</a>.</p><a href="{ADDRESS}">Measuring</a>'
SIZES = {"wide": {"width": 1440, "height": 900}, "narrow": {"width": 390, "height": 844}}
LINK = re.compile(rf'href="(http[^"]*{ADDRESS}[^"]*)"')


@pytest.fixture(params=["with", "without"])
def reader(request, browser, stack):
    """A window of somebody who is logged in nowhere. Whatever it loads from elsewhere fails the test."""
    context = browser.new_context(
        java_script_enabled=request.param == "with", locale="en-US", user_agent=AGENT, viewport=SIZES["wide"]
    )
    page, errors, elsewhere = context.new_page(), [], []
    page.kind = f"{request.param}-javascript"
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("request", lambda one: elsewhere.append(one.url) if not is_page(one.url, stack) else None)
    yield page
    context.close()
    assert not errors
    assert not elsewhere


def is_page(url, stack):
    return url.startswith(stack.odoo.url + ADDRESS)


def link_to(sandbox, address, subject=None):
    """Return the link to the page in what arrived."""
    message = sandbox.message_to(address, subject)
    [link] = LINK.findall(sandbox.delivered_html(message, address))
    assert link not in [one["url"] for one in message["links"]], "it is tracked"
    return link


def questions_to(sandbox, address):
    """Return the mails that ask somebody to confirm that he agrees."""
    return [
        message
        for message in sandbox.messages()
        if message["subject"].startswith("Please confirm")
        and address in [one["address"] for one in message["recipients"]]
    ]


def word_of(database, address):
    rows = database.query("SELECT email_tracking FROM sendgrid_address WHERE email = %s", address)
    return rows[0][0] if rows else None


def test_both_choices(odoo, sandbox, database, reader):
    """Mail, link, page, I agree, question, confirmation; then I decline. By buttons, as a person does it."""
    address = f"{reader.kind}@notice.test"
    odoo.compose(odoo.contact("Reader", address), f"Offer for {address}", BODY)
    reader.goto(link_to(sandbox, address, f"Offer for {address}"))
    expect(reader.locator("h1")).to_have_text("How this e-mail is measured")
    reader.get_by_role("button", name="I agree").click()
    expect(reader.get_by_role("status")).to_contain_text("One step is left")
    assert word_of(database, address) is None

    [question] = wait_for(lambda: questions_to(sandbox, address), "the question")
    html = sandbox.delivered_html(question, address)
    assert "/wf/open" not in html, "it is never measured"
    [confirmation] = LINK.findall(html)
    reader.goto(confirmation)
    expect(reader.locator("main")).to_contain_text("Do you agree")
    assert word_of(database, address) is None, "scanners follow links"
    reader.get_by_role("button", name="I agree").click()
    expect(reader.get_by_role("status")).to_contain_text("You have agreed")
    assert word_of(database, address) == "agreed"
    reader.get_by_role("button", name="I decline").click()
    expect(reader.get_by_role("status")).to_contain_text("You have declined")
    expect(reader.get_by_role("button")).to_have_text(["I agree"])
    assert word_of(database, address) == "declined"


def get_told(database, address):
    """Return all that is stored about opens and clicks of an address' mails, and of its devices. Nothing is empty."""
    events = database.query(
        """SELECT event, email_id FROM sendgrid_event
            WHERE recipient = %s AND (event IN ('open', 'click') OR user_agent IS NOT NULL)""",
        address,
    )
    figures = database.query(
        """SELECT id, status, open_count, click_count, machine_open_count, machine_click_count, first_open_date,
                  last_open_date, person_open_date, person_click_date
             FROM sendgrid_email
            WHERE recipient = %s
              AND (status IN ('opened', 'clicked') OR facts ?| ARRAY['opened', 'clicked']
                   OR open_count + click_count + unknown_open_count + unknown_click_count > 0
                   OR machine_open_count + machine_click_count > 0
                   OR COALESCE(first_open_date, last_open_date, person_open_date, person_click_date) IS NOT NULL)""",
        address,
    )
    # Other tests leave hostile bodies behind, which may be of any shape. None of them is of this address.
    texts = [
        gzip.decompress(base64.b64decode(bytes(body)))
        for (body,) in database.query("SELECT body_gzip FROM sendgrid_event_batch WHERE body_gzip IS NOT NULL")
    ]
    bodies = [
        element
        for text in texts
        if address.encode() in text
        for element in json.loads(text)
        if element.get("email") == address and (element["event"] in ("open", "click") or "useragent" in element)
    ]
    return {name: rows for name, rows in (("events", events), ("figures", figures), ("bodies", bodies)) if rows}


def wait_until_settled(database):
    """Wait until all that came in is processed, and all that has to be taken back is."""

    def is_settled():
        database.minute_is_over()
        return not database.value(
            """SELECT (SELECT count(*) FROM sendgrid_event_batch WHERE state = 'pending')
                    + (SELECT count(*) FROM sendgrid_reduction WHERE state != 'done')"""
        )

    wait_for(is_settled, "all is processed", timeout=2 * PATIENCE)


def report(sandbox, webhook, database, message, address, *kinds):
    """Have SendGrid POST events of a copy, signed, each alone, and wait until they are processed.

    They are events of a person, some minutes after the delivery.
    """
    known = database.value("SELECT COALESCE(max(id), 0) FROM sendgrid_event_batch")
    [recipient] = [one for one in message["recipients"] if one["address"] == address]
    for number, kind in enumerate(kinds):
        event = {
            "email": address,
            "event": kind,
            "timestamp": int(time.time()) + 300 + number,
            "sg_event_id": secrets.token_urlsafe(16),
            "sg_message_id": recipient["sg_message_id"],
            "ip": "203.0.113.7",
            "useragent": AGENT,
            **({"url": "https://www.example.com/offer"} if kind == "click" else {}),
            **message["smtpapi"]["unique_args"],
        }
        assert webhook.post([event]).status_code < 300
    new = "SELECT count(*) FROM sendgrid_event_batch WHERE id > %s AND state = 'done'"
    wait_for(lambda: database.value(new, known) >= len(kinds), f"{kinds} are processed")


def test_late_events(odoo, sandbox, webhook, database, reader):
    """What comes in of mails already sent, before and after somebody declines, and after he agrees to be measured."""
    address = f"late-{reader.kind}@notice.test"
    contact = odoo.contact("Late", address)

    def send(number):
        odoo.compose(contact, f"Offer {number} for {address}", BODY)
        message = sandbox.message_to(address, f"Offer {number} for {address}")
        subject = message["subject"]
        wait_for(lambda: odoo.document_to(address, subject).status == "delivered", f"{subject} delivered")
        return message, subject

    def tell(message, *kinds):
        report(sandbox, webhook, database, message, address, *kinds)

    def status(subject):
        document = odoo.document_to(address, subject)
        return document.status, document.measured, [event.event for event in odoo.events_of(document.id)]

    first, first_subject = send(1)
    second, second_subject = send(2)
    tell(first, "open", "click")
    assert status(first_subject)[:2] == ("clicked", "full")
    assert get_told(database, address).keys() == {"events", "figures", "bodies"}
    reader.goto(link_to(sandbox, address, first_subject))
    reader.get_by_role("button", name="I decline").click()
    expect(reader.get_by_role("status")).to_contain_text("You have declined")
    kept = ["processed", "delivered"]
    assert status(first_subject) == ("delivered", "none", kept), "at once"
    tell(first, "open")
    tell(second, "open", "click")
    wait_until_settled(database)
    assert not get_told(database, address)
    for subject in (first_subject, second_subject):
        assert status(subject) == ("delivered", "none", kept)
    [known] = odoo.find("sendgrid.address", ("email", "=", address))
    assert not known.last_open_date and not known.last_click_date
    assert [one.word for one in odoo.find("sendgrid.consent", ("address_id", "=", known.id))] == ["declined"]

    third, third_subject = send(3)
    assert "/wf/open" not in sandbox.delivered_html(third, address)
    reader.get_by_role("button", name="I agree").click()
    expect(reader.get_by_role("status")).to_contain_text("One step is left")
    assert word_of(database, address) == "declined", "the mailbox has to confirm it"
    tell(third, "click")
    [question] = wait_for(lambda: questions_to(sandbox, address), "the question")
    [confirmation] = LINK.findall(sandbox.delivered_html(question, address))
    reader.goto(confirmation)
    reader.get_by_role("button", name="I agree").click()
    expect(reader.get_by_role("status")).to_contain_text("You have agreed")
    assert word_of(database, address) == "agreed"
    for message in (first, second, third):
        tell(message, "open", "click")
    wait_until_settled(database)
    assert not get_told(database, address), "only what is sent from now on is measured"

    fourth, fourth_subject = send(4)
    assert "/wf/open" in sandbox.delivered_html(fourth, address)
    tell(fourth, "open", "spamreport")
    assert status(fourth_subject) == ("spam", "full", [*kept, "open", "spamreport"])
    for subject in (first_subject, second_subject, third_subject):
        assert status(subject) == ("delivered", "none", kept)


@pytest.fixture(params=SIZES)
def window(request, browser):
    """A window of one size."""
    context = browser.new_context(viewport=SIZES[request.param], user_agent=AGENT, locale="en-US")
    page = context.new_page()
    page.size = request.param
    yield page
    context.close()


def check(page, name):
    """Keep a picture, and fail if axe-core finds anything or something has to be scrolled sideways."""
    picture(page, f"notice-{name}-{page.size}")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    violations = find_violations(page, "html")
    assert not violations, f"{name}, {page.size}:\n" + "\n".join(violations)


def test_looks(odoo, sandbox, window, stack):
    """Each face of the page, on a wide screen and on a telephone's, also with a long address."""
    address = f"a-reader-with-a-rather-long-name-{window.size}@departments.of-a-large-company.notice.test"
    odoo.compose(odoo.contact("Long", address), "Looks", BODY)
    both = f"a@{window.size}.test, b@{window.size}.test"
    odoo.send_mail(subject=f"Both {window.size}", body_html=BODY, email_to=both)
    link = link_to(sandbox, address)
    for name, url in {
        "general": stack.odoo.url + ADDRESS,
        "bad": f"{stack.odoo.url}{ADDRESS}/x",
        "several": link_to(sandbox, f"a@{window.size}.test"),
        "unasked": link,
    }.items():
        window.goto(url)
        check(window, name)
    window.get_by_role("button", name="I agree").click()
    expect(window.get_by_role("status")).to_contain_text("One step is left")
    check(window, "asked")
    [question] = wait_for(lambda: questions_to(sandbox, address), "the question")
    [confirmation] = LINK.findall(sandbox.delivered_html(question, address))
    window.goto(confirmation)
    check(window, "confirm")
    window.goto(link)
    window.get_by_role("button", name="I decline").click()
    expect(window.get_by_role("status")).to_contain_text("You have declined")
    check(window, "declined")


def test_conflict(odoo, sandbox, database, stack, expected_problems):
    """Who declines while another transaction writes to the same address waits for it, and then it is done."""
    odoo.compose(odoo.contact("Conflict", "conflict@notice.test"), "Conflict", BODY)
    link = link_to(sandbox, "conflict@notice.test")
    database.query("INSERT INTO sendgrid_address (email) VALUES ('conflict@notice.test') ON CONFLICT DO NOTHING")
    with contextlib.closing(psycopg2.connect(dbname=stack.odoo.database)) as rival, rival.cursor() as cursor:
        cursor.execute("UPDATE sendgrid_address SET last_reply_date = now() WHERE email = 'conflict@notice.test'")
        with concurrent.futures.ThreadPoolExecutor() as pool:
            answer = pool.submit(requests.post, link, data={"word": "declined"}, timeout=PATIENCE * 2)
            waiting = "SELECT pid FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))"
            wait_for(lambda: database.query(waiting, rival.info.backend_pid), "the page waits")
            rival.commit()
            assert answer.result().status_code == 200
    assert "You have declined" in answer.result().text
    assert word_of(database, "conflict@notice.test") == "declined"
    expected_problems.append("could not serialize access due to concurrent update")  # Odoo logs it, and tries again


def test_scanner(odoo, sandbox, database):
    """A scanner that follows the link, in whatever way, changes nothing."""
    odoo.compose(odoo.contact("Scanned", "scanned@notice.test"), "Scanned", BODY)
    link = link_to(sandbox, "scanned@notice.test")
    for method in ("GET", "HEAD", "OPTIONS", "PUT", "DELETE"):
        requests.request(method, f"{link}?word=declined", data={"word": "declined"}, timeout=60)
    assert word_of(database, "scanned@notice.test") is None


def test_other_mail_program(odoo, sandbox):
    """The plain text of the mail has the same link, and no other header has it."""
    odoo.compose(odoo.contact("Plain", "plain@notice.test"), "Plain", BODY)
    received = sandbox.received(sandbox.message_to("plain@notice.test"))
    [link] = set(LINK.findall(html_of(received)))
    assert link in received.get_body(("plain",)).get_content()
    assert not [value for name, value in received.items() if urlsplit(link).path in value]
