"""The upgrade from the version that was released last to the present tree, on a database that was in use.

If you change a table, a name or a record that core leaves alone at an upgrade (`noupdate`):
- write the migration in `migrations/<coming version>/`, and tell in `CHANGELOG.md` what an administrator has to know;
- add data to `fill.py` that get lost without your migration; `fill.py` runs on the released version;
- name in `GONE` and `CHANGED` below what is gone or changed on purpose, with the reason, and add a test that shows what
  became of it.
When you release a version, write its commit into `CHANGELOG.md`, and empty `GONE` and `CHANGED`.

The fixtures are in `conftest.py`. ``before`` and ``after`` are the states of the database right before and right after
the upgrade. ``fresh`` is the state of a database into which the present tree was installed. ``client``, ``webhook`` and
``sandbox`` speak with the present tree, which runs on the upgraded database. No scheduled action runs there until a
test runs it.
"""

import ast
import subprocess

import pytest
from fill import SHIPPED_RULES, address, make_event, web_server
from harness import Database, Log
from state import RECORDS, REGISTERED, STRUCTURE, narrow

from script.lib import paths, release, say

# {table, or table.column: why it is gone}
GONE = {
    "res_partner.email_valid_date": "a confirmation is the address's now; see `test_addresses`",
    "sendgrid_email.body": "it is a content now, which documents share; see `test_contents`",
    "sendgrid_event.partner_id": "the contact of an event is its e-mail's, and is read there",
    "sendgrid_email.failed_facts": "what failed is noted by the consequence's name",
    "sendgrid_email.is_blacklisted_by_group": "why an address is blacklisted is noted with the address",
}
# {table.column, or page.field: why its content changes}
CHANGED = {
    "sendgrid_account_action.check_ids": "the finding about failed batches names the new way out: set them aside",
    "base_automation.filter_domain": "the shipped rule on the first click asks for a person's; `test_records` shows it",
    "base_automation.filter_pre_domain": "the same",
    **dict.fromkeys(
        ("res_partner.email_bounced", "res_partner.email_bounce_date", "res_partner.email_bounce_reason"),
        "a contact that got its address after the bounce shows it as well; `test_addresses` shows that the others do",
    ),
    "sendgrid_email_action.engagement_summary": "opens and clicks are told in words that need no plural",
    "settings.sendgrid_accounts": "an account that was not connected says that it is set up by hand",
    "sendgrid_account_action.event_graph": "its days are written as each language writes them",
    "contact.sendgrid_warning": "moments have one form; who was confirmed though SendGrid lists him says so",
    **dict.fromkeys(
        (
            "sendgrid_event_action.batch_id",
            "sendgrid_event_action_unmatched.batch_id",
            "sendgrid_suppression_action.last_sync_id",
            "sendgrid_suppression_action.sync_id",
        ),
        "moments have one form everywhere, also in the names of batches and comparisons",
    ),
    **dict.fromkeys(
        ("ir_cron.write_date", "ir_cron.write_uid"),
        "core's scheduled action for rules with a time is looked at when the two new ones come; all else of it is kept",
    ),
    "sendgrid_email.facts": "each fact has its time now; see `test_facts_have_times`",
    "ir_act_server.code": "two shipped rules no longer tell all readers of a contact what a document says; "
    "`test_records` shows that they say what a fresh installation says",
    **dict.fromkeys(
        ("sendgrid_event_action.explanation", "sendgrid_event_action_unmatched.explanation"),
        "it tells why an e-mail was refused; `test_causes` shows by what",
    ),
}
# The external ids of the scheduled actions that the upgrade adds.
NEW_ACTIONS = {"ir_cron_erase", "ir_cron_export", "ir_cron_forget_foreign", "ir_cron_reduce", "ir_cron_remind"}
# It adds ready-made automation rules, switched off, with a server action each.
NEW_RULES = 2
# The upgrade adds server actions: to the lists of contacts and of leads, those that give lists their addresses (seven
# are of an account's lists), one that claims an account for a database, one that sets the word of addresses, and three
# that export the tracking of a contact, a lead or an address.
NEW_SERVER_ACTIONS = 22
# {table of core's: how many rows that adds}; core's chatter notes the creation of an action and of its server action.
ADDED = {
    "base_automation": NEW_RULES,
    "ir_act_server": NEW_RULES,
    "ir_config_parameter": 1,  # until when events may have fingerprints of before
    "ir_cron": len(NEW_ACTIONS),
    "mail_message": 2 * len(NEW_ACTIONS) + NEW_SERVER_ACTIONS + 2 * NEW_RULES,
}
# {page.field: why its records stand in another order}
REORDERED = {
    f"{page}.event_ids": "events of the same second stand in their natural order"
    for page in ("sendgrid_event_batch_action", "sendgrid_email_action")
}
# Fields that show something else whenever a page is opened.
VOLATILE = {"webhook_url", "crm_auto_assignment_run_datetime"}
# The filling leaves the tables of dialogs empty, because core deletes their records.
EMPTY = {
    "sendgrid_account_connect",
    "sendgrid_account_connect_step",
    "sendgrid_account_disconnect",
    "sendgrid_forget",
    "sendgrid_suppression_clear",
    "sendgrid_suppression_clear_line",
}


