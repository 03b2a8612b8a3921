"""An administrator's work with a batch that cannot be understood, and what else he reads and ticks."""

from all_pages import LISTS, go
from harness import picture, wait_for
from playwright.sync_api import expect

MODULE = "sendgrid_tracking"
STATE = ".o_statusbar_status .o_arrow_button_current"


def fail(odoo, webhook):
    """Have a batch fail, and return its id."""
    known = {batch.id for batch in odoo.find("sendgrid.event.batch")}
    assert webhook.post(b"no JSON").status_code == 204
    [batch] = wait_for(
        lambda: [b for b in odoo.find("sendgrid.event.batch", ("state", "=", "failed")) if b.id not in known],
        "a failed batch",
    )
    return batch.id


def test_set_aside(odoo, webhook, open_browser):
    """Set aside, take back, process again: each shows its result on the open page, and the account is well at once."""
    account_id = odoo.ref(f"{MODULE}.sendgrid_account_demo")
    for other in odoo.find("sendgrid.event.batch", ("state", "=", "failed")):
        odoo.call("sendgrid.event.batch", "action_set_aside", [other.id])
    batch_id = fail(odoo, webhook)
    odoo.call("sendgrid.account", "action_check_health", [account_id])

    def finding():
        [check] = odoo.find("sendgrid.account.check", ("account_id", "=", account_id), ("subject", "=", "batches"))
        return check.finding

    assert finding() == "failed"
    page = open_browser("admin", "admin")
    page.goto(f"/odoo/action-{MODULE}.sendgrid_event_batch_action/{batch_id}")
    expect(page.locator(STATE)).to_have_text("Failed")
    page.evaluate("window.notReloaded = true")
    page.click("button[name=action_set_aside]")
    expect(page.locator(STATE)).to_have_text("Left Aside")
    expect(page.locator(".alert:visible", has_text="This batch was set aside")).to_contain_text("Marc Demo")
    picture(page, "set_aside")
    assert finding() == "processed"
    page.click("button[name=action_take_back]")
    expect(page.locator(STATE)).to_have_text("Failed")
    assert finding() == "failed"

    before = odoo.read("sendgrid.event.batch", batch_id, "processed_date").processed_date
    page.click("button[name=action_process_again]")
    # The drain works after a moment, and the page follows without anybody's doing.
    wait_for(lambda: odoo.read("sendgrid.event.batch", batch_id, "state").state == "failed", "processed again")
    assert odoo.read("sendgrid.event.batch", batch_id, "processed_date").processed_date >= before
    expect(page.locator(STATE)).to_have_text("Failed")
    assert page.evaluate("window.notReloaded") is True
    odoo.call("sendgrid.event.batch", "action_set_aside", [batch_id])


def test_headers_are_whole(odoo, webhook, open_browser):
    """The names of all columns can be read on a usual screen."""
    fail(odoo, webhook)
    page = open_browser("admin", "admin")
    page.set_viewport_size({"width": 1440, "height": 900})
    for name, action in LISTS.items():
        go(page, action, view="list")
        cut = page.locator(".o_list_view th[data-name] *").evaluate_all(
            "names => names.filter(name => name.clientWidth && name.scrollWidth > name.clientWidth + 1)"
            ".map(name => name.innerText)"
        )
        assert not cut, name


def test_banner_of_the_key(odoo, database, open_browser):
    """The time until which the old signing key is accepted, and the button behind it, do not touch."""
    account_id = odoo.create("sendgrid.account", name="Two keys")
    database.query(
        """UPDATE sendgrid_account
              SET webhook_id = 'new', previous_webhook_id = 'old', previous_verification_key_end = now()
            WHERE id = %s""",
        account_id,
    )
    page = open_browser("admin", "admin")
    go(page, "sendgrid_account_action", account_id)
    button = page.locator("button[name=action_forget_previous_key]")
    expect(button).to_be_visible()
    assert button.evaluate("button => parseFloat(getComputedStyle(button).paddingLeft)") >= 4
    odoo.call("sendgrid.account", "unlink", [account_id])


def test_follow_up_by_keyboard(odoo, open_browser):
    """The ready-made rules are switched by checkboxes, without developer mode and without a mouse."""
    rule = odoo.ref(f"{MODULE}.base_automation_click")

    def is_active():
        return odoo.call("base.automation", "read", [rule], ["active"])[0]["active"]

    assert not is_active()
    page = open_browser("admin", "admin")
    for expected in (True, False):
        page.goto("/odoo/settings")
        box = page.locator("#sendgrid_follow_up [name=sendgrid_rule_click] input")
        box.focus()
        page.keyboard.press("Space")
        expect(box).to_be_checked(checked=expected)
        picture(page, "follow_up")
        # Odoo loads the page anew after saving: going on before that is done would be aborted.
        with page.expect_event("load"):
            page.keyboard.press("Alt+s")
        wait_for(lambda wanted=expected: is_active() == wanted, "saved")
