from contextlib import suppress
from datetime import timedelta
from unittest.mock import patch

from psycopg2 import IntegrityError

from odoo.fields import Datetime
from odoo.tests import Form, mute_logger, new_test_user, tagged
from odoo.tools import SQL

from ..models import sendgrid_job_mixin, sendgrid_retention
from ..models.sendgrid_retention import SendgridRetention
from .committed import CommittedCase
from .common import SendgridCase, Undo, now
from .properties import given, in_database, st
from .simulator import BROWSER, KINDS, Relayed, account_event

FIGURES = (
    "status status_reason processed_date delivered_date first_open_date last_open_date open_count click_count "
    "machine_open_count machine_click_count facts"
).split()
VERDICT = ("event", "timestamp", "verdict", "is_machine", "machine_reason", "reason", "response", "fingerprint")
AGENTS = (
    BROWSER,
    "Mozilla/5.0",
    "Barracuda Sentinel (EE)",
    "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
    None,
)
URLS = ("https://a.example.com/?token=1", "https://a.example.com/?token=2", "https://b.example.com/x#y", None)
YEAR = "13 months"


@tagged("post_install", "-at_install")
class TestRetention(SendgridCase):
    def setUp(self):
        super().setUp()
        self.company = self.env.company
        self.env["res.company"].search([]).write({"sendgrid_detail_months": 0, "sendgrid_document_months": 0})
        self.company.sendgrid_detail_months = 12

    def _forget(self, seconds=1.0):
        """Run the scheduled action; return how many transactions took rows."""
        self.env.flush_all()
        with patch.object(type(self.env["ir.cron"]), "_commit_progress", return_value=seconds) as commit:
            self.env["sendgrid.retention"]._cron_forget()
        self.env.flush_all()
        self.env.invalidate_all()
        return sum(bool(call.args[0]) for call in commit.call_args_list)

    def _figures(self, emails):
        return (
            [[email[name] for name in FIGURES] for email in emails],
            [[event[name] for name in VERDICT] for event in emails.event_ids.sorted("id")],
        )

    # ------------------------------------------------------------
    # DETAILS
    # ------------------------------------------------------------

    @in_database
    @given(st.data())
    def test_nothing_else_changes(self, data):
        """Test that forgetting details changes nothing else.

        Status, dates, counts, verdicts and evidence stay the same; repeated events are still known; and a late event
        changes only what it says itself.
        """
        with suppress(Undo), self.env.cr.savepoint():
            email = self.create_email()
            message = self.relay(email)
            kinds = data.draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=8))
            events = [
                message.event(
                    kind,
                    timestamp=self.after(email, data.draw(st.sampled_from([1, 2, 3, 5, 30, 3600]))),
                    **(
                        {"useragent": data.draw(st.sampled_from(AGENTS))}
                        if KINDS[kind]["event"] in ("open", "click")
                        else {}
                    ),
                    **({"url": data.draw(st.sampled_from(URLS))} if kind == "click" else {}),
                )
                for kind in kinds
            ]
            self.receive(*events)
            before = self._figures(email)
            self.age("sendgrid.event", YEAR)
            self.age("sendgrid.event.batch", YEAR)
            self._forget()
            self.assertFalse(any(event.ip or event.user_agent for event in email.event_ids))
            self.assertFalse(any("?" in (event.url or "") or "#" in (event.url or "") for event in email.event_ids))
            self.assertEqual(self._figures(email), before)
            batch = self.receive(*events)
            self.assertEqual((batch.event_count, batch.duplicate_count), (len(events), len(events)))
            email._refresh_state()
            self.assertEqual(self._figures(email), before)
            late = message.event("open", timestamp=self.after(email, 90000), useragent=BROWSER)
            self.receive(late)
            self.assertEqual(self._figures(email)[1][: len(before[1])], before[1], "verdicts are final")
            opens, machines = before[0][0][FIGURES.index("open_count")], email.machine_open_count
            self.assertEqual(email.open_count, opens + 1)
            self.assertEqual(machines, before[0][0][FIGURES.index("machine_open_count")])
            raise Undo
        self.env.invalidate_all()

    def test_period(self):
        """Test that details stay until the company's period is over, and forever if it has none."""
        email = self.create_email()
        self.receive(self.relay(email).event("click", url="https://a.example.com/?token=secret"))
        event = email.event_ids
        self._forget()
        self.assertTrue(event.ip and event.user_agent)
        self.age("sendgrid.event", YEAR)
        self.company.sendgrid_detail_months = 14
        self._forget()
        self.assertTrue(event.ip)
        self.company.sendgrid_detail_months = 0
        self._forget()
        self.assertTrue(event.ip)
        self.company.sendgrid_detail_months = 13
        self._forget()
        self.assertRecordValues(
            event, [{"ip": False, "user_agent": False, "url": "https://a.example.com/", "is_final": True}]
        )

    def test_companies(self):
        """Test that an account follows its company, and an account of all companies the strictest of them."""
        self.company.sendgrid_detail_months = 0
        _strict, other = self.env["res.company"].create(
            [
                {"name": "Strict", "sendgrid_detail_months": 12, "sendgrid_document_months": 12},
                {"name": "Other", "sendgrid_detail_months": 24, "sendgrid_document_months": 24},
            ]
        )
        theirs = self.env["sendgrid.account"].create({"name": "Theirs", "company_id": other.id})
        emails = [
            self.create_email(account_id=account.id, ago=timedelta(days=400)) for account in (self.account, theirs)
        ]
        self.receive(Relayed(["x@example.org"]).event("open"))
        self.receive(Relayed(["x@example.org"]).event("open"), account=theirs)
        ours, foreign = self.Event.search([], order="id")[-2:]
        self.age("sendgrid.event", YEAR)
        self._forget()
        self.assertEqual((bool(ours.ip), bool(foreign.ip)), (False, True))
        self.assertEqual([bool(email.exists()) for email in emails], [False, True])
        self.age("sendgrid.event", "24 months")
        self._forget()
        self.assertFalse(foreign.ip)

    def test_goes_on(self):
        """Test that it works in small transactions, stops when its time is over, and continues where it stopped.

        It does not read the rows again that are done.
        """
        self.receive(*(Relayed(["x@example.org"]).event("open") for _ in range(7)))
        events = self.Event.search([], order="id")
        self.age("sendgrid.event", YEAR)
        with patch.object(sendgrid_retention, "CHUNK_EVENTS", 3):
            self._forget(seconds=0)
            self.assertEqual(events.mapped("is_final").count(True), 3)
            self.assertEqual(self._forget(), 2)
        self.assertTrue(all(events.mapped("is_final")))
        self.env.cr.execute("UPDATE sendgrid_event SET ip = 'x' WHERE id = %s", [events[0].id])
        self.assertEqual(self._forget(), 0)
        self.assertEqual(events[0].ip, "x", "it is not looked at again")

    def test_cost(self):
        """Test that the queries do not depend on how many events and batches there are to forget."""
        counts = []
        for number in (1, 60):
            self.receive(*(Relayed(["x@example.org"]).event("open") for _ in range(number)))
            for _ in range(number):
                self.store([])
            self.drain()
            self.age("sendgrid.event", YEAR)
            self.age("sendgrid.event.batch", YEAR)
            before = self.env.cr.sql_log_count
            self._forget()
            counts.append(self.env.cr.sql_log_count - before)
        self.assertLessEqual(counts[1], counts[0] + 2)

    # ------------------------------------------------------------
    # BATCHES
    # ------------------------------------------------------------

    def test_batches(self):
        """Test that batches go 7 days after they were done, and those that failed or were partly rejected after 30."""
        event = Relayed(["x@example.org"]).event("open")
        done = self.receive(event)
        rejected = self.receive({"x": 1})
        failed = self.store(b"no JSON")
        self.drain()
        pending = self.store([event])
        everything = done | rejected | failed | pending
        for days, remaining in ((6, everything), (2, everything - done), (20, everything - done), (3, pending)):
            self.age("sendgrid.event.batch", timedelta(days=days))
            self._forget()
            self.assertEqual(everything.exists(), remaining, days)
        self.assertTrue(self.Event.search([("recipient", "=", "x@example.org")]), "what they said stays")

    def test_mended_batch(self):
        """Test that a batch with rejected events goes once it is mended."""
        batch = self.receive({"x": 1})
        self.age("sendgrid.event.batch", timedelta(days=8))
        self._forget()
        self.assertTrue(batch.exists())
        batch.body_gzip = self.store([Relayed(["x@example.org"]).event("open")]).body_gzip
        batch.action_process_again()
        self._forget()
        self.assertTrue(batch.exists(), "it waits")
        self.drain()
        self._forget()
        self.assertFalse(batch.exists())

    def test_many_batches(self):
        """Test that many batches go in small transactions, also past many that stay."""
        for number in range(8):
            self.store([{"x": 1}] if number % 2 else [Relayed(["x@example.org"]).event("open")] * 3)
        self.drain()
        batches = self.Batch.search([])
        self.age("sendgrid.event.batch", timedelta(days=8))
        with (
            patch.object(sendgrid_retention, "CHUNK_BATCHES", 2),
            patch.object(sendgrid_retention, "FORGET_EVENTS", 2),
        ):
            self.assertGreater(self._forget(), 3)
        self.assertEqual(len(batches.exists()), 4)

    # ------------------------------------------------------------
    # UNMATCHED, REFUSED
    # ------------------------------------------------------------

    def test_unmatched_and_refused(self):
        """Test that events of no e-mail and refusal counts go after 30 days; account events and figures stay."""
        email = self.create_email()
        batch = self.receive(
            self.relay(email).event("delivered"), Relayed(["x@example.org"]).event("open"), account_event(now())
        )
        unmatched = batch.event_ids.filtered(lambda event: event.event == "open")
        others = batch.event_ids - unmatched
        self.assertEqual(len(others), 2)
        refused = self.env["sendgrid.rejection"].create({"account_id": self.account.id, "hint": "key", "count": 1})
        day = self.env["sendgrid.account.day"].search([("account_id", "=", self.account.id)])
        for days, remaining in ((29, unmatched), (2, self.Event)):
            for model in ("sendgrid.event", "sendgrid.rejection"):
                self.age(model, timedelta(days=days))
            self.env["sendgrid.retention"]._gc_unmatched()
            self.env["sendgrid.retention"]._gc_refused()
            self.assertEqual(unmatched.exists(), remaining)
            self.assertEqual(bool(refused.exists()), bool(remaining))
        self.assertEqual(others.exists(), others)
        self.assertEqual(day.event_count, 3)

    # ------------------------------------------------------------
    # DOCUMENTS
    # ------------------------------------------------------------

    def test_documents(self):
        """Test that documents stay, unless the company has a period for them; then they go with all their events."""
        old, young = self.create_email(ago=timedelta(days=800)), self.create_email()
        for email in (old, young):
            self.receive(self.relay(email).event("bounce", timestamp=self.after(email, 5)))
        self._forget()
        self.assertTrue(old.exists())
        self.company.sendgrid_document_months = 24
        events = old.event_ids
        with patch.object(sendgrid_retention, "CHUNK_EMAILS", 1):
            self._forget()
        self.assertFalse(old.exists() | self.Email.search([("sent_date", "<", Datetime.now() - timedelta(days=799))]))
        self.assertFalse(events.exists())
        self.assertEqual((young.status, len(young.event_ids)), ("bounced", 1))

    # ------------------------------------------------------------
    # SETTINGS
    # ------------------------------------------------------------

    def test_settings(self):
        """Test that an administrator sets the periods in the settings, and that a negative one is refused."""
        with Form(self.env["res.config.settings"]) as form:
            self.assertEqual(form.sendgrid_detail_months, 12)
            form.sendgrid_detail_months = 6
            form.sendgrid_document_months = 36
        form.record.execute()
        self.assertEqual((self.company.sendgrid_detail_months, self.company.sendgrid_document_months), (6, 36))
        with mute_logger("odoo.sql_db"), self.assertRaises(IntegrityError), self.env.cr.savepoint():
            self.company.sendgrid_detail_months = -1
            self.env.flush_all()

    def test_new_company(self):
        """Test that a new company forgets details after 12 months and documents after 36, and may choose never."""
        self.company.sendgrid_document_months = 24
        company = self.env["res.company"].create({"name": "New"})
        self.assertEqual((company.sendgrid_detail_months, company.sendgrid_document_months), (12, 36))
        account = self.account.create({"name": "N", "company_id": company.id})
        self.assertTrue(self.env["sendgrid.retention"]._get_cutoff(account, "sendgrid_document_months"))
        company.sendgrid_document_months = 0
        self.assertFalse(self.env["sendgrid.retention"]._get_cutoff(account, "sendgrid_document_months"))

    def test_new_company_beside_others(self):
        """Test that a new company does not have documents or details deleted which the others keep."""
        self.assertFalse(self.account.company_id)
        companies = self.env["res.company"].search([])
        for period, usual in (("sendgrid_document_months", 36), ("sendgrid_detail_months", 12)):
            for others, months in ((0, 0), (60, 60), (6, usual)):
                with self.subTest(period=period, others=others):
                    companies[period] = others
                    before = self.env["sendgrid.retention"]._get_cutoff(self.account, period)
                    company = self.env["res.company"].create({"name": f"Beside {period} {others}"})
                    self.assertEqual(company[period], months)
                    after = self.env["sendgrid.retention"]._get_cutoff(self.account, period)
                    self.assertEqual(bool(after), bool(before))
                    if before:
                        self.assertLess(after - before, timedelta(days=1), "it is a number of months before now")
                    company.active = False
            chosen = self.env["res.company"].create({"name": f"Chosen {period}", period: 3})
            self.assertEqual(chosen[period], 3)
            chosen.active = False

    def test_new_company_by_others(self):
        """Test that users who may make companies, but not change their settings, can go on making them."""
        self.company.sendgrid_document_months = 60
        user = new_test_user(self.env, "company_maker", groups="base.group_erp_manager,base.group_partner_manager")
        company = self.env["res.company"].with_user(user).create({"name": "Theirs"})
        self.assertEqual(company.sudo().sendgrid_document_months, 60)

    def test_size_is_told(self):
        """Test that Health tells how much is stored where nothing is ever deleted, without counting a row."""
        companies = self.env["res.company"].search([])
        companies.sendgrid_document_months = 36
        self.create_email(ago=timedelta(days=400))
        self.assertFalse(self.account.stored_explanation)
        companies.sendgrid_document_months = 0
        self.env.flush_all()
        self.env.cr.execute("ANALYZE sendgrid_event")
        self.account.invalidate_recordset(["stored_explanation"])
        self.assertRegex(self.account.stored_explanation, r"Events, by estimate: \d+\.")
        self.assertIn("Nothing is ever deleted", self.account.stored_explanation)
        for estimate, words in ((-1, "?"), (7, "7"), (3_240_000, "3,200,000"), (45_678, "46,000")):
            with self.subTest(estimate):
                self.assertEqual(self.account._describe_estimate(estimate), words)
        self.assertRegex(self.account.stored_explanation, r"this: [\d.]+ [kM]B, the oldest of ")
        self.env["res.lang"]._activate_lang("fr_FR")
        in_french = self.account.with_context(lang="fr_FR")
        for size, words in ((700, "700 o"), (1536, "1,5 ko"), (5 * 1024**3, "5 Go"), (3000 * 1024**4, "3 000 To")):
            with self.subTest(size):
                self.assertEqual(" ".join(in_french._describe_size(size).split()), words)
        # PostgreSQL finds a temporary table before its own one, which holds the estimates.
        self.env.cr.execute(
            """CREATE TEMPORARY TABLE pg_class ON COMMIT DROP AS
               SELECT 'sendgrid_event'::regclass::oid AS oid, 3240000::real AS reltuples"""
        )
        self.account.invalidate_recordset(["stored_explanation"])
        self.assertIn("Events, by estimate: 3,200,000.", self.account.stored_explanation)
        self.env.cr.execute("DROP TABLE pg_temp.pg_class")
        self.assertEqual(self.account.action_choose_retention()["res_model"], "res.config.settings")
        companies[0].sendgrid_document_months = 24
        self.account.invalidate_recordset(["stored_explanation"])
        self.assertFalse(self.account.stored_explanation, "the shortest period counts")


