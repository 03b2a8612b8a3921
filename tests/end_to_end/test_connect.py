"""Connecting an account in the browser, with all possible failures; and a new signing key while events come in."""

import threading

import pytest
from axe import find_violations
from harness import Database, picture, wait_for
from playwright.sync_api import expect

SETTINGS = "/v3/user/webhooks/event/settings"
KEY = "SG.sandbox"
SECONDS_TO_CONNECT = 60_000  # milliseconds; usually it takes a few seconds


@pytest.fixture
def sendgrid(sandbox, odoo):
    """The local SendGrid, connected as a new account. Everything that Odoo makes for it is removed afterwards."""
    known = {account.id for account in odoo.find("sendgrid.account")}
    url = sandbox.webhook()["url"]
    sandbox.webhook(url=None)
    yield sandbox
    sandbox.control("POST", "reset")
    sandbox.webhook(url=url)
    for account in odoo.find("sendgrid.account", fields=["mail_server_ids"]):
        if account.id not in known:
            odoo.call("ir.mail_server", "write", account.mail_server_ids, {"active": False})
            odoo.write("sendgrid.account", account.id, active=False)


def fault(sendgrid, path, times=1, **what):
    sendgrid.control("DELETE", "faults")
    sendgrid.control("POST", "faults", {"path": path, "times": times, **what})


def step(page, name, state):
    return page.locator(f".o_sendgrid_connect_step[data-name={name}][data-state={state}]")


def press(page, button):
    page.locator(".modal footer button:visible", has_text=button).click()


def enter(page, key):
    page.fill(".modal [name=api_key] input", key)
    press(page, "Connect")


def test_connect_with_every_failure(stack, odoo, sendgrid, open_browser):
    """From the settings to a connected account: each failure says what to do, and "Repeat" continues from there."""
    page = open_browser("admin", "admin")
    page.goto("/odoo/settings")
    page.wait_for_selector("#sendgrid_accounts")
    page.locator("#sendgrid_accounts").scroll_into_view_if_needed()
    picture(page, "settings")
    page.click("#sendgrid_accounts button:has-text('Connect')")
    page.wait_for_selector(".modal [name=api_key] input")
    page.fill(".modal [name=name] input", "Our SendGrid")
    picture(page, "connect-start")

    def fails(name, words):
        expect(step(page, name, "failed")).to_contain_text(words, timeout=SECONDS_TO_CONNECT)
        assert KEY not in page.locator(".modal").inner_text()

    def repeat(name):
        step(page, name, "failed").locator("button").click()

    # First a wrong API key, then one with too few permissions.
    enter(page, "SG.mistyped")
    fails("key", "does not know this API key")
    picture(page, "connect-bad-key")
    assert not odoo.find("sendgrid.account", ("name", "=", "Our SendGrid"))
    press(page, "Back")
    sendgrid.control("PUT", "keys/SG.small", ["mail.send", "user.webhooks.event.settings.read"])
    enter(page, "SG.small")
    fails("key", "user.webhooks.event.settings.update: Set up the event webhook")
    picture(page, "connect-missing-scope")
    press(page, "Back")

    # Then SendGrid fails, at the first step and at later ones.
    fault(sendgrid, "/v3/scopes", status=429, reset=900)
    enter(page, KEY)
    fails("key", "too many calls")
    fault(sendgrid, SETTINGS, times=9, method="GET", status=500)
    repeat("key")
    fails("webhook", "a problem of its own")
    fault(sendgrid, SETTINGS, method="POST", action="hang", seconds=60)
    repeat("webhook")
    fails("webhook", "did not answer in time")
    fault(sendgrid, SETTINGS, method="POST", status=400, message="'x' is not a valid url")
    repeat("webhook")
    fails("webhook", "web.base.url")
    fault(sendgrid, SETTINGS, method="POST", status=400, message="You have reached the maximum number of webhooks.")
    repeat("webhook")
    fails("webhook", "The plan allows no more webhooks")
    expect(step(page, "server", "warning")).to_be_visible()  # the other mail server comes first
    picture(page, "connect-maximum")
    sendgrid.control("DELETE", "faults")
    repeat("webhook")
    expect(step(page, "test", "done")).to_be_visible(timeout=SECONDS_TO_CONNECT)
    expect(page.locator(".modal .alert-success:visible")).to_contain_text("The account is connected.")
    picture(page, "connect-done")

    # The e-mail to oneself is shown being processed and delivered; its page is a click away.
    sendgrid.webhook(hold=True)
    page.click(".o_sendgrid_connect_step[data-name=mail] button:has-text('Send Me a Test E-mail')")
    expect(step(page, "mail", "running")).to_contain_text("… delivered", timeout=SECONDS_TO_CONNECT)
    picture(page, "connect-mail-running")
    assert not find_violations(page, ".modal-dialog")
    sendgrid.webhook(hold=False)
    expect(step(page, "mail", "done")).to_contain_text("✓ delivered", timeout=SECONDS_TO_CONNECT)
    assert sendgrid.message_to("marc@example.com", "Test e-mail of SendGrid Email Tracking")
    picture(page, "connect-mail")
    page.set_viewport_size({"width": 390, "height": 844})
    picture(page, "connect-mail-phone")
    assert not find_violations(page, ".modal-dialog")
    page.set_viewport_size({"width": 1440, "height": 900})
    picture(page, "connect-mail-wide")
    assert not find_violations(page, ".modal-dialog")

    # The account shows SendGrid's tracking settings and can switch them.
    press(page, "Open the Account")
    expect(page.locator(".o_statusbar_status .o_arrow_button_current")).to_have_text("Connected")
    picture(page, "account")
    page.click(".o_notebook .nav-link[name=connection]")
    click_tracking = page.locator("[name=action_switch_click_tracking]:visible")
    expect(click_tracking).to_have_text("Switch Off")
    click_tracking.click()
    page.click(".modal button:has-text('Ok')")
    expect(click_tracking).to_have_text("Switch On")
    click_tracking.click()
    expect(click_tracking).to_have_text("Switch Off")
    fault(sendgrid, "/v3/tracking_settings/click", method="PATCH", status=403, message="access forbidden")
    click_tracking.click()
    page.click(".modal button:has-text('Ok')")
    expect(page.locator(".modal")).to_contain_text("The API key may not do this")
    page.click(".modal button:has-text('Close')")

    # Disconnect: the dialog names what will go, and only that goes.
    page.click("button[name=action_disconnect]")
    expect(page.locator(".modal [name=plan]")).to_contain_text(
        "The webhook that connecting made will be deleted at SendGrid"
    )
    picture(page, "disconnect")
    fault(sendgrid, SETTINGS, times=9, status=500)
    press(page, "Disconnect")
    expect(page.locator(".modal [name=remains]")).to_contain_text(
        "Delete the webhook at SendGrid", timeout=SECONDS_TO_CONNECT
    )
    picture(page, "disconnected")
    press(page, "Close")
    expect(page.locator(".o_statusbar_status .o_arrow_button_current")).to_have_text("Not connected")
    [account] = odoo.find("sendgrid.account", ("name", "=", "Our SendGrid"), fields=["mail_server_ids", "api_key"])
    assert not account.mail_server_ids
    assert not account.api_key


