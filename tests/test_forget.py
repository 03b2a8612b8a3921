from odoo.exceptions import AccessError, UserError
from odoo.tests import Form, mute_logger, new_test_user, tagged

from .common import SendgridCase


@tagged("post_install", "-at_install")
class TestForget(SendgridCase):
    """The dialog that has the tracking of somebody forgotten. What forgetting does: see `test_reduction`."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.admin = new_test_user(
            cls.env, "sendgrid_forget_admin", groups="base.group_system,base.group_partner_manager"
        )

    def open(self, records, user=None):
        """Open the dialog on records; return it as the user has it before him."""
        Forget = self.env["sendgrid.forget"].with_user(user or self.admin)
        return Form(Forget.with_context(active_model=records._name, active_ids=records.ids)).save()

    def opened(self, address="ada@example.org", **values):
        """Return a document that was delivered and opened."""
        email = self.create_email(address, **values)
        message = self.relay(email)
        self.receive(
            message.event("delivered", timestamp=self.after(email, 60)),
            message.event("open", timestamp=self.after(email, 600)),
            message.event("open", timestamp=self.after(email, 700)),
        )
        self.assertEqual(email.status, "opened")
        return email

    def test_contact(self):
        """Test that a contact's documents are forgotten, whatever address they went to, and that it says how many."""
        own = self.opened() | self.opened("former@example.org", partner_id=self.contact.id)
        other = self.opened("other@example.org")
        dialog = self.open(self.contact)
        self.assertEqual((dialog.email_count, dialog.event_count, dialog.address_names), (2, 4, "ada@example.org"))
        dialog.action_forget()
        self.assertEqual(set(own.mapped("status")), {"delivered"})
        self.assertEqual(set(own.mapped("unmeasured_reason")), {"forgotten"})
        self.assertEqual(other.status, "opened")
        self.assertTrue(dialog.result)

    def test_noted_once(self):
        """Test that each chatter and the privacy log name each address once, also after a second click."""
        self.contact.email = "ada@example.org, Ada <ADA@example.org>, ada@example.net"
        lead = self.env["crm.lead"].create({"name": "Lead", "email_from": "ada@example.net"})
        lines = self.env["privacy.log"].search_count([])
        dialog = self.open(self.contact)
        dialog.action_forget()
        first = dialog.result, dialog.reduction_numbers
        dialog.action_forget()
        self.assertEqual((dialog.result, dialog.reduction_numbers), first)
        self.env["sendgrid.export"].with_user(self.admin)._open_for(self.contact.with_user(self.admin))
        for record, addresses in (
            (self.contact, ["ada@example.org", "ada@example.net"]),
            (lead, ["ada@example.net"]),
        ):
            for said in ("The tracking of {} was forgotten.", "All that is known of {} was written into a file."):
                bodies = "".join(record.message_ids.mapped("body"))
                self.assertEqual([bodies.count(said.format(address)) for address in addresses], [1] * len(addresses))
        self.assertEqual(self.env["privacy.log"].search_count([]) - lines, 4)

    def test_stays_forgotten(self):
        """Test that neither a late report nor the same once more brings anything back."""
        email = self.create_email()
        message = self.relay(email)
        told = [
            message.event("delivered", timestamp=self.after(email, 60)),
            message.event("open", timestamp=self.after(email, 100)),
        ]
        batch = self.receive(*told)
        self.open(self.contact).action_forget()
        self.receive(*told, message.event("click", timestamp=self.after(email, 120)))
        batch.action_process_again()
        self.drain()
        self.assertEmail(email, status="delivered", open_count=0, click_count=0)

    def test_address_without_contact(self):
        """Test that the tracking of an address is forgotten that no contact has."""
        email = self.opened("guest@example.net")
        address = self.env["sendgrid.address"]._hold(["guest@example.net"])
        self.open(address).action_forget()
        self.assertEqual(email.status, "delivered")
        self.assertEqual((address.forgotten_uid, address.forgotten_count), (self.admin, 1))
        self.assertTrue(address.forgotten_date)

    def test_documents(self):
        """Test that of chosen documents only these are forgotten, and later ones to the address are measured."""
        chosen, other = self.opened(author_id=self.admin.partner_id.id), self.opened()
        dialog = self.open(chosen)
        self.assertEqual((dialog.email_count, dialog.address_count), (1, 0))
        dialog.action_forget()
        self.assertEqual((chosen.status, other.status), ("delivered", "opened"))
        self.assertFalse(self.env["sendgrid.address"].search([("email", "=", "ada@example.org")]).unmeasured_until)
        self.assertIn("was forgotten", self.contact.message_ids[0].body)

    def test_lead(self):
        """Test that a lead's address is forgotten."""
        lead = self.env["crm.lead"].create({"name": "Lead", "email_from": "guest@example.net"})
        email = self.opened("guest@example.net")
        sales_admin = new_test_user(
            self.env,
            "sendgrid_forget_sales",
            groups="base.group_system,sales_team.group_sale_salesman_all_leads",
        )
        self.open(lead, sales_admin).action_forget()
        self.assertEqual(email.status, "delivered")
        self.assertIn("guest@example.net was forgotten", lead.message_ids[0].body)

    def test_several(self):
        """Test that each contact's chatter tells of its own address, and the privacy log of none in words."""
        others = self.contact.create([{"name": f"N{number}", "email": f"n{number}@example.org"} for number in range(6)])
        self.opened()
        dialog = self.open(self.contact | others)
        self.assertIn("… (+2)", dialog.address_names)
        dialog.action_forget()
        for contact in self.contact | others:
            self.assertIn(contact.email, contact.message_ids[0].body)
            self.assertEqual(contact.message_ids[0].body.count("@"), 1)
        logs = self.env["privacy.log"].search([], order="id desc", limit=7)
        self.assertEqual(logs.user_id, self.admin)
        self.assertFalse([log for log in logs if "@" in log.execution_details])

    def test_nothing(self):
        """Test that a contact without address and e-mails has nothing to forget."""
        with self.assertRaisesRegex(UserError, "nothing to forget"):
            self.open(self.contact.create({"name": "Nobody"}))

    @mute_logger("odoo.addons.base.models.ir_model", "odoo.addons.base.models.ir_rule")
    def test_rights(self):
        """Test that only administrators may, and of contacts only those that they may change."""
        self.opened()
        with self.assertRaises(AccessError):
            self.open(self.contact, self.salesperson)
        plain = new_test_user(self.env, "sendgrid_forget_plain", groups="base.group_system")
        self.contact.company_id = self.env["res.company"].create({"name": "Elsewhere"})
        with self.assertRaises(AccessError):
            self.open(self.contact, plain)
        theirs = self.open(self.env["sendgrid.address"]._hold(["ada@example.org"]), self.admin)
        with self.assertRaises(AccessError):
            theirs.with_user(plain).action_forget()

    def test_erasing(self):
        """Test that SendGrid is asked only if somebody says so, for the companies' accounts that have a key."""
        self.opened()
        dialog = self.open(self.contact)
        dialog.action_forget()
        self.assertFalse(dialog.erasure_ids)
        dialog = self.open(self.contact)
        self.assertIn(self.account, dialog.account_ids)
        dialog.erases_at_sendgrid = True
        dialog.action_forget()
        [request] = dialog.erasure_ids.filtered(lambda one: one.account_id == self.account)
        self.assertEqual((request.addresses_left, request.create_uid), (["ada@example.org"], self.admin))
        self.account.connected_uuid = "another"
        self.assertIn("another database", self.open(self.contact).place_warning)
