"""An administrator's work with a batch that cannot be understood, and the checkboxes of the settings."""

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