def drain(client):
    """Run the scheduled action that processes received events."""
    client.call("ir.cron", "method_direct_trigger", [client.ref("sendgrid_tracking.ir_cron_drain")])


def receive(client, webhook, *events):
    """POST events in one batch, have it processed, and return the batch."""
    assert webhook.post(list(events)).status_code == 204
    [batch] = client.find("sendgrid.event.batch", order="id desc")[:1]
    drain(client)
    [batch] = client.find("sendgrid.event.batch", ("id", "=", batch.id))
    assert batch.state == "done" and not batch.failed_rules, batch
    return batch


# ------------------------------------------------------------
# THE VERSIONS
# ------------------------------------------------------------


def test_changelog():
    """The changelog begins with the manifest's version. The other versions are released, and stand newest first."""
    first, *released = release.read_changelog()
    assert first.version == ast.literal_eval((paths.ROOT / "__manifest__.py").read_text())["version"]
    assert released and all(one.commit for one in released)
    numbers = [tuple(map(int, one.version.split("."))) for one in (first, *released)]
    assert numbers == sorted(set(numbers), reverse=True)
    headings = [line for line in paths.CHANGELOG.read_text().splitlines() if line.startswith("## ")]
    assert len(headings) == len(numbers), "a heading that is not understood"


def test_clone_without_history(tmp_path, monkeypatch):
    """If the clone lacks the released commit, the error message says so."""
    commands = [
        ["git", "init", "--quiet", tmp_path],
        ["git", "-C", tmp_path, "-c", "user.name=x", "-c", "user.email=x", "commit", "-q", "--allow-empty", "-m", "x"],
    ]
    for command in commands:
        subprocess.run([str(part) for part in command], check=True)
    monkeypatch.setattr(paths, "RELEASES", tmp_path / "releases")
    with pytest.raises(say.Problem, match="^This clone has no history: the commit of version .* is missing"):
        release.addons_path(release.latest(), root=tmp_path)


# ------------------------------------------------------------
# THE DATABASE
# ------------------------------------------------------------


def test_log(upgrade):
    """The upgrade logs nothing that somebody would have to look at."""
    assert not [line for line in upgrade.log if any(f" {level} " in line for level in ("WARNING", "ERROR", "CRITICAL"))]
    assert any("Registry loaded" in line for line in upgrade.log)


def test_everything_is_kept(before, after):
    """The upgrade keeps each column of documents, events, batches, lists, blacklist, contacts and rules."""
    gone, empty, different = set(), set(), []
    for table, columns in before.columns.items():
        if table not in after.columns:
            gone.add(table)
            continue
        gone |= {f"{table}.{name}" for name in columns - after.columns[table]}
        if not before.rows[table]:
            empty.add(table)
        kept = {name for name in columns & after.columns[table] if f"{table}.{name}" not in CHANGED}
        rows = after.rows[table]
        if table in ADDED:
            known = {row["id"] for row in before.rows[table]}
            rows = [row for row in rows if row["id"] in known]
            assert len(after.rows[table]) - len(rows) == ADDED[table], table
        old, new = narrow(before.rows[table], kept), narrow(rows, kept)
        assert len(before.rows[table]) == len(rows), table
        different += [(table, row) for row in old ^ new]
    assert not different
    assert gone == set(GONE)
    assert empty <= EMPTY, "nothing is compared"


@pytest.mark.parametrize("what", STRUCTURE)
def test_structure(after, fresh, what):
    """The upgraded database has the same structure as one into which the present version was installed."""
    left_behind, missing = differences(after.structure[what], fresh.structure[what])
    assert not left_behind
    assert not missing


