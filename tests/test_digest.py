from datetime import timedelta

from odoo.tests import new_test_user, tagged

from .test_activity import ActivityCase

KINDS = ("delivered", "opened", "clicked", "replied", "refused")


@tagged("post_install", "-at_install")
class TestDigest(ActivityCase):
    """The figures of the tracked e-mails in core's digest."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.company = cls.env.company
        cls.digest = cls.env["digest.digest"].create(
            {
                "name": "Our week",
                "company_id": cls.company.id,
                "user_ids": cls.salesperson.ids,
                **{f"kpi_sendgrid_{kind}": True for kind in KINDS},
            }
        )

    def get_figures(self, user=None, company=None):
        """Return what the digest tells, as {kind: the numbers of the last 24 hours, 7 days and 30 days}."""
        told = self.digest._compute_kpis(company or self.company, user or self.salesperson)
        return {
            kpi["kpi_name"].removeprefix("kpi_sendgrid_"): [kpi[f"kpi_col{column}"]["value"] for column in (1, 2, 3)]
            for kpi in told
            if kpi["kpi_name"].startswith("kpi_sendgrid_")
        }

    def make_history(self, **values):
        """Have e-mails delivered, opened, clicked, answered and refused, some days ago."""
        for days in (0, 3, 20, 70):
            common = {"ago": timedelta(days=days, hours=3), "company_id": self.company.id, **values}
            self.deliver(**common)
            email = self.deliver(**common)
            if values.get("measured") != "none":
                self.read_by_person(email)
                self.read_by_person(email, "click", 3700)
                self.happen(email, "click", 7000)
            self.happen(self.create_email(**common), "bounce", 9)
        [email] = self.say(company_id=self.company.id, measured=values.get("measured", "full"))
        self.answer(email)
        self.age("sendgrid.email", timedelta(hours=1), "reply_date")  # what happens in this second counts in the next

    def test_figures(self):
        """Test that each e-mail counts when it happened to it, once, and what is older not at all."""
        self.make_history()
        self.assertEqual(
            self.get_figures(),
            {
                "delivered": [2, 4, 6],
                "opened": [1, 2, 3],
                "clicked": [1, 2, 3],
                "replied": [1, 1, 1],
                "refused": [1, 2, 3],
            },
        )

    def test_old(self):
        """Test that an old e-mail that is opened or answered today counts, and a very old one does not."""
        for days, expected in ((80, 1), (100, 1)):
            email = self.deliver(ago=timedelta(days=days), company_id=self.company.id)
            self.deliver(company_id=self.company.id)
            self.read_by_person(email, after=int(timedelta(days=days, hours=-2).total_seconds()))
            self.assertEqual(self.get_figures()["opened"][0], expected, days)

    def test_not_measured(self):
        """Test that opens and clicks are left out if nothing is measured, because 0 would say that nobody reads."""
        self.make_history(measured="none", unmeasured_reason="company")
        figures = self.get_figures()
        self.assertEqual(set(figures), {"delivered", "replied", "refused"})
        self.assertEqual(figures["replied"], [1, 1, 1])
        self.assertEqual(figures["refused"], [1, 2, 3])
        self.deliver(company_id=self.company.id, ago=timedelta(days=40))
        self.assertEqual(self.get_figures()["opened"], [0, 0, 0])

    def test_companies(self):
        """Test that the e-mails of another company do not count, neither those of none."""
        other = self.env["res.company"].create({"name": "Other"})
        for company in (other, self.env["res.company"]):
            self.deliver(company_id=company.id, ago=timedelta(hours=3))
        self.deliver(company_id=self.company.id, ago=timedelta(hours=3))
        self.assertEqual(self.get_figures()["delivered"], [1, 1, 1])

    def test_rights(self):
        """Test that a receiver's figures have what he may see: here nothing about the e-mails of a colleague."""
        colleague = new_test_user(self.env, "colleague", "base.group_user")
        self.make_history()
        figures = self.get_figures(colleague)
        self.assertEqual(figures, {"delivered": [0] * 3, "replied": [0] * 3, "refused": [0] * 3})

    def test_mail(self):
        """Test the mail as it arrives: the figures with their names, each with a link to the documents."""
        self.make_history()
        self.digest.action_send()
        mail = self.env["mail.mail"].search([("subject", "like", "Our week")])
        with self.sending() as sent:
            mail.send()
        [arrived] = sent
        text = arrived.part("html")
        for kind in KINDS:
            label = self.digest._fields[f"kpi_sendgrid_{kind}"].get_description(self.env)["string"]
            self.assertIn(label, text)
        menu = self.env.ref("sendgrid_tracking.sendgrid_tracking_menu_root")
        link = f"/odoo/action-sendgrid_tracking.sendgrid_email_action?menu_id={menu.id}"
        self.assertEqual(text.count(link), len(KINDS))

    def test_default(self):
        """Test that core's own digest has the figures after the installation, and its form can switch them off."""
        digest = self.env.ref("digest.digest_digest_default")
        for kind in KINDS:
            self.assertTrue(digest[f"kpi_sendgrid_{kind}"])
        arch = digest.get_view(view_type="form")["arch"]
        for kind in KINDS:
            self.assertIn(f'name="kpi_sendgrid_{kind}"', arch)

    def test_queries(self):
        """Test that a figure is one query, whatever the number of e-mails."""
        self.make_history()
        start, end = self.env.cr.now() - timedelta(days=7), self.env.cr.now()
        digest = self.digest.with_user(self.salesperson).with_context(start_datetime=start, end_datetime=end)
        counts = []
        for _round in range(3):
            digest.invalidate_recordset()
            self.env.flush_all()
            before = self.env.cr.sql_log_count
            _value = digest.kpi_sendgrid_refused_value
            counts.append(self.env.cr.sql_log_count - before)
            self.deliver(company_id=self.company.id)
        self.assertEqual(counts[1], counts[2])
