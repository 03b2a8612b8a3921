from datetime import datetime, timedelta
from pathlib import Path
from unittest.mock import patch

from odoo import fields
from odoo.modules.migration import load_script
from odoo.tests import BaseCase, TransactionCase, tagged

FOLDER = Path(__file__).resolve().parents[1] / "migrations"
RIGHTLY_FOUND = {
    "all at once": "records.write({'color': 1})",
    "something of all": "records.partner_id.write({'color': 1})",
    "of all, as administrator": "records.sudo().partner_id.write({'color': 1})",
    "a part": "records.filtered(lambda r: r.partner_id.child_ids[:1]).write({'active': False})",
    "a list of all": "env['mail.activity'].create([{'res_id': r.id, 'user_id': r.user_ids[:1].id} for r in records])",
    "a list of a part": "env['mail.activity'].create([{'res_id': r.id} for r in records if r.partner_id])",
    "names of other things": (
        "kind = env.ref('base.x').id\nenv['x'].create([{'kind': kind, 'of': r.id} for r in records])"
    ),
    "a loop": "for r in records:\n    r.write({'function': r.name})",
    "a loop with names": (
        "for r in records:\n    first = r.child_ids[:1]\n    if first:\n        first.write({'color': 1})"
    ),
    "a loop in a loop": "for r in records:\n    for child in r.child_ids:\n        child.write({'color': 1})",
    "a list that a loop fills": "vals = []\nfor r in records:\n    vals.append({'of': r.id})\nenv['x'].create(vals)",
    "how many": "log('served %s' % len(records))",
    "handed on": "env['some.model'].serve(records)",
}
NOT_FOUND = {
    "nothing": "",
    "of one": "record.write({'color': 1})",
    "of one and all": "records.write({'function': record.name})",
    "of neither": "env['res.partner'].search([]).write({'color': 1})",
    "by its id": "env['x'].browse(env.context['active_id']).write({'of': records.ids})",
    "the first": "records[0].write({'color': 1})",
    "white space first": "    records.write({'color': 1})",
    "no code": "records.write(",
}
WRONGLY_FOUND = {
    "a decision for all, by `and`": "records.filtered('active') and records.write({'color': 1})",
    "a decision for all, by `or`": "records.filtered('active') or env.company.write({'color': 1})",
    "the first id": "env['x'].browse(records.ids[0]).write({'color': 1})",
    "the first of something": "records.partner_id[:1].write({'color': 1})",
    "another name": "r = records\nr[0].write({'color': 1})",
    "another name, of a part": "part = records.filtered('active')\npart.write({'color': 1})",
    "another name, within": "(r := records).write({'color': 1})",
    "another name, of several": "first, *others = records\nfirst.write({'color': 1})",
    "the same name": "records = records.filtered('active')\nrecords.write({'color': 1})",
    "the first of a copy": "list(records)[0].write({'color': 1})",
    "the first of those read": "env['x'].browse(records.ids)[:1].write({'color': 1})",
    "the first of some, by a loop": "for r in records.partner_id[:1]:\n    r.write({'color': 1})",
    "all as one, by a loop": "for some in [records]:\n    some[0].write({'color': 1})",
    "all as one, by a list": "[some[0].write({'color': 1}) for some in [records]]",
    "groups": "for group in records.grouped('active').values():\n    group[0].write({'color': 1})",
    "a loop that ends": "for r in records:\n    r.write({'color': 1})\n    break",
    "the last of a loop": "for r in records:\n    last = r\nlast.write({'color': 1})",
    "the last of a loop, by its name": "for r in records:\n    log(r.name)\nr.write({'color': 1})",
    "the first of what a loop fills": (
        "all_of = []\nfor r in records:\n    all_of.append(r)\nall_of[0].write({'color': 1})"
    ),
    "the next": "next(iter(records)).write({'color': 1})",
    "the largest": "max(records, key=len).write({'color': 1})",
    "taken out": "env['x'].browse(records.ids.pop()).write({'color': 1})",
    "only one": "records.ensure_one()\nrecords.write({'color': 1})",
    "the id": "env['x'].create({'of': records.partner_id.id})",
    "a function": "def serve(some):\n    some[0].write({'color': 1})\nserve(records)",
    "a function without a name": "(lambda some: some[0].write({'color': 1}))(records)",
    "some decide for all": "if records.filtered('active'):\n    records.write({'color': 1})",
    "unpacked": "env['x'].serve(*records)",
}