@pytest.mark.parametrize("what", REGISTERED)
def test_registered(after, fresh, what):
    """Odoo knows the same external ids, models and fields as after an installation, and none that no longer exist."""
    left_behind, missing = differences(after.registered[what], fresh.registered[what])
    assert not left_behind
    assert not missing


@pytest.mark.parametrize("model", RECORDS)
def test_records(after, fresh, model):
    """The addon's records are as after an installation, even those that core does not update (`noupdate`)."""
    upgraded, installed = differences(after.records[model], fresh.records[model])
    assert not upgraded
    assert not installed
    assert after.records[model], "nothing is compared"


def test_counts_of_people(upgrade):
    """The upgrade tells since when a person has opened and clicked, and counts what nobody can tell from 0 on."""
    rows = {row["recipient"]: row for row in upgrade.after.rows["sendgrid_email"]}
    assert all(row["unknown_open_count"] is not None for row in rows.values())
    opened, clicked, machine = (rows[address(name)] for name in ("opened", "clicked", "machine"))
    assert opened["person_open_date"] == opened["first_open_date"] is not None
    assert clicked["person_click_date"] and not machine["person_open_date"]


def test_addresses(before, after):
    """The facts of contacts, the wishes and the decisions became those of the addresses."""
    found = {row["email"]: row for row in after.rows["sendgrid_address"]}
    contacts = {row["id"]: row for row in after.rows["res_partner"]}
    shown = ("email_bounced", "email_bounce_date", "email_bounce_reason")
    for contact in before.rows["res_partner"]:
        now = contacts[contact["id"]]
        if contact["email_normalized"] == address("bounced"):
            row = found[address("bounced")]
            assert [now[name] for name in shown] == [True, row["bounce_date"], row["bounce_reason"]]
        else:
            assert [now[name] for name in shown] == [contact[name] for name in shown]
        if contact["email_bounced"] or contact["email_valid_date"]:
            row = found[contact["email_normalized"]]
            assert row["valid_date"] == contact["email_valid_date"]
            assert row["bounce_date"] == contact["email_bounce_date"]
            assert row["bounce_reason"] == contact["email_bounce_reason"]
    assert found[address("bounced")]["bounce_cause"] == "address"
    assert found[address("bounces-0")]["valid_date"], "somebody has confirmed it"
    for name in ("spam", "unsubscribed"):
        assert found[address(name)]["wish_date"]
    [left] = found[address("left-group")]["groups"].values()
    [returned] = found[address("came-back")]["groups"].values()
    assert (left[1], returned[1]) == (True, False)
    assert found[address("left-group")]["wanted_date"], "somebody has taken it off the blacklist"
    assert address("by-hand") not in found


def test_facts_have_times(before, after):
    """Each document has the facts that it had, now with the time of the last event that told so."""
    times = {row["id"]: row["facts"] for row in after.rows["sendgrid_email"]}
    for row in before.rows["sendgrid_email"]:
        assert sorted(times[row["id"]] or ()) == sorted(row["facts"] or ())
        for fact, seconds in (times[row["id"]] or {}).items():
            assert bool(seconds) == (fact not in ("delivered", "opened", "clicked")), fact


def test_places(upgrade, after):
    """Each account is connected from the database that was upgraded: a copy of it is another place."""
    uuid = Database(upgrade.name).value("SELECT value FROM ir_config_parameter WHERE key = 'database.uuid'")
    assert after.rows["sendgrid_account"]
    for row in after.rows["sendgrid_account"]:
        assert row["connected_database"] == upgrade.name
        assert row["connected_uuid"] == uuid
        assert row["connected_url"].startswith("http://127.0.0.1:")


def test_contents(before, after, client):
    """Each body became a content, without secret links. Documents without a body say that what was sent is not kept."""
    bodies = {row["id"]: row["body"] for row in before.rows["sendgrid_email"]}
    assert any(bodies.values()) and not all(bodies.values())
    for row in after.rows["sendgrid_email"]:
        assert (row["content_state"] == "kept") == bool(row["content_id"]) == bool(bodies[row["id"]])
    for document in client.find("sendgrid.email", ("id", "in", list(bodies)), fields=["content", "content_note"]):
        assert "offer</a> you asked for" in document.content or "Between us" in document.content
        assert bool(document.content_note) == (not bodies[document.id])