@tagged("post_install", "-at_install")
class TestConflict(CommittedCase):
    """Forgetting beside other transactions, piece by piece, each committed."""

    def setUp(self):
        super().setUp()
        self.enterContext(patch.object(sendgrid_retention, "CHUNK_EVENTS", 2))
        last = self.Event.search([], order="id desc", limit=1)
        self.progress = self.env["sendgrid.retention"].create({"account_id": self.account.id, "last_event_id": last.id})
        self.store([Relayed(["x@example.org"]).event("open") for _number in range(6)])
        self.drain()
        self.events = self._own("sendgrid.event").sorted("id")
        self.assertEqual(len(self.events), 6)
        self.env.execute_query(
            SQL(
                """UPDATE sendgrid_event SET create_date = create_date - %s::interval
                    WHERE id = ANY(%s) RETURNING id""",
                YEAR,
                self.events.ids,
            )
        )
        self.commit()

    def _look(self, cr):
        """Return for each event whether its details are forgotten, as committed."""
        cr.execute("SELECT is_final, ip IS NULL FROM sendgrid_event WHERE id = ANY(%s) ORDER BY id", [self.events.ids])
        return [row == (True, True) for row in cr.fetchall()]

    def test_conflict(self):
        """Test that it tries again after a write to its second piece, and forgets all: the first piece stays done."""
        with self.rival(self.events[3], "reason", "Changed meanwhile", look=self._look) as rival:
            self.run_cron("ir_cron_forget")
        self.assertEqual(rival.seen, [[True, True, False, False, False, False]], "in the middle")
        self.assertEqual(self._look(self.env.cr), [True] * 6)
        self.assertEqual(self.events[3].reason, "Changed meanwhile")
        self.assertEqual(self.progress.last_event_id, self.events[-1].id)

    def test_conflicts_without_end(self):
        """Test that it gives up for now after several tries, keeps what is done, and goes on there at its next run."""
        forget = SendgridRetention._forget_details
        with (
            mute_logger("odoo.addons.sendgrid_tracking.models.sendgrid_job_mixin"),
            self.rival(self.events[3], "reason", "Changed again", times=None, look=self._look) as rival,
            patch.object(SendgridRetention, "_forget_details", rival.before(forget)),
        ):
            self.run_cron("ir_cron_forget")
        half = [True, True, False, False, False, False]
        self.assertEqual(rival.seen, [half] * sendgrid_job_mixin.MAX_TRIES)
        self.assertEqual(self._look(self.env.cr), half)
        self.assertEqual(self.progress.last_event_id, self.events[1].id)
        self.run_cron("ir_cron_forget")
        self.assertEqual(self._look(self.env.cr), [True] * 6)
        self.assertEqual(self.events[3].reason, "Changed again")
