from datetime import timedelta

from odoo import Command, fields
from odoo.tests import Form, new_test_user, tagged

from .common import SendgridCase


@tagged("-standard", "sendgrid_dialogs", "post_install", "-at_install")
class TestDialogs(SendgridCase):
    """Core's dialogs that send without the composer, in a database that has them: they send, and the switch of their
    template is obeyed. `end_to_end/test_visibility.py` runs it.
    """

    __test__ = False  # pytest's database does not have them

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env.company.sendgrid_unasked = "everybody"
        cls.env.user.email = "boss@example.com"

    def send_all(self, send):
        """Let a dialog send; return what left to Ada, and its document."""
        with self.sending() as sent:
            send()
            self.env["mail.mail"].search([("state", "=", "outgoing")]).send()
        [copy] = [copy for copy in sent if copy.recipients == ["ada@example.org"]]
        [email] = self.Email.search([("odoo_id", "=", copy.unique_args["odoo_id"])])
        self.assertEqual(email.measured == "none", "opentrack" in copy.smtpapi.get("filters", {}))
        self.assertNotIn("<!-- sendgrid", copy.part("html"))
        return copy, email

    def assertObeys(self, template, send):
        """Assert that what a dialog sends is measured as its template says.

        :param send: function without arguments that opens the dialog and presses its button
        """
        for is_tracked, expected in ((True, ("full", False)), (False, ("none", "mail"))):
            template.sendgrid_is_tracked = is_tracked
            with self.subTest(is_tracked=is_tracked):
                _copy, email = self.send_all(send)
                self.assertEqual((email.measured, email.unmeasured_reason), expected)

    def test_survey(self):
        """Test the invitation to a survey."""
        survey = self.env["survey.survey"].create(
            {
                "title": "Cheese",
                "question_and_page_ids": [Command.create({"title": "Which?", "question_type": "text_box"})],
            }
        )

        def send():
            context = survey.with_context(active_id=survey.id).action_send_survey()["context"]
            with Form(self.env["survey.invite"].with_context(**context)) as form:
                form.send_email = True
                form.partner_ids.add(self.contact)
            form.record.action_invite()

        self.assertObeys(self.env.ref("survey.mail_template_user_input_invite"), send)

    def test_course(self):
        """Test inviting to a course, adding to it, and sharing it and one of its pages."""
        channel = self.env["slide.channel"].create({"name": "Cheese", "visibility": "members", "enroll": "invite"})
        slide = self.env["slide.slide"].create({"name": "Gouda", "channel_id": channel.id})

        def invite(enroll):
            channel.channel_partner_all_ids.unlink()
            method = channel.action_channel_enroll if enroll else channel.action_channel_invite
            with Form(self.env["slide.channel.invite"].with_context(**method()["context"])) as form:
                form.partner_ids.add(self.contact)
            form.record.action_invite()

        for xmlid, send in (
            ("slide_channel_invite", lambda: invite(False)),
            ("slide_channel_enroll", lambda: invite(True)),
            ("channel_shared", lambda: channel._send_share_email("ada@example.org")),
        ):
            with self.subTest(xmlid):
                self.assertObeys(self.env.ref(f"website_slides.mail_template_{xmlid}"), send)
        self.assertObeys(
            self.env.ref("website_slides.slide_template_shared"),
            lambda: slide._send_share_email("ada@example.org", False),
        )

    def test_applicant(self):
        """Test a mail to an applicant, and one that refuses him."""
        job = self.env["hr.job"].create({"name": "Cheesemonger"})
        template = self.env.ref("hr_recruitment.email_template_data_applicant_interest")

        def make():
            return self.env["hr.applicant"].create(
                {
                    "partner_name": "Ada",
                    "email_from": "ada@example.org",
                    "partner_id": self.contact.id,
                    "job_id": job.id,
                }
            )

        def write():
            dialog = self.env["applicant.send.mail"].create({"applicant_ids": make().ids, "template_id": template.id})
            dialog.action_send()

        def refuse():
            reason = self.env["hr.applicant.refuse.reason"].create({"name": "No", "template_id": template.id})
            context = {"default_applicant_ids": make().ids, "active_test": False}
            with Form(self.env["applicant.get.refuse.reason"].with_context(**context)) as form:
                form.refuse_reason_id = reason
            self.assertTrue(form.record.send_mail)
            form.record.action_refuse_reason_apply()

        self.assertObeys(template, write)
        self.assertObeys(template, refuse)

    def test_vehicle(self):
        """Test a mail to a driver."""
        brand = self.env["fleet.vehicle.model.brand"].create({"name": "Brand"})
        model = self.env["fleet.vehicle.model"].create({"name": "Model", "brand_id": brand.id})
        vehicle = self.env["fleet.vehicle"].create({"model_id": model.id, "driver_id": self.contact.id})
        template = self.env["mail.template"].create(
            {
                "name": "Drivers",
                "model_id": self.env["ir.model"]._get_id("fleet.vehicle"),
                "subject": "Tyres",
                "body_html": "<p>Winter is coming</p>",
            }
        )

        def send():
            dialog = self.env["fleet.vehicle.send.mail"].create(
                {"vehicle_ids": vehicle.ids, "template_id": template.id}
            )
            dialog.action_send()

        self.assertObeys(template, send)

    def test_event(self):
        """Test what an event sends by itself to who has registered."""
        template = self.env.ref("event.event_subscription")
        now = fields.Datetime.now()
        event = self.env["event.event"].create(
            {
                "name": "Cheese fair",
                "date_begin": now + timedelta(days=7),
                "date_end": now + timedelta(days=8),
                "event_mail_ids": [
                    Command.create(
                        {
                            "interval_type": "after_sub",
                            "interval_unit": "now",
                            "template_ref": f"{template._name},{template.id}",
                        }
                    )
                ],
            }
        )

        def register():
            self.env["event.registration"].create({"event_id": event.id, "email": "ada@example.org", "state": "open"})
            event.event_mail_ids.execute()

        self.assertObeys(template, register)

    def test_invoice(self):
        """Test an invoice from its dialog, with a text that was written anew there, and of many at once."""
        company = self.env.company
        if not company.chart_template:
            self.env["account.chart.template"].try_loading("generic_coa", company, install_demo=False)
        template = self.env.ref("account.email_template_edi_invoice")
        template.mail_server_id = self.server

        def make():
            move = self.env["account.move"].create(
                {
                    "move_type": "out_invoice",
                    "partner_id": self.contact.id,
                    "invoice_line_ids": [Command.create({"name": "Cheese", "price_unit": 7})],
                }
            )
            move.action_post()
            return move

        def send(body=None):
            action = make().action_send_and_print()
            dialog = self.env["account.move.send.wizard"].with_context(**action["context"]).create({})
            self.assertEqual(dialog.template_id, template)
            dialog.sending_methods = ["email"]
            if body:
                dialog.body = body
            dialog.action_send_and_print()

        def send_many():
            self.env["account.move.send"]._generate_and_send_invoices(make(), sending_methods=["email"])

        self.assertObeys(template, send)
        self.assertObeys(template, lambda: send("<p>Another text</p>"))
        self.assertObeys(template, send_many)

    def test_access(self):
        """Test that an invitation to the portal, and the mail about a new account, are never measured."""
        self.env["sendgrid.address"].set_email_tracking(["ada@example.org"], "agreed", "form")
        user = new_test_user(self.env, "sendgrid_dialogs_new", groups="base.group_portal", email="eve@example.org")
        user.partner_id.email = "ada@example.org"
        self.contact.email = False
        wizard = self.env["portal.wizard"].create({"partner_ids": user.partner_id.ids})
        for send in (
            wizard.user_ids.action_invite_again,
            lambda: self.env.ref("auth_signup.mail_template_user_signup_account_created").send_mail(user.id),
        ):
            _copy, email = self.send_all(send)
            self.assertEqual(email.unmeasured_reason, "access")
