"""All pages of ours that show a list or a record, and records for each of them."""

import time

from harness import wait_for
from playwright.sync_api import expect

MODULE = "sendgrid_tracking"
# {name: external id of the action}
LISTS = {
    "documents": "sendgrid_email_action",
    "interactions": "sendgrid_interaction_action",
    "accounts": "sendgrid_account_action",
    "events": "sendgrid_event_action",
    "unmatched": "sendgrid_event_action_unmatched",
    "batches": "sendgrid_event_batch_action",
    "refused": "sendgrid_rejection_action",
    "addresses": "sendgrid_address_action",
    "suppressions": "sendgrid_suppression_action",
    "comparisons": "sendgrid_suppression_sync_action",
    "searches": "sendgrid_backfill_action",
    "wordings": "sendgrid_wording_action",
    "exports": "sendgrid_export_action",
    "erasures": "sendgrid_erasure_action",
}
# {key of `make_world`: external id of the action}
FORMS = {
    "event": "sendgrid_event_action",
    "batch": "sendgrid_event_batch_action",
    "address": "sendgrid_address_action",
    "suppression": "sendgrid_suppression_action",
    "sync": "sendgrid_suppression_sync_action",
    "backfill": "sendgrid_backfill_action",
    "wording": "sendgrid_wording_action",
}


def make_world(odoo, sandbox, webhook, domain):
    """Make records for every page: e-mails with all fates, a lead, a batch that failed, a comparison, a search.

    :param domain: of the addresses to which the e-mails go
    :return: {what: its id}
    """
    names = ("ada", "bounce.ada", "spam.ada", "machine-open.ada", "deferred.ada", "dropped-invalid.ada")
    contacts = {name: odoo.contact(name.title(), f"{name}@{domain}") for name in names}
    shop = "https://www.example.com/offer"
    for name, contact_id in contacts.items():
        odoo.compose(contact_id, f"An offer for {name}", f"<p>Dear {name}, <a href='{shop}'>our offer</a></p>")
    message = sandbox.message_to(f"ada@{domain}")
    wait_for(lambda: odoo.document_to(f"ada@{domain}").status == "delivered", "delivered")
    for event in ("open", "click"):
        sandbox.fire_by_person(message, f"ada@{domain}", event)
    fates = {"ada": "clicked", "bounce.ada": "bounced", "spam.ada": "spam", "dropped-invalid.ada": "dropped"}
    documents = {}
    for name, status in fates.items():
        address = f"{name}@{domain}"
        wait_for(lambda a=address, s=status: odoo.document_to(a).status == s, f"{status}: {name}")
        documents[name] = odoo.document_to(address).id
    lead_id = odoo.create("crm.lead", name="An opportunity", type="opportunity", email_from=f"bounce.ada@{domain}")
    webhook.post(b"no JSON at all")
    wait_for(lambda: odoo.find("sendgrid.event.batch", ("state", "=", "failed")), "a failed batch")
    webhook.post([{"email": f"stranger@{domain}", "event": "open", "timestamp": int(time.time())}, 5])
    wait_for(lambda: odoo.find("sendgrid.event", ("recipient", "=", f"stranger@{domain}")), "an unmatched event")
    webhook.post([], headers={})
    wording_id = odoo.create(
        "sendgrid.wording", name=f"Fair of {domain}", text="May we see whether you open our e-mails?"
    )
    addresses = [f"ada@{domain}", f"bounce.ada@{domain}"]
    odoo.call("sendgrid.address", "set_email_tracking", addresses, "agreed", "form", "Fair", wording_id)
    account_id = odoo.ref(f"{MODULE}.sendgrid_account_demo")
    odoo.call("sendgrid.account", "action_check_health", [account_id])
    sync_id = odoo.call("sendgrid.account", "action_sync_suppressions", [account_id])["res_id"]
    wait_for(lambda: odoo.read("sendgrid.suppression.sync", sync_id, "state").state == "done", "compared", timeout=120)
    backfill_id = odoo.create("sendgrid.backfill", account_id=account_id)
    return {
        "contact": contacts["bounce.ada"],
        "lead": lead_id,
        "account": account_id,
        "sync": sync_id,
        "backfill": backfill_id,
        "document": documents["ada"],
        "bounced": documents["bounce.ada"],
        "batch": odoo.find("sendgrid.event.batch", ("state", "=", "failed"))[0].id,
        "event": odoo.find("sendgrid.event", ("email_id", "=", documents["ada"]))[-1].id,
        "suppression": odoo.find("sendgrid.suppression")[0].id,
        "address": odoo.find("sendgrid.address", ("email", "=", f"bounce.ada@{domain}"))[0].id,
        "wording": wording_id,
        "server": odoo.find("ir.mail_server", ("sendgrid_account_id", "=", account_id))[0].id,
    }


def go(page, action, record=None, view=None):
    """Open an action of ours, or one of its records, and wait until it is there."""
    query = f"?view_type={view}" if view else ""
    page.goto(f"/odoo/action-{MODULE}.{action}" + (f"/{record}" if record else "") + query)
    # On a telephone Odoo opens cards instead of a list, where there are any.
    page.wait_for_selector(".o_form_renderer" if record else ".o_list_renderer, .o_kanban_renderer")
    settle(page)


def settle(page):
    """Wait until nothing is being loaded, and what was loaded is drawn."""
    expect(page.locator(".o_loading_indicator")).to_have_count(0)
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
