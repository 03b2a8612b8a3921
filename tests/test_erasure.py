from odoo.exceptions import AccessError
from odoo.tests import HttpCase, mute_logger, tagged

from ..tools.api import erasure
from .common import SendgridMixin
from .sandbox_case import API_KEY, SandboxCase

JOB = "odoo.addons.sendgrid_tracking.models.sendgrid_job_mixin"


@tagged("post_install", "-at_install")
class TestErasure(SandboxCase, SendgridMixin, HttpCase):
    """SendGrid is asked to erase what it keeps about recipients."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.account.api_key = API_KEY
        cls.Erasure = cls.env["sendgrid.erasure"]

    def erase(self, *emails):
        request = self.Erasure._begin(self.account, emails)
        self.run_cron("ir_cron_erase")
        return request

    def taken(self):
        return [job["addresses"] for job in self.sandbox("GET", "/sandbox/erasures")]

    def test_handed_over(self):
        """Test that SendGrid gets the addresses, that its job is kept, and the addresses are not."""
        request = self.erase("b@example.org", "a@example.org", "a@example.org")
        self.assertEqual(self.taken(), [["a@example.org", "b@example.org"]])
        [job] = self.sandbox("GET", "/sandbox/erasures")
        self.assertEqual((request.state, request.job_ids, request.progress), ("done", job["job_id"], 100))
        self.assertFalse(request.addresses_left or request.error)

    def test_limits(self):
        """Test that no call has more addresses, or is larger, than SendGrid takes."""
        many = [f"{number:05}@example.org" for number in range(7000)]
        request = self.erase(*many)
        self.assertEqual([len(job) for job in self.taken()], [5000, 2000])
        self.assertEqual((request.taken_count, len(request.job_ids.splitlines())), (7000, 2))
        long = [f"{number:060}@{'x' * 60}.example.org" for number in range(3000)]
        self.assertEqual(self.erase(*long).taken_count, 3000)
        self.assertEqual([one for job in self.taken()[2:] for one in job], long)
        self.assertEqual(erasure.take(["x" * 300_000]), ["x" * 300_000], "it ends")

    def test_invalid_addresses(self):
        """Test that an address that SendGrid does not take costs only itself, whether SendGrid names it or not."""
        request = self.erase("a@example.org", "müller@example.org", "nobody@nowhere", "z@example.org")
        self.assertEqual(self.taken(), [["a@example.org", "z@example.org"]])
        self.assertEqual((request.state, request.taken_count, request.invalid_count), ("done", 2, 2))
        fault = {"path": "/v3/recipients", "status": 400, "message": "Bad Request"}
        self.sandbox("POST", "/sandbox/faults", {**fault, "times": 3})
        request = self.erase(*(f"{letter}@example.org" for letter in "abcdefgh"))
        self.assertEqual([len(job) for job in self.taken()[1:]], [1, 7])
        self.assertEqual((request.state, request.taken_count), ("done", 8))

    def test_missing_permission(self):
        """Test that an older account learns what to ask for, and goes on after that."""
        self.sandbox("PUT", "/sandbox/keys/SG.old", ["mail.send", "suppression.read"])
        self.account.api_key = "SG.old"
        request = self.erase("a@example.org")
        self.assertEqual(request.state, "failed")
        self.assertIn("recipients.erasejob.create", request.error)
        self.assertIn("support", request.error)
        self.sandbox("PUT", "/sandbox/keys/SG.old", ["recipients.erasejob.create"])
        request.action_start()
        self.run_cron("ir_cron_erase")
        self.assertEqual((request.state, request.error, self.taken()), ("done", False, [["a@example.org"]]))

    def test_busy(self):
        """Test that what SendGrid cannot do now is done later by itself, and says so."""
        self.sandbox("POST", "/sandbox/faults", {"path": "/v3/recipients", "status": 429, "reset": 600, "times": 9})
        request = self.erase("a@example.org")
        self.assertEqual((request.state, self.taken()), ("running", []))
        self.assertTrue(request.error and request.waits_until)
        self.sandbox("DELETE", "/sandbox/faults")
        self.run_cron("ir_cron_erase")
        self.assertEqual((request.state, request.error, request.waits_until), ("done", False, False))

    def test_answer_lost(self):
        """Test that addresses whose answer got lost are handed over again, and counted once."""
        self.sandbox("POST", "/sandbox/faults", {"path": "/v3/recipients", "action": "cut", "after": True})
        request = self.erase("a@example.org")
        self.assertEqual(self.taken(), [["a@example.org"]] * 2)
        self.assertEqual((request.state, request.taken_count), ("done", 1))

    @mute_logger(JOB)
    def test_copy_of_the_database(self):
        """Test that a copied database erases nothing, and says why."""
        self.account.connected_uuid = "another"
        request = self.erase("a@example.org")
        self.assertEqual((request.state, self.taken()), ("running", []))
        self.assertIn("connected from another database", request.error)

    def test_companies(self):
        """Test that administrators of another company see neither the request nor its addresses."""
        company = self.env["res.company"].create({"name": "Elsewhere"})
        self.account.company_id = company
        request = self.Erasure._begin(self.account, ["a@example.org"])
        admin = self.env.ref("base.user_admin")
        theirs = request.with_user(admin).with_context(allowed_company_ids=admin.company_id.ids)
        with self.assertRaises(AccessError), mute_logger("odoo.addons.base.models.ir_rule"):
            theirs.read(["addresses_left"])

    def test_forgotten(self):
        """Test that a request that failed forever does not keep addresses forever."""
        self.sandbox("DELETE", f"/sandbox/keys/{API_KEY}")
        request = self.erase("a@example.org")
        self.assertEqual(request.state, "failed")
        self.Erasure._gc_failed()
        self.assertTrue(request.exists())
        self.age("sendgrid.erasure", "31 days", "write_date")
        self.Erasure._gc_failed()
        self.assertFalse(request.exists())
