from datetime import timedelta
from types import SimpleNamespace
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from odoo import fields
from odoo.exceptions import AccessError
from odoo.tests import BaseCase, Form, mute_logger, new_test_user, tagged

from odoo.addons.base.models.ir_cron import IrCron

from ..tools.api import suppressions
from ..tools.api.client import ApiError
from .common import SendgridCase, now
from .properties import quick
from .sandbox_case import API_KEY, SandboxCase
from .simulator import async_bounce

HOUR = 3600


class Lists:
    """SendGrid's side of one list from which people remove addresses between two calls."""

    def __init__(self, emails, removals):
        self.rows = [{"email": email, "created": 1_700_000_000} for email in emails]
        self.removals = removals

    def get(self, path, start_time=None, end_time=None, limit=None, offset=0):
        if self.removals:
            removed = self.removals.pop(0)
            self.rows = [row for row in self.rows if row["email"] not in removed]
        return self.rows[offset : offset + limit]


@tagged("post_install", "-at_install")
class TestLists(BaseCase):
    """Reading the lists, without a database."""

    @quick
    @given(st.data())
    def test_nothing_is_missed(self, data):
        """Test that entries that stay are read, though up to a page of others is removed between two calls."""
        emails = [f"{number}@example.org" for number in range(data.draw(st.integers(0, 40)))]
        removals = data.draw(st.lists(st.sets(st.sampled_from(emails or ["x"]), max_size=4), max_size=3))
        lists = Lists(emails, list(removals))
        with patch.object(suppressions, "PAGE", 5):
            pages = list(suppressions.read_list(lists, "bounces"))
        seen = {entry.email for page in pages for entry in page.entries}
        self.assertLessEqual({row["email"] for row in lists.rows}, seen)
        self.assertTrue(all(len(page.entries) <= 5 for page in pages))
        self.assertIsNone(pages[-1].next)

    def test_anything_may_stand_there(self):
        """Test that rows that are no entries are counted, and do not harm the others."""
        good = {"email": " Ada@Example.org ", "created": "1700000000", "reason": None}
        bad = [None, 7, "x", {}, {"email": "x@example.org"}, {"email": [], "created": 1_700_000_000}]
        bad += [{"email": "x@example.org", "created": created} for created in (-1, "soon", 10**30, True)]
        lists = Lists([], [])
        lists.rows = [*bad, good]
        [page] = suppressions.read_list(lists, "blocks")
        self.assertEqual([(entry.email, entry.created) for entry in page.entries], [("ada@example.org", 1_700_000_000)])
        self.assertEqual(page.rejected, len(bad))

    def test_groups_in_pieces(self):
        """Test that the groups, which come at once, are worked on in pieces."""

        class Groups:
            def get(self, path):
                return [{"email": f"{n}@example.org", "group_id": 7, "created_at": 1_700_000_000} for n in range(1200)]

        pages = list(suppressions.read_list(Groups(), "groups"))
        self.assertEqual([len(page.entries) for page in pages], [500, 500, 200])
        rest = list(suppressions.read_list(Groups(), "groups", offset=pages[0].next, last=pages[0].last))
        self.assertEqual(rest, pages[1:])
        for last in ("somebody who was before", pages[2].last):
            again = list(suppressions.read_list(Groups(), "groups", offset=pages[0].next, last=last))
            self.assertEqual(again, pages, "what was there has moved")

    def test_no_list(self):
        """Test that an answer that is no list does not count as an empty one: all addresses would seem to be off it."""
        for answer in (None, {}, {"errors": []}, "", 0):
            for name in suppressions.LISTS:
                with self.subTest(answer=answer, name=name), self.assertRaises(ApiError):
                    next(suppressions.read_list(SimpleNamespace(get=lambda *_a, _is=answer, **_k: _is), name))


