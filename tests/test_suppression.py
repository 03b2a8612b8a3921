from collections import Counter
from datetime import timedelta
from types import SimpleNamespace
from unittest.mock import patch

from odoo import fields
from odoo.exceptions import AccessError
from odoo.tests import BaseCase, Form, mute_logger, new_test_user, tagged

from odoo.addons.base.models.ir_cron import IrCron

from ..tools.api import suppressions
from ..tools.api.client import ApiError, Client
from .common import SendgridCase, now
from .properties import given, quick, st
from .sandbox_case import API_KEY, SandboxCase
from .simulator import async_bounce

HOUR = 3600


class Lists:
    """SendGrid's side of one list from which people remove addresses between two calls."""

    def __init__(self, emails, removals, most=None):
        self.most = most
        self.rows = [{"email": email, "created": 1_700_000_000} for email in emails]
        self.removals = removals

    def get(self, path, start_time=None, end_time=None, limit=None, offset=0):
        if self.removals:
            removed = self.removals.pop(0)
            self.rows = [row for row in self.rows if row["email"] not in removed]
        return self.rows[offset : offset + min(limit, self.most or limit)]


@tagged("post_install", "-at_install")
class TestLists(BaseCase):
    """Reading the lists, without a database."""

    @quick
    @given(st.data())
    def test_nothing_is_missed(self, data):
        """Test that entries that stay are read, though up to a page of others is removed between two calls.

        Either SendGrid gives as many as it is asked for, or always less.
        """
        emails = [f"{number}@example.org" for number in range(data.draw(st.integers(0, 40)))]
        removals = data.draw(st.lists(st.sets(st.sampled_from(emails or ["x"]), max_size=4), max_size=3))
        lists = Lists(emails, list(removals), data.draw(st.sampled_from([None, 2, 4])))
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
    def test_name(self):
        """Test that a comparison and a search are named by a time of the reader's zone and language."""
        self.env["res.lang"]._activate_lang("de_DE")
        night = "2025-03-01 23:30:00"
        sync = self.Sync.create({"account_id": self.account.id, "started": night, "until": night})
        search = self.env["sendgrid.backfill"].create({"account_id": self.account.id, "date_from": night})
        for record in (sync, search):
            german = record.with_context(lang="de_DE", tz="Europe/Berlin")
            self.assertEqual(german.display_name, f"\u2068{self.account.name}\u2069, 2. März 2025, 00:30")
            name = record.with_context(tz="UTC").display_name
            self.assertEqual(name, f"\u2068{self.account.name}\u2069, Mar 1, 2025, 11:30 PM")

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

    def test_list_after_the_drop(self):
        """Test that an e-mail that was held back has the cause that SendGrid's list tells only later."""
        email = self.create_email(ago=timedelta(hours=2))
        self.receive(self.relay(email).event("dropped", timestamp=self.after(email, 60)))
        self.assertEmail(email, status="dropped", refusal_cause=False)
        self.enlist("bounces", "ada@example.org", reason="552 5.2.2 over quota", status="5.2.2", ago=3 * HOUR)
        self.sync()
        self.assertEmail(email, status="dropped", refusal_cause="mailbox")
        self.assertFalse(self.contact.email_bounced)
        self.assertIn("SendGrid holds back", self.contact.sendgrid_warning)

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
                count(name, f"{name}-warm", 60)
                few = count(name, f"{name}-few", 5)
                # Take the lesser of two, because a cache may be emptied meanwhile.
                many = min(count(name, f"{name}-many{turn}", 60) for turn in range(2))
                self.assertLessEqual(many, few + 3)