def test_schedule(before, after):
    """Each scheduled action keeps its interval, next call and switch, as the administrator has set them."""
    assert before.schedule
    assert {name: after.schedule[name] for name in before.schedule if name in after.schedule} == before.schedule
    assert after.schedule.keys() - before.schedule.keys() == NEW_ACTIONS


def differences(one, other):
    """Return two sorted lists: what only the one set has, and what only the other has."""
    return sorted(map(str, one - other)), sorted(map(str, other - one))


# ------------------------------------------------------------
# THE PAGES
# ------------------------------------------------------------


def test_pages(client, told, shown):
    """Each page opens for an administrator and for a salesperson, and shows the same as before, but for a note."""
    different = []
    for user, pages in told["pages"].items():
        for page, old in pages.items():
            new = shown[user].get(page)
            if isinstance(old, dict) and isinstance(new, dict):
                assert old or user != "admin", f"{page} is empty"
                different += [(user, page, *one) for one in compare(old, new, page)]
            elif old != new and page not in GONE:
                different.append((user, page, old, new))
    # A salesperson no longer reads the document of a note among colleagues.
    [note] = client.find("sendgrid.email", ("recipient", "=", address("noted")))
    contact = str(told["contacts"]["noted"])
    # A contact got an address that had bounced before: he says so now.
    twin = str(told["contacts"]["twin"])
    assert {one[:4] for one in different} == {
        ("sam", "contact", contact, "sendgrid_email_count"),
        ("sam", "contact", contact, "sendgrid_email_ids"),
        ("sam", "sendgrid_email_action", str(note.id), "is gone"),
        *((user, "contact", twin, "email_bounced") for user in ("sam", "admin")),
    }, different


def compare(old, new, page):
    """Yield the differences between two looks at a page, in the fields that both show.

    :param old: {record id: {field: shown value}}
    :param new: the same at the second look
    :param page: name of the page
    """
    for id_ in sorted(old.keys() ^ new.keys()):
        yield id_, "is gone" if id_ in old else "is new"
    for id_ in sorted(old.keys() & new.keys()):
        for name in old[id_].keys() & new[id_].keys() - VOLATILE:
            one, other = old[id_][name], new[id_][name]
            if f"{page}.{name}" in REORDERED:
                one, other = (sorted(records, key=lambda record: record["id"]) for records in (one, other))
            if name == "journey":
                other = as_before(other)
            if f"{page}.{name}" not in CHANGED and common(one, other) != common(other, one):
                yield id_, name, one, other


def as_before(journey):
    """Return the steps of a journey as the released version showed them: an unsubscription as a failure."""
    steps = journey[:-1] if journey[-1:] == [OPEN_REPLY] else journey
    return [{**step, "state": "failed"} if step["status"] == "unsubscribed" else step for step in steps]


# A journey has a last step by now, which no e-mail of before has reached.
OPEN_REPLY = {"status": "replied", "label": "Replied", "date": False, "state": "open", "note": None}


def common(one, other):
    """Return a value without the fields that another look at it does not have; records inside it have fields too."""
    if isinstance(one, dict) and isinstance(other, dict):
        return {name: common(value, other[name]) for name, value in one.items() if name in other}
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [common(*pair) for pair in zip(one, other, strict=True)]
    return one


# ------------------------------------------------------------
# LIFE GOES ON
# ------------------------------------------------------------


def test_nobody_has_chosen_who_is_measured(after, fresh, client):
    """Companies measure as before, Health says so with their names, and a company that is new has the proposal."""
    companies = after.rows["res_company"]
    assert len(companies) > 1 and not any(row["sendgrid_unasked"] for row in companies)
    assert [row["sendgrid_unasked"] for row in fresh.rows["res_company"]] == ["country"]
    [account] = client.find("sendgrid.account", ("active", "=", True), fields=["id", "company_id"])[:1]
    client.call("sendgrid.account", "action_check_health", [account.id])
    [check] = client.find("sendgrid.account.check", ("account_id", "=", account.id), ("subject", "=", "measuring"))
    assert (check.state, check.finding) == ("warning", "measuring_open")
    assert any(row["name"] in check.message for row in companies)


