from ast import literal_eval

from odoo.fields import Domain
from odoo.tests import new_test_user, tagged

from ..models import res_partner
from .common import SendgridCase


@tagged("post_install", "-at_install")
class TestPartner(SendgridCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        Partner = cls.env["res.partner"]
        cls.firm = Partner.create({"name": "Firm", "is_company": True, "email": "firm@example.org"})
        cls.department = Partner.create({"name": "Department", "is_company": True, "parent_id": cls.firm.id})
        cls.person = Partner.create({"name": "Person", "parent_id": cls.department.id, "email": "person@example.org"})
        cls.former = Partner.create({"name": "Former", "parent_id": cls.firm.id, "email": "former@example.org"})
        cls.stranger = Partner.create({"name": "Stranger", "email": "stranger@example.org"})

    def _send_to(self, partner, **values):
        """Create a document to a contact, about its own record, so that whoever sees the contact sees it."""
        return self.create_email(
            partner.email_normalized or "x@example.org",
            partner_id=partner.id,
            author_id=False,
            **{"model": "res.partner", "res_id": partner.id, **values},
        )

    def _list(self, record):
        """Return the records in the button's list."""
        action = record.action_view_sendgrid_emails()
        domain = action["domain"]
        return (
            record.env[action["res_model"]]
            .with_context(**action["context"])
            .search(literal_eval(domain) if isinstance(domain, str) else domain)
        )

    def assertDocuments(self, record, expected):
        """Assert that the count on the button, the list behind it and the page in the form agree."""
        record.invalidate_recordset()
        self.assertEqual(self._list(record).sudo(), expected.sorted(lambda e: (e.sent_date, e.id), reverse=True))
        self.assertEqual(record.sendgrid_email_count, len(expected))
        if "sendgrid_email_ids" in record._fields:
            self.assertEqual(record.sendgrid_email_ids.sudo(), self._list(record).sudo())

    def test_count_and_list(self):
        """Test that a company's documents include those of its people, also archived ones, and nobody else's."""
        own, second, of_former = (self._send_to(p) for p in (self.firm, self.person, self.former))
        self._send_to(self.stranger)
        self.former.active = False
        for partner, expected in (
            (self.firm, own | second | of_former),
            (self.department, second),
            (self.person, second),
            (self.former, of_former),
            (self.env["res.partner"].create({"name": "New"}), self.Email),
        ):
            for user in (self.env.user, self.salesperson):
                with self.subTest(partner.name, user=user.name):
                    self.assertDocuments(partner.with_user(user), expected)

    def test_count_of_many(self):
        """Test that counts asked for together equal those asked for one by one, with a constant number of queries."""
        everybody = self.firm | self.department | self.person | self.former | self.stranger
        for partner in everybody:
            self._send_to(partner)
        everybody.invalidate_recordset()
        together = everybody.with_user(self.salesperson).mapped("sendgrid_email_count")
        one_by_one = []
        for partner in everybody.with_user(self.salesperson):
            partner.invalidate_recordset()
            one_by_one.append(partner.sendgrid_email_count)
        self.assertEqual(together, one_by_one)
        self.assertEqual(together, [4, 2, 1, 1, 1])

    def test_newest_on_the_page(self):
        """Test that the page in the form holds the newest of very many, and the button leads to all."""
        emails = sum((self._send_to(self.person) for _ in range(4)), self.Email)
        self.patch(res_partner, "SHOWN_DOCUMENTS", 3)
        self.assertEqual(self.firm.sendgrid_email_ids, emails.sorted(lambda e: (e.sent_date, e.id), reverse=True)[:3])
        self.assertEqual(self.firm.sendgrid_email_count, 4)
        self.assertEqual(self._list(self.firm), emails.sorted(lambda e: (e.sent_date, e.id), reverse=True))

    def test_count_is_the_user_s(self):
        """Test that each user counts the documents that he may see."""
        own = self._send_to(self.person)
        lead = self.env["crm.lead"].create({"name": "Secret", "type": "opportunity", "user_id": self.env.user.id})
        secret = self._send_to(self.person, model="crm.lead", res_id=lead.id)
        other = new_test_user(
            self.env, "sendgrid_test_all", groups="base.group_user,sales_team.group_sale_salesman_all_leads"
        )
        for partner in (self.person, self.firm):
            self.assertDocuments(partner.with_user(self.salesperson), own)
            self.assertDocuments(partner.with_user(other), own | secret)

    def test_parent_changes(self):
        """Test that the documents follow a person to another company."""
        email = self._send_to(self.person)
        self.assertDocuments(self.firm, email)
        self.person.parent_id = False
        self.assertDocuments(self.firm, self.Email)
        self.assertDocuments(self.person, email)

    def test_contact_deleted(self):
        """Test that the documents of a deleted contact stay, as those of the address."""
        email = self._send_to(self.stranger)
        self.stranger.unlink()
        self.env.invalidate_all()
        self.assertTrue(email.exists())
        self.assertEmail(email, partner_id=False, recipient="stranger@example.org")

    # ------------------------------------------------------------
    # LEADS
    # ------------------------------------------------------------

    def _create_lead(self, **values):
        return self.env["crm.lead"].create({"name": "Lead", "user_id": self.salesperson.id, **values})

    def test_lead(self):
        """Test that a lead's documents are those about it and those to its address, and no others."""
        lead = self._create_lead(email_from='"New" <New@example.org>')
        about = self.create_email("other@example.org", model="crm.lead", res_id=lead.id)
        to_address = self.create_email("new@example.org")
        self.create_email("other@example.org")
        other = self._create_lead(email_from="third@example.org")
        self.create_email("third@example.org", model="crm.lead", res_id=other.id)
        self.create_email("other@example.org", model="res.partner", res_id=lead.id)
        for user in (self.env.user, self.salesperson):
            self.assertDocuments(lead.with_user(user), about | to_address)

    def test_lead_without_address(self):
        """Test that a lead without an address has only the documents about it."""
        lead = self._create_lead()
        about = self.create_email(model="crm.lead", res_id=lead.id)
        self.create_email()
        self.assertDocuments(lead, about)

    def test_documents_follow_the_contact(self):
        """Test that the contact made from a lead gets the lead's documents that went to its address."""
        lead = self._create_lead(email_from="new@example.org", contact_name="New", type="lead")
        to_lead = self.create_email("new@example.org", model="crm.lead", res_id=lead.id)
        to_other = self.create_email("other@example.org", model="crm.lead", res_id=lead.id)
        to_known = self.create_email("new@example.org", model="crm.lead", res_id=lead.id, partner_id=self.stranger.id)
        self.receive(self.relay(to_lead).event("open", timestamp=self.after(to_lead, 3600)))
        wizard = (
            self.env["crm.lead2opportunity.partner"]
            .with_context(active_model="crm.lead", active_id=lead.id, active_ids=lead.ids)
            .create({"name": "convert", "action": "create", "lead_id": lead.id})
        )
        wizard.action_apply()
        self.assertEqual(lead.partner_id.email_normalized, "new@example.org")
        self.env.invalidate_all()
        self.assertEqual((to_lead.partner_id, to_lead.event_ids.partner_id), (lead.partner_id, lead.partner_id))
        self.assertFalse(to_other.partner_id)
        self.assertEqual(to_known.partner_id, self.stranger)
        self.assertDocuments(lead.partner_id, to_lead)

    def test_domains_can_be_stored(self):
        """Test that a button's domain can be kept as a favourite: it is a list of plain values."""
        lead = self._create_lead(email_from="new@example.org")
        for record in (self.firm, lead):
            domain = record.action_view_sendgrid_emails()["domain"]
            self.assertEqual(literal_eval(repr(domain)), domain)
            Domain(domain).validate(self.Email)