def test_questions(stack, odoo, sendgrid, open_browser):
    """A copy and a changed address: the dialog asks, moves the webhook only if told to, and asks twice if in doubt."""
    dialog = odoo.create("sendgrid.account.connect", name="Original", api_key=KEY)
    account_id = run_dialog(odoo, {"res_id": dialog})
    account = odoo.read("sendgrid.account", account_id, "webhook_url", "mail_server_ids")
    database = Database(stack.odoo.database)
    database.query("UPDATE sendgrid_account SET connected_database = 'production' WHERE id = %s", account_id)
    page = open_browser("admin", "admin")
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto(f"/odoo/sendgrid.account/{account_id}")
    banner = page.locator(".alert:has(button[name=action_claim])")
    expect(banner).to_contain_text("“production”")
    picture(page, "account-of-a-copy")

    page.click("a[name=connection]")
    page.click("[name=action_switch_click_tracking]:visible")
    page.click(".modal button:has-text('Ok')")
    expect(page.locator(".modal")).to_contain_text("“production”")
    expect(page.locator(".modal button:has-text('This is the production database')")).to_be_visible()
    picture(page, "question-of-a-button")
    page.click(".modal button:has-text('Close')")

    page.click("button[name=action_rotate_key]:visible")
    press(page, "Change the Key")
    expect(step(page, "second", "failed")).to_contain_text("“production”", timeout=SECONDS_TO_CONNECT)
    picture(page, "question-place")
    page.set_viewport_size({"width": 390, "height": 844})
    picture(page, "question-place-phone")
    page.set_viewport_size({"width": 1440, "height": 900})
    page.click("[data-answer=action_connect_beside]")
    expect(step(page, "second", "failed")).to_contain_text("SendGrid has no webhook", timeout=SECONDS_TO_CONNECT)
    press(page, "Close")
    expect(banner).not_to_be_visible()
    assert odoo.read("sendgrid.account", account_id, "webhook_url").webhook_url != account.webhook_url

    # Connect the copy, then move it.
    run_dialog(odoo, odoo.call("sendgrid.account", "action_connect", [account_id]))
    url = odoo.read("sendgrid.account", account_id, "webhook_url").webhook_url
    [parameter] = odoo.find("ir.config_parameter", ("key", "=", "web.base.url"), fields=["value"])
    moved = stack.odoo.url.replace("127.0.0.1", "localhost")
    odoo.write("ir.config_parameter", parameter.id, value=moved)
    try:
        page.reload()
        expect(banner).to_contain_text(moved)
        page.click("button[name=action_connect]:visible")
        press(page, "Connect")
        expect(step(page, "webhook", "failed")).to_contain_text(f"→ {moved}", timeout=SECONDS_TO_CONNECT)
        picture(page, "question-address")
        assert url in sendgrid.webhook()["urls"]
        page.click("[data-answer=action_move]")
        expect(page.locator(".modal:has-text('can hardly reach')")).to_be_visible()
        page.click(".modal button:has-text('Move It'):not([data-answer])")
        expect(step(page, "test", "done")).to_be_visible(timeout=SECONDS_TO_CONNECT)
        assert url not in sendgrid.webhook()["urls"]
        assert url.replace("127.0.0.1", "localhost") in sendgrid.webhook()["urls"]
    finally:
        odoo.write("ir.config_parameter", parameter.id, value=parameter.value)