def load(name):
    return load_script(str(FOLDER / "19.0.1.1.0" / name), name.removesuffix(".py").replace("-", "_"))


@tagged("post_install", "-at_install")
class TestRunsOnce(BaseCase):
    """For which code of a user's rule the switch is on after the upgrade from 19.0.1.0.0."""

    def test_decision(self):
        script = load("post-runs_once.py")
        for cases, expected in ((RIGHTLY_FOUND, True), (NOT_FOUND, False), (WRONGLY_FOUND, False)):
            for name, code in cases.items():
                with self.subTest(name):
                    self.assertIs(script.runs_once(code), expected)
                if cases is not NOT_FOUND:
                    with self.subTest(name, what="the released guess"):
                        self.assertTrue(script._was_guessed(script.ast.parse(code), code))


@tagged("post_install", "-at_install")
class TestScripts(TransactionCase):
    """What the scripts write, once and again."""

    def test_places(self):
        """Test that an upgraded copy asks once before it changes anything at SendGrid, and production never."""
        account = self.env["sendgrid.account"].create({"name": "x", "api_key": "SG.x"})
        place = account._get_place()
        for is_copy in (False, True):
            with self.subTest(is_copy=is_copy):
                self.env["ir.config_parameter"].set_param("database.is_neutralized", is_copy)
                account.write(dict.fromkeys(place, False))
                self.env.flush_all()
                load("post-connected_from.py").migrate(self.env.cr, "19.0.1.0.0")
                self.env.invalidate_all()
                self.assertEqual(account._get_place_question(), "place" if is_copy else None)
                if is_copy:
                    account.api_key = "SG.y"
                    self.assertEqual(account._get_place_question(), "place", "another key is no answer")
                    self.assertIn("is a copy of another one", account.place_warning)
                    self.assertIn(self.env.cr.dbname, account.place_warning)
                    account._claim()
                    self.assertFalse(account._get_place_question())
                self.assertEqual({name: account[name] for name in place}, place)

    def test_refusal_causes(self):
        """Stored refusals get their cause, in chunks of any size; facts stay, and a second time changes nothing."""
        account = self.env["sendgrid.account"].create({"name": "x"})

        def make(name, status, *events):
            email = self.env["sendgrid.email"].create(
                {
                    "odoo_id": f"x{name}{status}",
                    "account_id": account.id,
                    "recipient": f"{name}@example.org",
                    "sent_date": "2026-11-24",
                    "status": status,
                    "status_reason": events[-1]["reason"],
                    "facts": ["bounced"],
                }
            )
            for number, values in enumerate(events):
                self.env["sendgrid.event"].create(
                    {
                        "account_id": account.id,
                        "email_id": email.id,
                        "match": "odoo_id",
                        "recipient": email.recipient,
                        "fingerprint": f"{email.id}-{number}",
                        **values,
                    }
                )
            return email

        def bounce(day, reason, **values):
            return {"event": "bounce", "bounce_type": "bounce", "timestamp": day, "reason": reason, **values}

        def drop(day, reason="Bounced Address"):
            return {"event": "dropped", "timestamp": day, "reason": reason}

        expected = {
            make("a", "bounced", bounce("2026-11-24", "550 5.1.1 User unknown")): ["address"],
            make("b", "bounced", bounce("2026-11-24", "552 5.2.2 over quota")): ["mailbox"],
            make("b", "dropped", drop("2026-11-25")): ["mailbox"],
            make("c", "dropped", drop("2026-11-23")): [False],
            make("d", "dropped", drop("2026-11-23", "Invalid")): ["address"],
            make("e", "blocked", bounce("2026-11-24", "no", bounce_classification="Reputation")): ["sender"],
            make("f", "delivered", {"event": "delivered", "timestamp": "2026-11-24", "reason": "550 5.1.1"}): [False],
            make("g", "blocked", bounce("2026-11-24", "first"), bounce("2026-11-25", "451 4.7.1 no")): [
                "unknown",
                "sender",
            ],
        }
        self.env.flush_all()
        script = load("post-refusal_cause.py")
        with patch.object(script, "CHUNK", 2):
            for _time in range(2):
                script.migrate(self.env.cr, "19.0.1.0.0")
                self.env.invalidate_all()
                for email, causes in expected.items():
                    with self.subTest(email=email.odoo_id):
                        self.assertEqual(email.event_ids.sorted("timestamp").mapped("refusal_cause"), causes)
                        shown = causes[-1] if email.status != "delivered" else False
                        self.assertEqual((email.refusal_cause, email.facts), (shown, ["bounced"]))

    def test_bounces_are_shown(self):
        """Each contact shows the bounces of its addresses, also if it is archived or came later, and no others."""
        script = load("post-addresses.py")
        Partner, Address = self.env["res.partner"], self.env["sendgrid.address"]
        texts = ("ada@example.org", "Ada@example.org", "bob@example.org, ADA@example.org", "bob@example.org", False)
        partners = Partner.create([{"name": "x", "email": text, "active": text != texts[1]} for text in texts])
        Address.create({"email": "ada@example.org", "bounce_date": "2026-11-24", "bounce_reason": "550 gone"})
        self.env.flush_all()
        self.cr.execute(
            "UPDATE res_partner SET email_bounced = id = ANY(%s), email_bounce_reason = 'old' WHERE id = ANY(%s)",
            [partners[3:].ids, partners.ids],
        )
        for _time in range(2):
            self.env.invalidate_all()
            script._show_bounces(self.cr)
            self.assertEqual(partners.mapped("email_bounced"), [True] * 3 + [False] * 2)
            self.assertEqual(partners[:3].mapped("email_bounce_reason"), ["550 gone"] * 3)
            self.assertFalse(any(partners[3:].mapped("email_bounce_reason")))

    def test_spellings(self):
        """Addresses that were stored as they were spelled have the one form, and two of one address become one."""
        account = self.env["sendgrid.account"].create({"name": "x"})
        Address = self.env["sendgrid.address"]
        Address.create(
            [
                {"email": "a@bücher.example", "bounce_date": "2026-11-24", "bounce_reason": "gone"},
                {"email": "b@bücher.example", "bounce_date": "2026-11-24", "bounce_reason": "gone"},
                {"email": "b@xn--bcher-kva.example", "wish_date": "2026-11-23"},
                {"email": "pépé@example.org"},
            ]
        )
        entry = {"account_id": account.id, "list": "bounces", "created": "2026-11-24"}
        self.env["sendgrid.suppression"].create(
            [{**entry, "email": email} for email in ("a@bücher.example", "b@bücher.example", "b@xn--bcher-kva.example")]
        )
        self.env.flush_all()
        for _time in range(2):
            load("post-spellings.py").migrate(self.cr, "19.0.1.0.0")
        self.env.invalidate_all()
        names = ["a@xn--bcher-kva.example", "b@xn--bcher-kva.example"]
        a, b, other = Address.search([("email", "in", [*names, "pépé@example.org"])])
        self.assertEqual([a.email, b.email, other.email], [*names, "pépé@example.org"])
        self.assertTrue(a.bounce_date and b.bounce_date and b.wish_date)
        self.assertFalse(Address.search([("email", "like", "bücher")]))
        entries = self.env["sendgrid.suppression"].search([("account_id", "=", account.id)])
        self.assertEqual(sorted(entries.mapped("email")), names)

    def test_facts_of_spellings(self):
        """What is known of two spellings is put together: each fact is the later one, with all that belongs to it."""
        users = self.env.ref("base.user_root") + self.env.ref("base.user_admin")
        early, late = datetime(2026, 11, 23), datetime(2026, 11, 24)

        def facts(date, words, user, groups, by_words):
            return {
                "bounce_date": date,
                "bounce_reason": words,
                "bounce_cause": words and "address",
                "valid_date": date,
                "valid_uid": user.id,
                "wanted_date": date,
                "wanted_uid": user.id,
                "groups": groups,
                "is_blacklisted_by_words": by_words,
            }

        old = facts(early, "old", users[0], {"1": [10, True], "2": [30, False], "3": [1, True]}, True)
        new = facts(late, False, users[1], {"1": [20, False], "2": [20, True], "4": [1, False]}, False)
        nothing = facts(False, False, self.env["res.users"], False, False)
        groups = {"1": [20, False], "2": [30, False], "3": [1, True], "4": [1, False]}
        both = {**new, "groups": groups, "is_blacklisted_by_words": True}
        Address = self.env["sendgrid.address"]
        cases = [
            (old, new, both),
            (new, old, both),
            (old, nothing, old),
            (nothing, old, old),
            (nothing, nothing, nothing),
        ]
        for number, (unicode, encoded, _expected) in enumerate(cases):
            Address.create(
                [
                    {"email": f"{number}@bücher.example", **unicode},
                    {"email": f"{number}@xn--bcher-kva.example", **encoded},
                ]
            )
        self.env.flush_all()
        for _time in range(2):
            load("post-spellings.py").migrate(self.cr, "19.0.1.0.0")
        self.env.invalidate_all()
        for number, (_unicode, _encoded, expected) in enumerate(cases):
            with self.subTest(number):
                [address] = Address.search([("email", "like", f"{number}@%cher%.example")])
                self.assertEqual(
                    {name: address[name].id if name.endswith("uid") else address[name] for name in expected}, expected
                )

    def test_cleared_wishes(self):
        """An entry that was taken off SendGrid's list is no wish."""
        account = self.env["sendgrid.account"].create({"name": "x"})
        for state in ("listed", "cleared"):
            self.env["sendgrid.suppression"].create(
                {
                    "account_id": account.id,
                    "list": "unsubscribes",
                    "email": f"{state}@example.org",
                    "created": "2026-11-24",
                    "state": state,
                    "outcome": "blacklisted",
                }
            )
        self.env.flush_all()
        load("post-addresses.py")._move_wishes(self.cr)
        self.env.invalidate_all()
        known = self.env["sendgrid.address"].search([("email", "in", ["listed@example.org", "cleared@example.org"])])
        self.assertEqual(known.filtered("wish_date").mapped("email"), ["listed@example.org"])

    def test_rules(self):
        """All actions of a rule are for many, or none is switched on; actions of no rule are none of it."""
        model = self.env.ref("base.model_res_partner")

        def make(*codes):
            values = {"name": "x", "model_id": model.id, "state": "code", "usage": "base_automation"}
            rule = self.env["base.automation"].create(
                {
                    "name": "x",
                    "model_id": model.id,
                    "trigger": "on_create",
                    "action_server_ids": [(0, 0, {**values, "code": code}) for code in codes],
                }
            )
            return rule.action_server_ids

        many, one = "records.write({'color': 1})", "record.write({'color': 1})"
        both, mixed = make(many, many), make(many, one)
        alone = self.env["ir.actions.server"].create({"name": "x", "model_id": model.id, "state": "code", "code": many})
        shipped = self.env["ir.actions.server"]
        for name in ("bounce", "unsubscribe", "click"):
            shipped += self.env.ref(f"sendgrid_tracking.ir_actions_server_{name}")
        shipped.sendgrid_runs_once = False
        for _time in range(2):
            self.env.flush_all()
            load("post-runs_once.py").migrate(self.env.cr, "19.0.1.0.0")
            self.env.invalidate_all()
            self.assertEqual((both | shipped).mapped("sendgrid_runs_once"), [True] * 5)
            self.assertFalse(any((mixed | alone).mapped("sendgrid_runs_once")))

    def test_scheduled_actions(self):
        """What is called is renamed; what the administrator set stays; one that he deleted is no obstacle."""
        script, partners = load("post-scheduled_actions.py"), self.env.ref("base.model_res_partner")
        jobs = {name: self.env.ref(f"sendgrid_tracking.{name}") for name in script.SCHEDULED_ACTIONS}
        for job in jobs.values():
            job.write({"interval_number": 7, "active": False})
            job.ir_actions_server_id.write({"code": "model._old()", "model_id": partners.id})
        jobs.pop("ir_cron_backfill").unlink()
        for _time in range(2):
            script.migrate(self.env.cr, "19.0.1.0.0")
            for name, job in jobs.items():
                model, code = script.SCHEDULED_ACTIONS[name]
                self.assertEqual((job.model_id.model, job.model_name, job.code), (model, model, code))
                self.assertEqual((job.interval_number, job.active), (7, False))
                self.assertTrue(hasattr(self.env[model], code.removeprefix("model.").removesuffix("()")))

    def test_first_click(self):
        """The rule on the first click is changed where its filter stands as shipped, and watches what is new."""
        script, rule = load("post-engagement.py"), self.env.ref("sendgrid_tracking.base_automation_click")
        shipped = rule.read(["filter_domain", "filter_pre_domain", "trigger_field_ids"])
        status = self.env.ref("sendgrid_tracking.field_sendgrid_email__status")
        before = {"filter_pre_domain": False, "trigger_field_ids": status.ids}
        for changed in (False, True):
            own = {**before, "filter_domain": '[("status", "=", "clicked")]' if changed else script.SHIPPED_FILTER}
            rule.write(own)
            for _time in range(2):
                self.env.flush_all()
                script.change_rule(self.env)
                if changed:
                    self.assertEqual(rule.filter_domain, own["filter_domain"])
                    self.assertEqual(rule.trigger_field_ids, status)
                else:
                    self.assertEqual(rule.read(["filter_domain", "filter_pre_domain", "trigger_field_ids"]), shipped)

    def test_where_rules_act(self):
        """The activities move where the code stands as it was shipped. Edited code keeps the filter that it needs."""
        script = load("post-where_rules_act.py")
        rule = self.env.ref("sendgrid_tracking.base_automation_click")
        actions = {name: self.env.ref(f"sendgrid_tracking.ir_actions_server_{name}") for name in ("bounce", "click")}
        shipped = {name: action.code.strip() for name, action in actions.items()}
        for name, before in (("bounce", script.BOUNCE_BEFORE), ("click", script.CLICK_BEFORE)):
            actions[name].code = before
        for _time in range(2):
            self.env.flush_all()
            script.migrate(self.env.cr, "19.0.1.0.0")
            self.env.invalidate_all()
            self.assertEqual({name: action.code.strip() for name, action in actions.items()}, shipped)
            self.assertEqual(rule.filter_domain, script.CLICK_FILTER)
        own = f"{script.CLICK_BEFORE}\nlog(str(records))"
        actions["click"].code = own
        self.env.flush_all()
        script.migrate(self.env.cr, "19.0.1.0.0")
        self.env.invalidate_all()
        self.assertEqual(actions["click"].code.strip(), own.strip())
        self.assertEqual(rule.filter_domain, script.CLICK_FILTER_WITH_CONTACT)

    def test_counts(self):
        """What the script writes about opens and clicks is what the fold says, as far as the verdicts are the same."""
        script = load("post-engagement.py")
        account = self.env["sendgrid.account"].create({"name": "Migrated"})
        kinds = {
            "read": [("delivered", 1, ""), ("open", 600, "human"), ("open", 700, "unknown"), ("click", 800, "human")],
            "bounced": [("open", 3, "human"), ("click", 4, "unknown"), ("bounce", 5, "")],
            "bounced after it was read": [("delivered", 1, ""), ("open", 600, "human"), ("bounce", 90000, "")],
            "dropped long before": [("dropped", 1, ""), ("open", 90000, "human")],
            "scanned": [("delivered", 1, ""), ("open", 2, "machine")],
        }
        emails = {}
        for number, (name, told) in enumerate(kinds.items()):
            names = {event for event, _after, _verdict in told}
            status = "bounced" if "bounce" in names else "dropped" if "dropped" in names else "opened"
            emails[name] = self.env["sendgrid.email"].create(
                {
                    "odoo_id": f"migrated{number}",
                    "account_id": account.id,
                    "recipient": f"{number}@example.org",
                    "sent_date": "2026-11-24 06:00:00",
                    "status": status,
                    "event_ids": [
                        (
                            0,
                            0,
                            {
                                "account_id": account.id,
                                "match": "odoo_id",
                                "event": event,
                                "timestamp": datetime(2026, 11, 24, 6) + timedelta(seconds=after),
                                "fingerprint": f"migrated{number}-{after}",
                                "verdict": verdict,
                                "is_machine": verdict == "machine",
                            },
                        )
                        for event, after, verdict in told
                    ],
                }
            )
        self.env.flush_all()
        for _time in range(2):
            script.refuse(self.env.cr)
            script.count(self.env.cr)
        self.env.invalidate_all()
        names = ("open_count", "unknown_open_count", "machine_open_count", "click_count", "machine_click_count")
        self.assertEqual(
            {name: tuple(email[one] for one in names) for name, email in emails.items()},
            {
                "read": (2, 1, 0, 1, 0),
                "bounced": (0, 0, 1, 0, 1),
                "bounced after it was read": (1, 0, 0, 0, 0),
                "dropped long before": (1, 0, 0, 0, 0),
                "scanned": (0, 0, 1, 0, 0),
            },
        )
        self.assertEqual(emails["read"].person_click_date, datetime(2026, 11, 24, 6, 13, 20))
        self.assertFalse(emails["bounced"].person_open_date or emails["bounced"].first_open_date)
        self.assertEqual(emails["bounced"].event_ids.filtered("verdict").mapped("machine_reason"), ["refused"] * 2)

    def test_sending(self):
        """What documents newly say about their sending is filled once, and stays when the script runs again."""
        script = load("pre-documents_that_failed.py")
        company = self.env["res.company"].create({"name": "Migrated"})
        account = self.env["sendgrid.account"].create({"name": "Migrated", "company_id": company.id})
        email = self.env["sendgrid.email"].create(
            {
                "odoo_id": "migrated",
                "account_id": account.id,
                "recipient": "ada@Example.ORG",
                "sent_date": "2026-11-24 06:00:00",
            }
        )
        self.env.flush_all()
        self.env.cr.execute(
            """ALTER TABLE sendgrid_email ALTER COLUMN date DROP NOT NULL, DROP COLUMN sent_count;
               UPDATE sendgrid_email SET date = NULL, recipient_domain = NULL, company_id = NULL"""
        )
        for date in ("2026-11-24 06:00:00", "2026-11-24 07:00:00"):
            script.migrate(self.env.cr, "19.0.1.0.0")
            self.env.invalidate_all()
            self.assertEqual(email.date, fields.Datetime.to_datetime(date))
            self.assertEqual((email.sent_count, email.recipient_domain, email.company_id), (1, "example.org", company))
            self.env.cr.execute("UPDATE sendgrid_email SET date = '2026-11-24 07:00:00' WHERE id = %s", [email.id])