class AgreementCase(SandboxCase, SendgridCase):
    """An account that leads to the local SendGrid, and its scheduled actions."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.account.api_key = API_KEY
        cls.Suppression = cls.env["sendgrid.suppression"]
        cls.Sync = cls.env["sendgrid.suppression.sync"]
        cls.Blacklist = cls.env["mail.blacklist"]

    def enlist(self, name, *emails, ago=HOUR, **values):
        """Put addresses on a list at SendGrid."""
        entries = [{"email": email, "created": now() - ago, **values} for email in emails]
        self.sandbox("POST", f"/sandbox/suppressions/{name}", entries)

    def sync(self, is_whole=None):
        """Compare the lists, and drain the events of it."""
        sync = self.Sync._start(self.account, is_whole)
        self.run_cron("ir_cron_sync")
        self.drain()
        return sync

    def entry(self, name, email):
        return self.Suppression.search([("list", "=", name), ("email", "=", email)])

    def is_blacklisted(self, email):
        return bool(self.Blacklist.search([("email", "=", email)]))


@tagged("post_install", "-at_install")
class TestSync(AgreementCase):
    def test_once(self):
        """Test that SendGrid's entries become flags and blacklist entries, with the reason, once."""
        contacts = self.env["res.partner"].create(
            [
                {"name": name, "email": f"{name}@example.com"}
                for name in ("bounced", "invalid", "blocked", "spam", "gone")
            ]
        )
        bounced, invalid, blocked, spam, gone = contacts
        self.enlist("bounces", "Bounced@Example.com", "stranger@example.com", reason="550 No such user")
        self.enlist("invalid_emails", "invalid@example.com", reason="Domain unknown")
        self.enlist("blocks", "blocked@example.com")
        self.enlist("spam_reports", "spam@example.com")
        self.enlist("unsubscribes", "gone@example.com")
        self.enlist("groups", "group@example.com", group_id=1042)
        sync = self.sync()
        self.assertEqual(sync.state, "done", sync.error)
        self.assertEqual((sync.seen_count, sync.new_count, sync.acted_count), (7, 7, 4))
        self.assertTrue(bounced.email_bounced and invalid.email_bounced)
        self.assertEqual(bounced.email_bounce_reason, "550 No such user")
        self.assertFalse((blocked | spam | gone).filtered("email_bounced"))
        self.assertTrue(self.is_blacklisted("spam@example.com") and self.is_blacklisted("gone@example.com"))
        self.assertFalse(self.is_blacklisted("blocked@example.com") or self.is_blacklisted("group@example.com"))
        blacklisted = self.Blacklist.search([("email", "=", "spam@example.com")])
        self.assertIn("reported an e-mail as spam", str(blacklisted.message_ids.mapped("body")))
        outcomes = {entry.email: entry.outcome for entry in self.Suppression.search([("sync_id", "=", sync.id)])}
        self.assertEqual(
            outcomes,
            {
                "bounced@example.com": "flagged",
                "stranger@example.com": "none",
                "invalid@example.com": "flagged",
                "blocked@example.com": "none",
                "spam@example.com": "blacklisted",
                "gone@example.com": "blacklisted",
                "group@example.com": "none",
            },
        )
        # If a person decides otherwise, it is not done again.
        bounced.action_email_is_valid()
        self.Blacklist._remove("spam@example.com")
        messages = len(blacklisted.message_ids)
        for is_whole in (None, True):
            sync = self.sync(is_whole)
            self.assertEqual((sync.state, sync.new_count), ("done", 0), sync.error)
        self.assertFalse(bounced.email_bounced or self.is_blacklisted("spam@example.com"))
        self.assertEqual(len(blacklisted.message_ids), messages)

    def test_decisions_stay(self):
        """Test that a person's decision stands if it is later than the entry; a later entry counts again."""
        self.contact.action_email_is_valid()
        self.Blacklist._remove("ada@example.org")
        self.enlist("bounces", "ada@example.org")
        self.enlist("spam_reports", "ada@example.org")
        email = self.create_email(ago=timedelta(hours=2))
        sync = self.sync()
        self.assertEqual(sync.kept_count, 2)
        self.assertFalse(self.contact.email_bounced or self.is_blacklisted("ada@example.org") or email.event_ids)
        self.age("sendgrid.address", timedelta(days=1), "valid_date")
        self.enlist("bounces", "ada@example.org", ago=HOUR / 2)
        self.sync()
        self.assertTrue(self.contact.email_bounced)

    def test_bounce_of_an_email(self):
        """Test that a bounce that only SendGrid knows reaches its e-mail, and counts once if it comes later."""
        email = self.create_email(ago=timedelta(hours=2), partner_id=self.contact.id)
        self.enlist("bounces", "ada@example.org", reason="550 gone")
        self.sync()
        self.assertEmail(email, status="bounced", status_reason="550 gone")
        self.assertEqual(email.event_ids.source, "suppressions")
        self.assertTrue(self.contact.email_bounced)
        self.assertEqual(self.contact.message_bounce, 1)
        created = self.after(email, HOUR)
        told = email.event_ids.timestamp
        # The webhook then tells the same, as a mail that came back …
        self.receive(async_bounce("ada@example.org", email.event_ids._to_events()[0].timestamp))
        self.assertEqual((len(email.event_ids), email.event_ids.timestamp), (1, told))
        self.assertFalse(email.event_ids.source)
        email.event_ids.source = "suppressions"
        # … or in full, with a slightly earlier time.
        self.receive(self.relay(email).event("bounce", timestamp=created - 60))
        self.assertEvents(email, [("bounce", "odoo_id")])
        self.assertFalse(email.event_ids.source)
        self.assertEqual(self.contact.message_bounce, 1)

    def test_bounce_that_was_told(self):
        """Test that a bounce which the webhook told is not told again by the list."""
        email = self.create_email(ago=timedelta(hours=2))
        self.receive(self.relay(email).event("bounce", timestamp=now() - HOUR - 20))
        self.enlist("bounces", "ada@example.org")
        sync = self.sync()
        self.assertEqual((sync.known_count, sync.acted_count), (1, 0))
        self.assertEqual(len(email.event_ids), 1)

    def test_groups(self):
        """Test that group unsubscribes follow the account's setting, and are undone with the entry."""
        self.account.group_unsubscribe_action = "blacklist"
        self.enlist("groups", "ada@example.org", "spam@example.com", group_id=1042)
        self.enlist("spam_reports", "spam@example.com")
        self.sync()
        self.assertTrue(self.is_blacklisted("ada@example.org") and self.is_blacklisted("spam@example.com"))
        for email in ("ada@example.org", "spam@example.com"):
            self.account._get_client().call("delete", ("asm", "groups", 1042, "suppressions", email))
        sync = self.sync()
        self.assertEqual(sync.cleared_count, 2)
        self.assertFalse(self.is_blacklisted("ada@example.org"))
        self.assertTrue(self.is_blacklisted("spam@example.com"), "the complaint stands")

    def test_gone(self):
        """Test that a whole comparison sees entries that are gone, and an incremental one reads only new ones."""
        self.enlist("bounces", "ada@example.org", ago=10 * 24 * HOUR)
        self.enlist("bounces", "young@example.org")
        self.assertTrue(self.sync().is_whole, "the first")
        self.account._get_client().call("delete", ("suppression", "bounces", "ada@example.org"))
        second = self.sync()
        self.assertEqual((second.is_whole, second.seen_count, second.cleared_count), (False, 1, 0))
        third = self.sync(is_whole=True)
        self.assertEqual((third.seen_count, third.cleared_count), (1, 1))
        self.assertEqual(self.entry("bounces", "ada@example.org").state, "cleared")
        self.assertTrue(self.contact.email_bounced, "what to do about it, a person decides")
        self.assertFalse(self.sync().is_whole)
        third.started -= timedelta(days=8)
        self.assertTrue(self.sync().is_whole, "once a week")

    def test_only_recorded(self):
        """Test that an account without consequences records the entries, and does nothing else."""
        self.account.act_on_events = False
        self.enlist("bounces", "ada@example.org")
        self.enlist("unsubscribes", "ada@example.org")
        self.sync()
        self.assertFalse(self.contact.email_bounced or self.is_blacklisted("ada@example.org"))
        self.assertEqual(set(self.Suppression.search([]).mapped("outcome")), {"recorded"})

    def test_resume(self):
        """Test that an interrupted comparison continues where it was, and only one runs at a time."""
        self.enlist("bounces", *(f"{number}@example.net" for number in range(1200)))
        sync = self.Sync._start(self.account)
        self.assertEqual(self.Sync._start(self.account), sync)
        self.env.flush_all()
        with (
            # The scheduled action's time is over after the first page.
            patch.object(IrCron, "_commit_progress", lambda cron, *args, **kwargs: cron.env.cr.commit()),
            self.enter_registry_test_mode(),
            self.env.registry.cursor() as cr,
        ):
            self.Sync.with_env(self.env(cr=cr))._cron_compare()
        self.env.invalidate_all()
        self.assertEqual((sync.state, sync.seen_count, sync.current_offset), ("running", 500, 500))
        self.run_cron("ir_cron_sync")
        self.assertEqual((sync.state, sync.seen_count), ("done", 1200), sync.error)
        calls = [call for call in self.sandbox("GET", "/sandbox/calls") if call["path"] == "/v3/suppression/bounces"]
        # The last row of the page before is read again, to see whether it has moved.
        self.assertEqual([int(call["query"]["offset"]) for call in calls], [0, 499, 998])

    def test_busy(self):
        """Test that a comparison that SendGrid puts off says so, and continues later."""
        self.enlist("bounces", "ada@example.org")
        fault = {"path": "/v3/suppression/blocks", "status": 429, "reset": 3600}
        self.sandbox("POST", "/sandbox/faults", fault)
        sync = self.sync()
        self.assertEqual((sync.state, sync.current_list), ("running", "blocks"))
        self.assertIn("too many calls", sync.error)
        self.assertTrue(self.contact.email_bounced, "what was read before counts")
        self.run_cron("ir_cron_sync")
        self.assertEqual((sync.state, sync.error), ("done", False))

    def test_bad_key(self):
        """Test that an API key that does not work raises one activity, which goes when all is well again."""
        self.account.api_key = "SG.revoked"
        for _attempt in range(2):
            sync = self.sync()
            self.assertEqual(sync.state, "failed")
            self.assertIn("does not know this API key", sync.error)
        administrators = self.env.ref("base.group_system").all_user_ids.filtered(lambda u: u.active and not u.share)
        self.assertEqual(self.account.activity_ids.user_id, administrators)
        self.assertEqual(len(self.account.activity_ids), len(administrators))
        self.account.api_key = API_KEY
        self.assertEqual(self.sync().state, "done")
        self.assertFalse(self.account.activity_ids)

    def test_one_bad_entry(self):
        """Test that an entry that cannot be followed is marked, stops no other, and can be followed again."""
        bad = self.env["res.partner"].create({"name": "Bad", "email": "bad@example.com"})
        self.enlist("bounces", "ada@example.org", "bad@example.com")
        flag = type(bad)._refresh_bounces

        def refuse(partners):
            if bad in partners:
                raise ValueError("no")
            return flag(partners)

        logger = "odoo.addons.sendgrid_tracking.models.sendgrid_suppression_intake"
        with patch.object(type(bad), "_refresh_bounces", refuse), mute_logger(logger):
            sync = self.sync()
        self.assertEqual((sync.state, sync.failed_count), ("done", 1))
        self.assertTrue(self.contact.email_bounced)
        entry = self.entry("bounces", "bad@example.com")
        self.assertEqual((entry.outcome, entry.error), ("failed", "no"))
        entry.action_apply_again()
        self.assertEqual((entry.outcome, bad.email_bounced), ("flagged", True))

    def test_queries(self):
        """Test that the queries of a page do not grow with its entries."""
        sync = self.Sync._start(self.account)

        def count(name, prefix, number):
            entries = [suppressions.Entry(f"{prefix}{n}@example.net", now() - HOUR, f"550 {n}") for n in range(number)]
            self.env["res.partner"].create([{"name": entry.email, "email": entry.email} for entry in entries])
            for entry in entries:
                self.create_email(entry.email, ago=timedelta(hours=2))
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            outcomes = self.Suppression._store(sync, name, entries)
            self.env.flush_all()
            self.assertEqual(outcomes.total(), number)
            return self.env.cr.sql_log_count - before

        for name in ("bounces", "blocks", "unsubscribes"):
            with self.subTest(name=name):
                count(name, f"{name}-warm", 2)
                few = count(name, f"{name}-few", 5)
                self.assertLessEqual(count(name, f"{name}-many", 60), few + 3)