def run_dialog(odoo, action):
    """Press the dialog's first button and run its steps, as the page does; return the account."""
    dialog = action["res_id"]
    odoo.call("sendgrid.account.connect", "action_start", [dialog])
    wait_for(lambda: odoo.call("sendgrid.account.connect", "run_next", [dialog]) is False, "all steps ran", timeout=120)
    connect = odoo.read("sendgrid.account.connect", dialog, "is_done", "account_id", "step_ids")
    steps = odoo.call("sendgrid.account.connect.step", "read", connect.step_ids, ["name", "state", "message"])
    assert connect.is_done, steps
    return connect.account_id


def test_another_key_while_events_come_in(stack, odoo, sendgrid, database):
    """No event that SendGrid posts during a change of the signing key, with either key, is lost or double."""
    dialog = odoo.create("sendgrid.account.connect", name="Busy", api_key=KEY)
    account_id = run_dialog(odoo, {"res_id": dialog})
    sendgrid.webhook(flush_seconds=0.01, max_events=3)
    sent, stop = [], threading.Event()

    def load():
        while not stop.is_set():
            name = f"load-{len(sent)}@rotation.test"
            sendgrid.post_events([{"email": name, "event": "open", "timestamp": 1795500000, "sg_event_id": name}])
            sent.append(name)

    def arrived():
        rows = database.query("SELECT recipient FROM sendgrid_event WHERE recipient LIKE '%%@rotation.test'")
        return [name for (name,) in rows]

    old = odoo.read("sendgrid.account", account_id, "verification_key", "webhook_id")
    thread = threading.Thread(target=load)
    thread.start()
    try:
        wait_for(lambda: len(sent) > 20, "a load")
        run_dialog(odoo, odoo.call("sendgrid.account", "action_rotate_key", [account_id]))
        during = len(sent)
        wait_for(lambda: len(sent) > during + 20, "a load with both keys")
        wait_for(lambda: set(sent[:during]) <= set(arrived()), "what only the old webhook had", timeout=120)
        odoo.call("sendgrid.account", "action_forget_previous_key", [account_id])
        after = len(sent)
        wait_for(lambda: len(sent) > after + 20, "a load with the new key")
    finally:
        stop.set()
        thread.join()
    new = odoo.read("sendgrid.account", account_id, "verification_key", "webhook_id", "previous_verification_key")
    assert (new.verification_key, new.webhook_id) != (old.verification_key, old.webhook_id)
    assert not new.previous_verification_key

    wait_for(lambda: len(arrived()) >= len(sent), "every event", timeout=120)
    assert sorted(arrived()) == sorted(sent)
    duplicates = database.value(
        "SELECT sum(duplicate_count) FROM sendgrid_event_batch WHERE account_id = %s", account_id
    )
    assert duplicates, "for a while both webhooks posted"