def test_causes(client):
    """Stored refusals have their cause, and documents are found by it. Statuses are as before."""
    for name, status, cause in (
        ("bounced", "bounced", "address"),
        ("blocked", "blocked", "mailbox"),
        ("dropped", "dropped", False),  # "Bounced Address" without a bounce
        ("delivered", "delivered", False),
    ):
        [document] = client.find("sendgrid.email", ("recipient", "=", address(name)), ("refusal_cause", "=", cause))
        assert document.status == status
        assert {one.refusal_cause for one in client.events_of(document.id)} - {False} == ({cause} - {False})


def test_batch_that_was_pending(client, told):
    """A batch that was received before the upgrade is processed after it."""
    [batch] = client.find("sendgrid.event.batch", ("id", "=", told["pending"]))
    assert batch.state == "pending"
    drain(client)
    [batch] = client.find("sendgrid.event.batch", ("id", "=", told["pending"]))
    assert (batch.state, batch.event_count, batch.duplicate_count) == ("done", 1, 0)
    assert client.document_to(address("pending")).status == "delivered"


def test_old_batches_again(client, running, told):
    """Old batches can be processed again, and their known events do not count twice."""
    database = Database(running.odoo.database)
    ids = {name: told[name] for name in ("failed", "rejected", "done")}
    old = {name: client.find("sendgrid.event.batch", ("id", "=", id_))[0] for name, id_ in ids.items()}
    events = database.value("SELECT count(*) FROM sendgrid_event")
    client.call("sendgrid.event.batch", "action_process_again", list(ids.values()))
    drain(client)
    new = {name: client.find("sendgrid.event.batch", ("id", "=", id_))[0] for name, id_ in ids.items()}
    assert {name: batch.state for name, batch in new.items()} == {
        "failed": "failed",
        "rejected": "done",
        "done": "done",
    }
    assert all(new[name].processed_date > old[name].processed_date for name in ids)
    for name in ("event_count", "rejected_count"):
        assert {batch: new[batch][name] for batch in ids} == {batch: old[batch][name] for batch in ids}
    assert new["done"].duplicate_count == new["done"].event_count == 1
    assert database.value("SELECT count(*) FROM sendgrid_event") == events


def test_known_event_comes_again(client, webhook, told):
    """If an event comes that the released version has stored, it is a duplicate, even with another `sg_event_id`."""
    before = client.document_to(address("clicked"))
    events = client.events_of(before.id)
    batch = receive(client, webhook, told["known"], {**told["known"], "sg_event_id": "another"})
    assert (batch.event_count, batch.duplicate_count) == (2, 2)
    assert client.events_of(before.id) == events
    assert client.document_to(address("clicked")) == before


def test_new_events_on_an_old_document(client, webhook, told):
    """New events reach a document of the released version, by our id and by SendGrid's."""
    ids = told["ids"]["later"]
    assert client.document_to(address("later")).status == "processed"
    by_sendgrids = {name: value for name, value in ids.items() if not name.startswith("odoo_")}
    opened = make_event("open", **by_sendgrids)
    opened["timestamp"] += 300  # an opening at the time of the delivery would be taken for a machine's
    receive(client, webhook, make_event("delivered", **ids), opened)
    document = client.document_to(address("later"))
    assert (document.status, document.open_count) == ("opened", 1)
    assert {(one.event, one.match) for one in client.events_of(document.id)} == {
        ("processed", "odoo_id"),
        ("delivered", "odoo_id"),
        ("open", "sg_message_id"),
    }


def test_mail_goes_out(client, sandbox, told):
    """A mail that waited goes out, and so does a new one. Each has its document, which gets its events."""
    client.call("mail.mail", "send", [told["unsent"]])
    client.compose(told["contacts"]["delivered"], "After the upgrade", "<p>Hello</p>")
    for name, subject in (("unsent", "To be sent"), ("delivered", "After the upgrade")):
        message = sandbox.message_to(address(name), subject)
        document = client.document_to(address(name), subject)
        assert message["smtpapi"]["unique_args"]["odoo_id"] == document.odoo_id
    sandbox.flush()
    drain(client)
    assert client.document_to(address("unsent"), "To be sent").status == "delivered"
    assert client.document_to(address("delivered"), "After the upgrade").status == "delivered"


def test_mail_is_sent_again(client, sandbox, told):
    """A mail that the released version sent, and that is sent again after the upgrade, keeps its name and document."""
    document = client.document_to(address("nobody"))
    client.write("mail.mail", told["sent"], state="outgoing")
    client.call("mail.mail", "send", [told["sent"]])
    names = [one["smtpapi"]["unique_args"]["odoo_id"] for one in sandbox.messages("About nothing")]
    assert names == [document.odoo_id]
    assert client.document_to(address("nobody")).id == document.id