@tagged("post_install", "-at_install")
class TestClear(AgreementCase):
    def _open(self, action, user=None):
        """Return the dialog that an action opens."""
        self.assertEqual(action["res_model"], "sendgrid.suppression.clear")
        Wizard = self.env[action["res_model"]].with_user(user or self.env.user)
        return Form(Wizard.with_context(**action["context"]))

    def _is_listed(self, name, email):
        return bool(self.account._get_client().get(("suppression", name, email)))

    def test_valid_again(self):
        """Test that a salesperson who confirms an address can have it cleared at SendGrid as well."""
        self.enlist("bounces", "ada@example.org", "other@example.org", reason="550 gone")
        self.enlist("spam_reports", "ada@example.org")
        self.sync()
        action = self.contact.with_user(self.salesperson).action_email_is_valid()
        self.assertFalse(self.contact.email_bounced)
        form = self._open(action, self.salesperson)
        wizard = form.save()
        self.assertEqual(
            {line.list: line.is_chosen for line in wizard.line_ids}, {"bounces": True, "spam_reports": False}
        )
        wizard.action_clear()
        self.assertEqual(self.entry("bounces", "ada@example.org").state, "clearing")
        self.assertTrue(self._is_listed("bounces", "ada@example.org"), "only after the commit")
        self.run_cron("ir_cron_clear")
        self.assertEqual(self.entry("bounces", "ada@example.org").state, "cleared")
        self.assertFalse(self._is_listed("bounces", "ada@example.org"))
        self.assertTrue(self._is_listed("bounces", "other@example.org"))
        self.assertTrue(self._is_listed("spam_reports", "ada@example.org"))
        self.assertIn("off its list", str(self.contact.message_ids.mapped("body")))
        self.sync(is_whole=True)
        self.assertFalse(self.contact.email_bounced)

    def test_two_addresses(self):
        """Test that the dialog is about each address that bounced or is held back, and says which."""
        self.contact.email = "ada@example.org, ada@example.com, good@example.org"
        self.enlist("bounces", "ada@example.com", reason="550 5.1.1 gone")
        self.enlist("bounces", "ada@example.org", reason="552 5.2.2 full")
        self.sync()
        self.assertIn("ada@example.com bounced", self.contact.sendgrid_warning)
        self.assertIn("holds back e-mails to ada@example.org", self.contact.sendgrid_warning)
        wizard = self._open(self.contact.with_user(self.salesperson).action_email_is_valid(), self.salesperson).save()
        self.assertEqual(wizard.line_ids.mapped("email"), ["ada@example.org", "ada@example.com"])
        wizard.line_ids[0].is_chosen = False
        wizard.action_clear()
        self.run_cron("ir_cron_clear")
        self.assertEqual(self._is_listed("bounces", "ada@example.com"), False)
        self.assertEqual(self._is_listed("bounces", "ada@example.org"), True)
        self.assertIn("took ada@example.com off", str(self.contact.message_ids.mapped("body")))
        self.assertIn("holds back e-mails to ada@example.org", self.contact.sendgrid_warning)
        self.assertNotIn("ada@example.com", self.contact.sendgrid_warning)

    def test_lead(self):
        """Test that a lead without a contact hears what became of the clearing."""
        lead = self.env["crm.lead"].create({"name": "Lead", "email_from": "Lea <lea@example.org>"})
        self.enlist("bounces", "lea@example.org")
        self.sync()
        wizard = self._open(lead.action_clear_at_sendgrid()).save()
        wizard.action_clear()
        self.run_cron("ir_cron_clear")
        self.assertIn("took lea@example.org off", str(lead.message_ids.mapped("body")))

    def test_absent(self):
        """Test that what SendGrid has cleared by itself is not shown any more once the dialog has asked."""
        self.enlist("bounces", "ada@example.org", "other@example.org")
        self.enlist("spam_reports", "ada@example.org")
        self.sync()
        self.account._get_client().call("delete", ("suppression", "bounces", "ada@example.org"))
        self._open(self.contact.action_clear_at_sendgrid(), self.salesperson)
        self.assertEqual(self.entry("bounces", "ada@example.org").state, "cleared")
        self.assertEqual(self.entry("spam_reports", "ada@example.org").state, "listed")
        self.assertEqual(self.entry("bounces", "other@example.org").state, "listed")
        self.sandbox("POST", "/sandbox/faults", {"path": "/v3/", "status": 503, "times": 1})
        self._open(self.contact.action_clear_at_sendgrid(), self.salesperson)
        self.assertEqual(self.entry("spam_reports", "ada@example.org").state, "listed", "no answer is no absence")

    def test_wish(self):
        """Test that only a user who may change the blacklist undoes a recipient's wish."""
        self.enlist("spam_reports", "ada@example.org")
        self.sync()
        form = self._open(self.contact.action_email_is_valid(), self.salesperson)
        wizard = form.save()
        wizard.line_ids.is_chosen = True
        with self.assertRaises(AccessError):
            wizard.action_clear()
        remove = self.env["mail.blacklist.remove"].create({"email": "ada@example.org"})
        wizard = self._open(remove.action_unblacklist_apply()).save()
        self.assertFalse(self.is_blacklisted("ada@example.org"))
        wizard.line_ids.is_chosen = True
        wizard.action_clear()
        self.run_cron("ir_cron_clear")
        self.assertFalse(self._is_listed("spam_reports", "ada@example.org"))

    def test_not_asked_for_everybody(self):
        """Test that a user who may not write contacts has no dialog, and no call asks SendGrid for him."""
        employee = new_test_user(self.env, "sendgrid_employee", groups="base.group_user")
        Wizard = self.env["sendgrid.suppression.clear"].with_user(employee)
        self.assertFalse(Wizard._get_action("ada@example.org"))
        self.sandbox("DELETE", "/sandbox/calls")
        with self.assertRaises(AccessError):
            Wizard.with_context(default_email="ada@example.org").default_get(["email", "line_ids"])
        self.assertFalse(self.sandbox("GET", "/sandbox/calls"))

    def test_every_list(self):
        """Test that an address is taken off any list, although Odoo has not read the lists yet."""
        for name in ("bounces", "blocks", "invalid_emails", "spam_reports", "unsubscribes"):
            self.enlist(name, "ada@example.org")
        self.enlist("groups", "ada@example.org", group_id=1042)
        wizard = self._open(self.contact.action_email_is_valid()).save()
        self.assertEqual(set(wizard.line_ids.mapped("list")), set(suppressions.LISTS))
        wizard.line_ids.is_chosen = True
        wizard.action_clear()
        self.run_cron("ir_cron_clear")
        self.assertEqual(self.Suppression.search([]).mapped("state"), ["cleared"] * 6)
        self.assertFalse(list(suppressions.find_address(self.account._get_client(), "ada@example.org")))

    def test_not_allowed(self):
        """Test that a clearing that SendGrid refuses changes nothing in Odoo, and is reported."""
        self.enlist("bounces", "ada@example.org")
        self.sync()
        self.sandbox("PUT", "/sandbox/keys/SG.read-only", ["suppression.read", "asm.groups.read"])
        self.account.api_key = "SG.read-only"
        wizard = self._open(self.contact.action_email_is_valid()).save()
        wizard.action_clear()
        self.run_cron("ir_cron_clear")
        entry = self.entry("bounces", "ada@example.org")
        self.assertEqual(entry.state, "listed")
        self.assertIn("may not do this", entry.error)
        self.assertIn("did not take", str(self.contact.message_ids.mapped("body")))
        self.assertFalse(self.contact.email_bounced)

    def test_busy(self):
        """Test that a clearing that SendGrid puts off is done later."""
        self.enlist("bounces", "ada@example.org")
        self.sync()
        fault = {"method": "DELETE", "path": "/v3/suppression", "status": 429, "reset": 3600}
        self.sandbox("POST", "/sandbox/faults", fault)
        self.entry("bounces", "ada@example.org").action_clear()
        self.run_cron("ir_cron_clear")
        self.assertEqual(self.entry("bounces", "ada@example.org").state, "clearing")
        self.run_cron("ir_cron_clear")
        self.assertEqual(self.entry("bounces", "ada@example.org").state, "cleared")

    @mute_logger(
        "odoo.addons.sendgrid_tracking.models.sendgrid_job_mixin",
        "odoo.addons.sendgrid_tracking.models.sendgrid_suppression_clear",
    )
    def test_one_fails(self):
        """Test that an address whose clearing fails here keeps no other from being cleared."""
        self.enlist("bounces", "ada@example.org", "other@example.org")
        self.sync()
        entries = self.entry("bounces", "ada@example.org") | self.entry("bounces", "other@example.org")
        entries.action_clear()
        tell = type(entries)._tell_contacts

        def tell_contacts(entry, message):
            if entry.email == "ada@example.org":
                raise ZeroDivisionError("no")
            tell(entry, message)

        with patch.object(type(entries), "_tell_contacts", tell_contacts):
            self.run_cron("ir_cron_clear")
        self.assertEqual([(entry.state, entry.error) for entry in entries], [("listed", "no"), ("cleared", False)])

    def test_unreachable(self):
        """Test that the dialog shows Odoo's own knowledge while SendGrid does not answer."""
        self.enlist("bounces", "ada@example.org")
        self.sync()
        self.sandbox("POST", "/sandbox/faults", {"path": "/v3/", "status": 503, "times": 1})
        wizard = self._open(self.contact.action_email_is_valid()).save()
        self.assertEqual(wizard.line_ids.mapped("list"), ["bounces"])
        self.assertIn("problem of its own", wizard.problem)

    def test_changed_address(self):
        """Test that a changed address is cleared in Odoo only: at SendGrid it may be somebody else's."""
        self.enlist("bounces", "ada@example.org")
        self.sync()
        self.sandbox("DELETE", "/sandbox/calls")
        self.contact.email = "countess@example.org"
        self.assertFalse(self.contact.email_bounced)
        self.run_cron("ir_cron_clear")
        self.assertEqual(self.entry("bounces", "ada@example.org").state, "listed")
        self.assertFalse(self.sandbox("GET", "/sandbox/calls"))

    def test_only_in_odoo(self):
        """Test that the blacklist shows the addresses that SendGrid does not know."""
        self.Blacklist._add("odoo@example.org")
        self.enlist("unsubscribes", "both@example.org")
        sync = self.sync()
        entries = self.Blacklist.search([("email", "in", ["odoo@example.org", "both@example.org"])])
        self.assertEqual(
            {e.email: e.is_suppressed for e in entries}, {"odoo@example.org": False, "both@example.org": True}
        )
        only = self.Blacklist.search([("is_suppressed", "=", False)])
        self.assertIn("odoo@example.org", only.mapped("email"))
        self.assertEqual(sync.odoo_only_count, len(only))
        self.assertFalse(self.Blacklist.search([("is_suppressed", "=", False), ("email", "=", "both@example.org")]))

    def test_no_account_to_ask(self):
        """Test that there is no dialog if there is no account to ask."""
        self.account.api_key = False
        self.env["sendgrid.account"].search([]).api_key = False
        self.assertFalse(self.contact.action_email_is_valid())
        self.assertTrue(self.contact.email_valid_date <= fields.Datetime.now())