@tagged("post_install", "-at_install")
class TestParts(AgreementCase):
    """A part of a list is not taken for the whole, and nobody is taken for gone whom SendGrid was not asked about."""

    GROUP = 1042

    def setUp(self):
        super().setUp()
        self.account.group_unsubscribe_action = "blacklist"

    def leave(self, *emails, group_id=GROUP):
        self.enlist("groups", *emails, group_id=group_id)

    def come_back(self, *emails, group_id=GROUP):
        for email in emails:
            self.account._get_client().call("delete", ("asm", "groups", group_id, "suppressions", email))

    def pages(self, **sizes):
        self.sandbox("PUT", "/sandbox/pages", sizes)

    def answer(self, path, body, times=1):
        """Have SendGrid answer the next calls of this path with this body."""
        self.sandbox("POST", "/sandbox/faults", {"path": path, "action": "answer", "body": body, "times": times})

    def calls(self, path="/v3/"):
        return [call for call in self.sandbox("GET", "/sandbox/calls") if call["path"].startswith(path)]

    def states(self, name="groups"):
        return Counter(self.Suppression.search([("list", "=", name)]).mapped("state"))

    def test_groups_in_pieces(self):
        """Test that nobody of 1,200 is taken for returned because the first answer has 500 of them."""
        everybody = [f"{number}@example.net" for number in range(1200)]
        self.leave(*everybody)
        sync = self.sync()
        self.assertEqual((sync.state, sync.seen_count, sync.new_count), ("done", 1200, 1200), sync.error)
        self.assertFalse(sync.gap_message)
        self.assertEqual(len(self.calls("/v3/asm")), 2, "answered whole, and counted")
        for size in (500, 100, 7):
            with self.subTest(size=size):
                self.pages(groups=size)
                sync = self.sync()
                self.assertEqual((sync.state, sync.cleared_count), ("done", 0), sync.error)
                self.assertEqual(self.states(), {"listed": 1200})
                self.assertEqual(sync.seen_count, 1200, "the rest was asked for")
                self.assertFalse(sync.gap_message)
        self.assertTrue(all(map(self.is_blacklisted, everybody[::100])))

    def test_a_page_and_no_more(self):
        """Test that nobody is taken for returned if SendGrid gives the same page whatever is asked for."""
        self.leave(*(f"{number}@example.net" for number in range(7)))
        self.sync()
        rows = [
            {"email": f"{number}@example.net", "group_id": self.GROUP, "group_name": "News", "created_at": now() - HOUR}
            for number in range(3)
        ]
        self.come_back("6@example.net")
        for is_whole in (None, True):
            self.sandbox("DELETE", "/sandbox/faults")
            self.answer("/v3/asm/suppressions", rows, times=20)
            sync = self.sync(is_whole)
            self.assertEqual((sync.state, sync.cleared_count), ("done", 0), sync.error)
            self.assertEqual(self.states(), {"listed": 7})
            self.assertIn("“Newsletter”: of its addresses SendGrid told 3 of 6", sync.gap_message)
        self.sandbox("DELETE", "/sandbox/faults")
        sync = self.sync()
        self.assertEqual((sync.cleared_count, sync.gap_message), (1, False))
        self.assertEqual(self.entry("groups", "6@example.net").state, "cleared")

    def test_paging_refused(self):
        """Test that parameters which SendGrid does not describe may be refused."""
        self.leave(*(f"{number}@example.net" for number in range(7)))
        self.sync()
        self.pages(groups=3)
        self.sandbox("DELETE", "/sandbox/calls")
        # The first answer is a page; the next call is refused.
        refuse = {"path": "/v3/asm/suppressions", "status": 400, "times": 1}
        get = Client.get

        def asking(client, path, **params):
            if path == ("asm", "suppressions") and params.get("offset"):
                self.sandbox("POST", "/sandbox/faults", refuse)
            return get(client, path, **params)

        with patch.object(Client, "get", asking):
            sync = self.sync()
        self.assertEqual((sync.state, sync.cleared_count), ("done", 0), sync.error)
        self.assertIn("SendGrid told 3 of 7", sync.gap_message)

    def test_asked_singly(self):
        """Test that SendGrid is asked about each address that seems to have returned, and that its answer counts."""
        self.leave("ada@example.org", "bob@example.org", "eve@example.org")
        self.leave("bob@example.org", group_id=self._add_group("Offers"))
        self.sync()
        self.come_back("ada@example.org")
        # The list and the number agree that two are gone, but SendGrid still holds one of them back.
        row = {"email": "eve@example.org", "group_id": self.GROUP, "group_name": "News", "created_at": now() - HOUR}
        groups = self.account._get_client().get(("asm", "groups"))
        self.answer("/v3/asm/groups", [{**group, "unsubscribes": int(group["id"] == self.GROUP)} for group in groups])
        self.answer("/v3/asm/suppressions", [row])
        self.sandbox("DELETE", "/sandbox/calls")
        sync = self.sync()
        self.assertEqual((sync.state, sync.cleared_count), ("done", 1), sync.error)
        paths = [call["path"] for call in self.calls("/v3/asm")]
        self.assertEqual(
            paths,
            [
                "/v3/asm/suppressions",
                "/v3/asm/groups",
                "/v3/asm/suppressions/ada@example.org",
                "/v3/asm/suppressions/bob@example.org",
            ],
            "one call an address",
        )
        self.assertFalse(self.is_blacklisted("ada@example.org"))
        self.assertTrue(self.is_blacklisted("bob@example.org") and self.is_blacklisted("eve@example.org"))
        self.assertEqual(set(self.Suppression.search([("email", "=", "bob@example.org")]).mapped("state")), {"listed"})

    def _add_group(self, name):
        body = {"name": name, "description": name}
        return self.account._get_client().call("post", ("asm", "groups"), body=body).body["id"]

    def test_wrong_answers(self):
        """Test that answers of the wrong form clear nobody, are told, and do not stop the comparison."""
        self.leave("ada@example.org", "bob@example.org")
        self.sync()
        self.come_back("ada@example.org")
        [group] = self.account._get_client().get(("asm", "groups"))
        [row] = self.account._get_client().get(("asm", "suppressions"))
        nameless = {key: value for key, value in row.items() if key != "group_id"}
        groups, rows, single = "/v3/asm/groups", "/v3/asm/suppressions", "/v3/asm/suppressions/ada@example.org"
        shown = {"id": self.GROUP, "name": "News", "description": "", "is_default": False}
        for path, body in (
            (groups, {}),
            (groups, None),
            (groups, []),
            (groups, [None, {"id": "x"}, 7]),
            (groups, [{**group, "unsubscribes": "1"}]),
            (groups, [{**group, "unsubscribes": None}]),
            (groups, [{**group, "unsubscribes": True}]),
            (groups, [{**group, "unsubscribes": 1.0}]),
            (groups, [{key: value for key, value in group.items() if key != "unsubscribes"}]),
            (groups, [{**group, "unsubscribes": -1}]),
            (groups, [group, {**group, "unsubscribes": 2}]),
            (rows, [nameless]),
            (rows, [row, nameless]),
            (rows, [{**row, "group_id": "News"}]),
            (rows, [{**row, "group_id": 0}]),
            (rows, [{**row, "created_at": None}]),
            (rows, [row, row, row]),
            (rows, []),
            (rows, [None]),
            (single, {}),
            (single, None),
            (single, []),
            (single, {"suppressions": None}),
            (single, {"suppressions": {}}),
            (single, {"suppressions": [None]}),
            (single, {"suppressions": [{"id": self.GROUP}]}),
            (single, {"suppressions": [{**shown, "suppressed": "false"}]}),
            (single, {"suppressions": [{**shown, "id": str(self.GROUP), "suppressed": True}]}),
        ):
            with self.subTest(path=path, body=body):
                self.sandbox("DELETE", "/sandbox/faults")
                self.answer(path, body, times=9)
                sync = self.sync()
                self.assertEqual((sync.state, sync.cleared_count), ("done", 0), sync.error)
                self.assertEqual(self.states(), {"listed": 2})
                self.assertTrue(sync.gap_message)
                self.assertTrue(self.is_blacklisted("ada@example.org"))
        self.sandbox("DELETE", "/sandbox/faults")
        sync = self.sync()
        self.assertEqual((sync.cleared_count, sync.gap_message), (1, False))
        self.assertFalse(self.is_blacklisted("ada@example.org"))

    def test_no_list_of_groups(self):
        """Test that an answer that is no list puts the comparison off."""
        self.leave("ada@example.org")
        self.sync()
        self.come_back("ada@example.org")
        self.answer("/v3/asm/suppressions", {})
        sync = self.sync()
        self.assertEqual((sync.state, sync.current_list), ("running", "groups"))
        self.assertTrue(sync.error)
        self.run_cron("ir_cron_sync")
        self.assertEqual((sync.state, sync.cleared_count), ("done", 1))

    def test_may_not_ask(self):
        """Test that a key that may not count or ask clears nobody, and that the comparison says why."""
        self.leave("ada@example.org", "bob@example.org")
        self.sync()
        self.come_back("ada@example.org", "bob@example.org")
        for path in ("/v3/asm/groups", "/v3/asm/suppressions/"):
            self.sandbox("DELETE", "/sandbox/faults")
            self.sandbox("DELETE", "/sandbox/calls")
            self.sandbox("POST", "/sandbox/faults", {"path": path, "status": 403, "times": 9})
            sync = self.sync()
            self.assertEqual((sync.state, sync.cleared_count), ("done", 0), sync.error)
            self.assertTrue(sync.gap_message)
            self.assertLessEqual(len(self.calls("/v3/asm")), 3)
        self.assertEqual(self.states(), {"listed": 2})

    def test_asking_resumes(self):
        """Test that an interrupted or put off questioning goes on where it was."""
        everybody = [f"{number}@example.net" for number in range(5)]
        self.leave(*everybody)
        self.sync()
        self.come_back(*everybody)
        self.sandbox("DELETE", "/sandbox/calls")
        fault = {"path": "/v3/asm/suppressions/2@", "status": 429, "reset": 3600}
        self.sandbox("POST", "/sandbox/faults", fault)
        sync = self.sync()
        self.assertEqual((sync.state, sync.cleared_count), ("running", 2))
        self.assertIn("too many calls", sync.error)
        self.run_cron("ir_cron_sync")
        self.assertEqual((sync.state, sync.error, sync.cleared_count), ("done", False, 5))
        asked = [call["path"] for call in self.calls("/v3/asm/suppressions/")]
        self.assertEqual(sorted(asked), sorted([*(f"/v3/asm/suppressions/{email}" for email in everybody), asked[2]]))
        self.assertEqual(self.states(), {"cleared": 5})

    def test_one_address_refused(self):
        """Test that an address about which SendGrid does not answer keeps no other from being asked about."""
        self.leave("ada@example.org", "bob@example.org")
        self.sync()
        self.come_back("ada@example.org", "bob@example.org")
        self.sandbox("POST", "/sandbox/faults", {"path": "/v3/asm/suppressions/ada", "status": 400})
        sync = self.sync()
        self.assertEqual((sync.state, sync.cleared_count), ("done", 1), sync.error)
        self.assertIn("Their number: 1.", sync.gap_message)
        self.assertEqual(self.entry("groups", "ada@example.org").state, "listed")

    def test_group_that_is_gone(self):
        """Test that who left a group that SendGrid does not name any more has not returned."""
        group_id = self._add_group("Offers")
        self.leave("ada@example.org", group_id=group_id)
        self.sync()
        [group] = [one for one in self.account._get_client().get(("asm", "groups")) if one["id"] == self.GROUP]
        self.answer("/v3/asm/groups", [group])
        self.answer("/v3/asm/suppressions", [])
        sync = self.sync()
        self.assertEqual((sync.state, sync.cleared_count), ("done", 0), sync.error)
        self.assertIn("Offers", sync.gap_message)
        self.assertTrue(self.is_blacklisted("ada@example.org"))

    def test_never_gone(self):
        """Test that who was taken for returned, and is still listed, is blacklisted again, unless a person decided."""
        created = now() - HOUR
        people = ["ada@example.org", "bob@example.org"]
        entries = [{"email": email, "group_id": self.GROUP, "created": created} for email in people]
        self.sandbox("POST", "/sandbox/suppressions/groups", entries)
        self.sync()
        # As the released version did when SendGrid told a part of the list only.
        self.come_back(*people)
        self.assertEqual(self.sync().cleared_count, 2)
        self.assertFalse(any(map(self.is_blacklisted, people)))
        self.Blacklist._add("bob@example.org")
        self.Blacklist._remove("bob@example.org")
        bob = self.Blacklist.with_context(active_test=False).search([("email", "=", "bob@example.org")])
        self.env.flush_all()
        self.env.cr.execute(
            "UPDATE mail_blacklist SET write_date = write_date + interval '1 hour' WHERE id = %s", [bob.id]
        )
        self.env.invalidate_all()
        self.sandbox("POST", "/sandbox/suppressions/groups", entries)
        for _attempt in range(2):
            self.sync()
            self.assertEqual(self.states(), {"listed": 2})
            self.assertEqual([self.is_blacklisted(email) for email in people], [True, False])
        self.come_back(*people)
        # Of two words of one second "out" counts. So let the last word have been said before.
        for address in self.env["sendgrid.address"].search([]):
            address.groups = {name: [moment - 1, is_out] for name, (moment, is_out) in (address.groups or {}).items()}
        self.assertEqual(self.sync().cleared_count, 2)
        self.assertFalse(any(map(self.is_blacklisted, people)))

    def test_short_pages(self):
        """Test that an answer that is shorter than asked is not the end of a list."""
        everybody = [f"{number}@example.net" for number in range(25)]
        self.enlist("bounces", *everybody)
        self.enlist("blocks", *everybody[:1])
        sync = self.sync()
        self.assertEqual(sync.seen_count, 26)
        for size in (10, 3, 1):
            with self.subTest(size=size):
                self.pages(lists=size)
                sync = self.sync(is_whole=True)
                self.assertEqual((sync.state, sync.seen_count, sync.cleared_count), ("done", 26, 0), sync.error)
                self.assertFalse(sync.gap_message)
        self.pages(lists=10)
        self.enlist("spam_reports", *everybody)
        self.assertEqual(self.sync().new_count, 25, "each night")

    def test_same_page_again(self):
        """Test that a list of which SendGrid gives the same part again and again clears nobody."""
        everybody = [f"{number}@example.net" for number in range(5)]
        self.enlist("blocks", *everybody)
        self.sync()
        rows = self.account._get_client().get(("suppression", "blocks"))[:3]
        for number in range(2):
            self.answer("/v3/suppression/blocks", rows, times=50)
            sync = self.sync(is_whole=True)
            self.assertEqual((sync.state, sync.cleared_count), ("done", 0), sync.error)
            self.assertIn("Blocks", sync.gap_message)
            self.assertEqual(self.states("blocks"), {"listed": 5})
            [check] = self.account.check_ids.filtered(lambda check: check.subject == "suppressions")
            # The first time may be chance.
            self.assertEqual((check.state, check.finding), [("ok", "compared"), ("warning", "compared_partly")][number])
        self.assertIn("Blocks", check.message)
        self.sandbox("DELETE", "/sandbox/faults")
        self.assertFalse(self.sync().gap_message)
        self.assertEqual(check.state, "warning", "this night's comparison did not read the whole list")
        self.sync(is_whole=True)
        self.assertEqual((check.state, check.finding), ("ok", "compared"))
        self.assertFalse(self.account.activity_ids)

    def test_rows_not_understood(self):
        """Test that a list with a row that cannot be read clears nobody: the row may be any address."""
        self.enlist("bounces", "ada@example.org", "bob@example.org")
        self.sync()
        [row] = self.account._get_client().get(("suppression", "bounces", "ada@example.org"))
        self.answer("/v3/suppression/bounces", [row, {**row, "email": "bob@example.org", "created": "soon"}], times=2)
        sync = self.sync(is_whole=True)
        self.assertEqual((sync.state, sync.rejected_count, sync.cleared_count), ("done", 1, 0), sync.error)
        self.assertIn("Bounces", sync.gap_message)
        self.assertEqual(self.states("bounces"), {"listed": 2})

    def test_calls_of_a_night(self):
        """Test that a night without much news takes one call more than there are lists: the groups are counted."""
        for name in suppressions.LISTS:
            self.enlist(name, "ada@example.org", group_id=self.GROUP if name == "groups" else None)
        self.sync()
        self.sandbox("DELETE", "/sandbox/calls")
        sync = self.sync()
        self.assertEqual((sync.state, sync.is_whole, sync.seen_count), ("done", False, 6))
        self.assertEqual(len(self.calls()), len(suppressions.LISTS) + 1)


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

    def _ask(self, *chosen):
        """Ask in the dialog to clear ada@example.org on these lists, and return her entries."""
        wizard = self._open(self.contact.action_email_is_valid()).save()
        for line in wizard.line_ids:
            line.is_chosen = line.list in chosen
        wizard.action_clear()
        return self.Suppression.search([("email", "=", "ada@example.org"), ("state", "=", "clearing")])

    def test_request_survives(self):
        """Test that comparisons between a request and SendGrid's clearing lose nothing, whatever Odoo knew before."""
        names = suppressions.LISTS
        for is_known in (False, True):
            with self.subTest(is_known=is_known):
                for name in names:
                    self.enlist(name, "ada@example.org", "bob@example.org", group_id=self._get_group(name))
                if is_known:
                    self.sync()
                self.assertEqual(len(self._ask(*names)), len(names))
                for is_whole in (None, True, None):
                    self.sync(is_whole)
                    entries = self.Suppression.search([("email", "=", "ada@example.org")])
                    self.assertEqual(set(entries.mapped("state")), {"clearing"})
                self.run_cron("ir_cron_clear")
                self.assertEqual(set(entries.mapped("state")), {"cleared"})
                self.assertFalse(list(suppressions.find_address(self.account._get_client(), "ada@example.org")))
                self.assertEqual(str(self.contact.message_ids.mapped("body")).count("off its list"), len(names))
                self.sync(is_whole=True)
                self.assertEqual(set(entries.mapped("state")), {"cleared"})
                others = self.Suppression.search([("email", "=", "bob@example.org")])
                self.assertEqual(set(others.mapped("state")), {"listed"})
                (entries | others).unlink()
                self.contact.message_ids.unlink()

    def _get_group(self, name):
        return 1042 if name == "groups" else None

    def test_request_and_gone(self):
        """Test that a request is answered though the process died between SendGrid's answer and the commit."""
        for name in suppressions.LISTS:
            self.enlist(name, "ada@example.org", group_id=self._get_group(name))
        entries = self._ask(*suppressions.LISTS)
        client = self.account._get_client()
        for entry in entries:
            suppressions.clear_address(client, entry.list, entry.email, entry.group_id)
        for is_whole in (None, True):
            self.sync(is_whole)
            self.assertEqual(set(entries.mapped("state")), {"clearing"}, "the contacts have to be told yet")
        self.run_cron("ir_cron_clear")
        self.assertEqual(set(entries.mapped("state")), {"cleared"})
        self.assertEqual(str(self.contact.message_ids.mapped("body")).count("off its list"), len(entries))

    def test_listed_before_the_request(self):
        """Test that a request holds for what SendGrid listed before it, though Odoo knew only an older entry."""
        self.enlist("bounces", "ada@example.org", ago=30 * HOUR)
        self.sync()
        self.enlist("bounces", "ada@example.org", ago=HOUR)
        entry = self.entry("bounces", "ada@example.org")
        entry.action_clear()
        self.sync()
        self.assertEqual(entry.state, "clearing")
        self.run_cron("ir_cron_clear")
        self.assertEqual(entry.state, "cleared")
        self.assertFalse(self._is_listed("bounces", "ada@example.org"))

    def test_listed_after_the_request(self):
        """Test that a request does not clear what SendGrid listed after it: nobody could mean that. It is told."""
        for name in ("bounces", "spam_reports", "unsubscribes", "groups"):
            with self.subTest(name=name):
                self.enlist(name, "ada@example.org", group_id=self._get_group(name))
                [entry] = self._ask(name)
                entry.clearing_date -= timedelta(minutes=10)
                self.enlist(name, "ada@example.org", group_id=self._get_group(name), ago=300)
                for _attempt in range(2):
                    self.sync()
                    self.assertEqual(entry.state, "listed")
                    self.assertIn("listed it again", entry.error)
                self.run_cron("ir_cron_clear")
                self.assertEqual(entry.state, "listed")
                told = [body for body in self.contact.message_ids.mapped("body") if "listed it again" in body]
                self.assertEqual(len(told), 1)
                # Whoever knows it can ask again.
                self._ask(name)
                self.sync()
                self.run_cron("ir_cron_clear")
                self.assertEqual(entry.state, "cleared")
                self.contact.message_ids.unlink()

    def test_asked_again(self):
        """Test that who asks again while SendGrid puts it off also means what was listed meanwhile."""
        self.enlist("bounces", "ada@example.org")
        [entry] = self._ask("bounces")
        entry.clearing_date -= timedelta(minutes=10)
        self.enlist("bounces", "ada@example.org", ago=300)
        self._ask("bounces")
        self.sync()
        self.assertEqual(entry.state, "clearing")

    def test_page_from_before(self):
        """Test that a page which was read before SendGrid cleared an address does not bring the entry back."""
        self.enlist("bounces", "ada@example.org")
        self.sync()
        entry = self.entry("bounces", "ada@example.org")
        store = type(entry)._store

        def store_later(records, sync, name, entries, *args):
            if name == "bounces":
                # Meanwhile somebody asks for it, and SendGrid clears it.
                mine = records.browse(entry.id)
                mine.action_clear()
                self.assertTrue(list(mine._clear()))
            return store(records, sync, name, entries, *args)

        with patch.object(type(entry), "_store", store_later):
            self.sync(is_whole=True)
        self.assertEqual((entry.state, bool(entry.cleared_date)), ("cleared", True))
        self.enlist("bounces", "ada@example.org", ago=60)
        self.sync()
        self.assertEqual((entry.state, entry.cleared_date), ("listed", False), "SendGrid has listed it again")

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

    def test_wrong_answers(self):
        """Test that an answer of the wrong form does not say that an address is on no list."""
        for name in suppressions.LISTS:
            self.enlist(name, "ada@example.org", group_id=self._get_group(name))
        self.sync()
        paths = [f"/v3/suppression/{name}/" for name in ("bounces", "blocks", "invalid_emails", "spam_reports")]
        for path in (*paths, "/v3/asm/suppressions/global/", "/v3/asm/suppressions/ada"):
            for body in (None, "", 7):
                with self.subTest(path=path, body=body):
                    self.sandbox("POST", "/sandbox/faults", {"path": path, "action": "answer", "body": body})
                    wizard = self._open(self.contact.action_email_is_valid()).save()
                    self.assertEqual(len(wizard.line_ids), len(suppressions.LISTS))
                    self.assertTrue(wizard.problem)

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