def test_shipped_rules(client, webhook, told):
    """The shipped rules, switched on before the upgrade, do the same as before, but tell no subject of a document."""
    ids, contacts = told["ids"], told["contacts"]
    with web_server() as calls:
        action = client.ref("sendgrid_tracking.ir_actions_server_spam")
        client.write("ir.actions.server", action, webhook_url=calls.url)
        receive(
            client,
            webhook,
            make_event("bounce", **ids["late-bounce"], status="5.1.1", type="bounce", reason="550 5.1.1 unknown"),
            make_event("click", **ids["late-click"], url="https://shop.example.com/"),
            make_event("unsubscribe", **ids["late-unsubscribe"]),
            make_event("spamreport", **ids["late-spam"]),
        )
        [call] = calls
    assert (call["event"], call["recipient"]) == ("spamreport", address("late-spam"))
    activities = {
        name: client.find("mail.activity", ("res_model", "=", "res.partner"), ("res_id", "=", contacts[f"late-{name}"]))
        for name in ("bounce", "click")
    }
    [bounce], [click] = activities.values()
    assert bounce.summary == "Find another e-mail address"
    assert click.summary == "Clicked a link in an e-mail"
    tag = client.ref("sendgrid_tracking.res_partner_category_unsubscribed")
    assert client.read("res.partner", contacts["late-unsubscribe"], "category_id").category_id == [tag]
    blacklisted = client.find(
        "mail.blacklist", ("email", "in", [ids[f"late-{n}"]["email"] for n in ("unsubscribe", "spam")])
    )
    assert len(blacklisted) == 2
    assert client.read("res.partner", contacts["late-bounce"], "email_bounced").email_bounced
    assert len(SHIPPED_RULES) == len(activities) + len([tag]) + len([call])


# {name in the contacts' names: (event, what the rule wrote before the upgrade, what it writes after it)}. The rules are
# those of `fill.OWN_RULES`. Each writes to two contacts, whose events come in one POST. The released version took the
# second rule for one that may run once for all, and so served its first contact only.
RULED = {
    "together": ("click", ["one of 2", "one of 2"], ["one of 2", "one of 2"]),
    "pair": ("open", ["one of 2", False], ["one of 1", "one of 1"]),
    "single": ("open", ["one of 1", "one of 1"], ["one of 1", "one of 1"]),
}


@pytest.mark.parametrize("rule", RULED)
def test_own_rules(client, webhook, told, rule):
    """A user's own rule does the same as before, and a rule that left contacts out serves all of them."""
    event, old, new = RULED[rule]
    ids, contacts = told["ids"], told["contacts"]

    def functions(*numbers):
        return [client.read("res.partner", contacts[f"{rule}-{n}"], "function").function for n in numbers]

    assert functions(1, 2, 3, 4) == [*old, False, False]
    receive(client, webhook, *(make_event(event, **ids[f"{rule}-{number}"]) for number in (3, 4)))
    assert functions(3, 4) == new


def test_switch_of_rules(client):
    """The switch is on for the shipped rules and for the user's rule that was rightly run once, for no other action."""
    ours = {*SHIPPED_RULES, "unanswered", "silent_click"} - {"spam"}
    names = {f"ir_actions_server_{name}" for name in ours}
    shipped = {client.ref(f"sendgrid_tracking.{name}") for name in names}
    [own] = client.find("ir.actions.server", ("name", "=", "for many"), fields=["id"])
    switched_on = client.find("ir.actions.server", ("sendgrid_runs_once", "=", True), fields=["id"])
    assert {action.id for action in switched_on} == shipped | {own.id}


def test_each_scheduled_action(client):
    """Each scheduled action runs to its end."""
    jobs = client.find(
        "ir.model.data", ("module", "=", "sendgrid_tracking"), ("model", "=", "ir.cron"), fields=["res_id"]
    )
    for job in jobs:
        client.call("ir.cron", "method_direct_trigger", [job.res_id])
    failed = client.find("ir.cron", ("id", "in", [job.res_id for job in jobs]), ("failure_count", ">", 0))
    assert jobs and not failed


def test_server_log(client, running):
    """The server logged no problem during all tests of this file. This test comes last, so that it sees them all."""
    log = Log(running.odoo.log)
    log.start = 0
    assert not log.problems()
