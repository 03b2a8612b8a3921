import json
from contextlib import contextmanager
from functools import partial

from odoo import Command, fields
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.service.model import retrying
from odoo.tests import Form, HttpCase, new_test_user, tagged
from odoo.tools import mute_logger

from .committed import CommittedCase
from .common import SendgridCase, SendgridMixin

WORDS = (None, "agreed", "declined")


class ConsentCase(SendgridCase):
    """Addresses, and people who say whether they may be measured."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.Address = cls.env["sendgrid.address"]
        cls.Partner = cls.env["res.partner"]
        cls.wording = cls.env["sendgrid.wording"].create({"name": "Newsletter", "text": "May we?"})

    def say(self, word, *emails, source="form", form="Newsletter", **values):
        """Have the owners of some addresses say a word on a form."""
        return self.Address.set_email_tracking(list(emails), word, source, form, **values)

    def find(self, email):
        return self.Address.search([("email", "=", email)])

    def create_lead(self, **values):
        return self.env["crm.lead"].create({"name": "Lead", "user_id": self.salesperson.id, **values})

    def read_chatter(self, record):
        """Return the texts of a record's notes about measuring, oldest first."""
        messages = record.message_ids.sorted("id").filtered(lambda message: "E-mail tracking" in message.body)
        return [str(message.body) for message in messages]

    @contextmanager
    def counting(self):
        """Count the queries of what is done in the ``with`` statement, into a list."""
        counts = []
        self.env.flush_all()
        self.env.invalidate_all()
        before = self.env.cr.sql_log_count
        yield counts
        self.env.flush_all()
        counts.append(self.env.cr.sql_log_count - before)


@tagged("post_install", "-at_install")
class TestWord(ConsentCase):
    """`set_email_tracking`: what it keeps, whom it tells, what it refuses."""

    def test_word(self):
        """Test what is kept of a word, with and without a contact, and that the contact and the lead tell it."""
        lead = self.create_lead(email_from="Ada <ADA@example.org>")
        addresses = self.say("agreed", "Ada <Ada@Example.org>", "guest@example.org", wording=self.wording)
        self.assertEqual(set(addresses.mapped("email")), {"ada@example.org", "guest@example.org"})
        for address in addresses:
            self.assertEqual(address.email_tracking, "agreed")
            self.assertEqual(address.email_tracking_source, "form")
            self.assertEqual(address.email_tracking_form, "Newsletter")
            self.assertEqual(address.email_tracking_wording_id, self.wording)
            self.assertFalse(address.email_tracking_uid, "the owner has said it")
            self.assertFalse(address.unmeasured_until)
            [proof] = address.consent_ids
            self.assertEqual(proof.date, address.email_tracking_date)
            self.assertEqual((proof.word, proof.source, proof.form), ("agreed", "form", "Newsletter"))
            self.assertEqual((proof.wording_id, proof.uid.id), (self.wording, False))
        for record in (self.contact, lead):
            self.assertEqual(record.email_tracking, "agreed")
            self.assertEqual(record.email_tracking_date, self.find("ada@example.org").email_tracking_date)
            self.assertRegex(
                record.email_tracking_details, r"^Agreed on .*, form Newsletter, wording Newsletter \(version 1\)$"
            )
            [line] = self.read_chatter(record)
            self.assertIn("ada@example.org: Agreed, form Newsletter, wording Newsletter (version 1)", line)
            self.assertNotIn("guest@example.org", line)
            self.assertEqual(record.message_ids[0].author_id, self.env.ref("base.partner_root"))

    def test_repeated(self):
        """Test that a word that is repeated changes only date and proof: the chatter tells nothing anew."""
        address = self.say("declined", "ada@example.org")
        address.email_tracking_date = "2026-01-01 00:00:00"
        self.say("declined", "ada@example.org", form="Fair")
        self.assertGreater(address.email_tracking_date, fields.Datetime.to_datetime("2026-01-02 00:00:00"))
        self.assertEqual(address.email_tracking_form, "Fair")
        self.assertEqual(address.consent_ids.mapped("form"), ["Fair", "Newsletter"])
        self.assertEqual(len(self.read_chatter(self.contact)), 1)

    def test_declined(self):
        """Test that who declines is measured no more in the mails that have left, and nobody else is concerned."""
        email, other = self.create_email(), self.create_email("other@example.org")
        self.say("agreed", "ada@example.org", "other@example.org")
        self.assertFalse(email.measured)
        self.say("declined", "ada@example.org")
        self.env.invalidate_all()
        self.assertEqual((email.measured, email.unmeasured_reason), ("none", "wish"))
        self.assertFalse(other.measured)

    def test_agreed_after_declined(self):
        """Test that what was sent before stays unmeasured, and that it does after a word that was taken back too."""
        for word in ("agreed", False):
            with self.subTest(word=word):
                email = f"{word}@example.org"
                address = self.say("declined", email)
                self.say(word, email)
                self.assertEqual(address.email_tracking, word)
                self.assertEqual(address.unmeasured_until, address.email_tracking_date)
        self.say("agreed", "new@example.org")
        self.assertFalse(self.find("new@example.org").unmeasured_until)

    def test_taken_back(self):
        """Test that a mistake is taken back, and that nothing is kept of an address of which nothing is known."""
        self.say("agreed", "ada@example.org")
        self.say(False, "ada@example.org", "stranger@example.org", source="hand", form=None)
        address = self.find("ada@example.org")
        self.assertFalse(address.email_tracking)
        self.assertEqual(address.consent_ids.mapped("word"), ["unknown", "agreed"])
        self.assertFalse(self.find("stranger@example.org"))
        self.assertEqual(self.contact.email_tracking, "unknown")
        self.assertFalse(self.contact.email_tracking_details)
        self.assertIn("Not asked, noted by", self.read_chatter(self.contact)[-1])

    def test_spellings(self):
        """Test that an address is one, however its domain is spelled."""
        contact = self.Partner.create({"name": "Büch", "email": "Ada@Bücher.example"})
        self.say("declined", "ada@xn--bcher-kva.example")
        self.assertEqual(contact.email_tracking, "declined")
        self.say("agreed", "ADA@bücher.example")
        self.assertEqual(contact.email_tracking, "agreed")
        self.assertEqual(self.Partner.search([("email_tracking", "=", "agreed")]), contact)
        self.assertEqual(len(self.read_chatter(contact)), 2)

    def test_malformed(self):
        """Test that what is no address is named in the error, and that nothing is noted then."""
        for malformed in ("ada", "", None, 5, "a@example.org, b@example.org", "a\0@example.org", f"{'a' * 3000}@x.org"):
            with self.subTest(malformed=malformed), self.assertRaises(ValidationError):
                self.say("agreed", "good@example.org", malformed)
        with self.assertRaisesRegex(ValidationError, "no e-mail addresses: first, second$"):
            self.say("agreed", "good@example.org", "first", "second")
        self.assertFalse(self.find("good@example.org"))
        self.assertFalse(self.say("agreed"))

    def test_wrong_call(self):
        """Test that a word, a way or a wording that does not exist is refused, and what is no name of a form."""
        gone = self.wording.copy()
        gone.unlink()
        wordings = [{"wording": wording} for wording in (gone, gone.id, -1, "abc", True)]
        for values in ({"word": "yes"}, {"source": "phone"}, {"form": "a\0"}, {"form": 5}, *wordings):
            with self.subTest(values=values), self.assertRaises(ValueError):
                self.say(**{"word": "agreed", **values}) if "word" not in values else self.say(values["word"])

    def test_wording_by_its_id(self):
        """Test that who calls from elsewhere may name the wording by its id, and an address alone."""
        address = self.Address.set_email_tracking("ada@example.org", "agreed", "page", None, self.wording.id)
        self.assertEqual(address.email_tracking_wording_id, self.wording)

    def test_many(self):
        """Test that the number of queries is the same for ten addresses and for ten thousand without contacts.

        What declining takes back is worked off in lots.
        """
        counts = []
        for number in (10, 10, 10_000):  # the first one fills the caches
            emails = [f"{number}-{one}-{len(counts)}@example.org" for one in range(number)]
            for word in ("declined", "agreed"):
                with self.counting() as count:
                    self.assertEqual(len(self.say(word, *emails)), number)
                counts += count
        self.assertEqual(counts[5], counts[3])
        self.assertLess(counts[4] - counts[2], 10_000 // 40)

    def test_many_contacts(self):
        """Test that chatters take no query for each contact: core inserts a hundred notes at once."""
        counts = []
        for number in (10, 10, 800):  # the first one fills the caches
            contacts = self.Partner.create(
                [{"name": f"{one}", "email": f"{number}-{one}-{len(counts)}@example.org"} for one in range(number)]
            )
            with self.counting() as count:
                self.say("declined", *contacts.mapped("email"))
            counts += count
            self.assertTrue(all(len(self.read_chatter(contact)) == 1 for contact in contacts))
        self.assertLess(counts[2] - counts[1], 40)

    def test_languages(self):
        """Test that the words can be read in each of our languages. Of some, Babel knows lists only in part."""
        self.say("declined", "ada@example.org", wording=self.wording)
        for lang in ("ar_001", "de_DE", "es_ES", "fr_FR", "it_IT", "nl_NL", "pt_BR"):
            with self.subTest(lang):
                self.env["res.lang"]._activate_lang(lang)
                said = self.contact.with_context(lang=lang).email_tracking_details
                self.assertIn("Newsletter", said)
                self.assertNotRegex(said, " (e|en|et|und|y) ", "the wording is no second thing beside the form")

    def test_language(self):
        """Test that the chatter speaks the company's language, whatever language the visitor's page has."""
        self.env["res.lang"]._activate_lang("fr_FR")
        self.env.company.partner_id.lang = "en_US"
        self.Address.with_context(lang="fr_FR").set_email_tracking(["ada@example.org"], "agreed", "page")
        [line] = self.read_chatter(self.contact)
        self.assertIn("ada@example.org: Agreed, on the page that tells how e-mails are measured", line)


@tagged("post_install", "-at_install")
class TestProof(ConsentCase):
    """Words and wordings stay as they were."""

    def test_append_only(self):
        """Test that nobody changes or deletes a word that was said, not even the superuser."""
        address = self.say("declined", "ada@example.org")
        proof = address.consent_ids
        for change in (lambda: proof.write({"word": "agreed"}), proof.unlink):
            with self.assertRaises(UserError):
                change()
        self.assertEqual(proof.word, "declined")
        address.unlink()
        self.assertFalse(proof.exists())

    def test_wording(self):
        """Test that a wording that was shown stays, and that a changed text is a new version."""
        self.wording.text = "May we measure?"  # nobody has seen it yet
        self.say("agreed", "ada@example.org", wording=self.wording)
        self.assertTrue(self.wording.is_used)
        for change in (
            lambda: self.wording.write({"text": "Another"}),
            lambda: self.wording.write({"name": "Another"}),
            self.wording.unlink,
        ):
            with self.assertRaises(UserError):
                change()
        action = self.wording.action_new_version()
        second = self.wording.browse(action["res_id"])
        second.text = "May we measure opens and clicks?"
        self.assertEqual((second.name, second.version), ("Newsletter", 2))
        self.assertEqual(self.wording.text, "May we measure?")
        self.wording.active = False
        self.assertEqual(self.wording.create({"name": "Newsletter", "text": "x"}).version, 3)
        self.assertEqual(self.wording.create([{"name": "Fair", "text": "x"}] * 2).mapped("version"), [1, 2])

    def test_wording_of_before(self):
        """Test that a wording stays that was shown before the last word."""
        self.say("agreed", "ada@example.org", wording=self.wording)
        self.say("declined", "ada@example.org")
        with self.assertRaises(UserError):
            self.wording.text = "Another"


@tagged("post_install", "-at_install")
class TestFaces(ConsentCase):
    """Contacts and leads: what they show, how they are found, and how a word is set there."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.several = {
            (one, other): cls.Partner.create(
                {"name": f"{one} {other}", "email": f"one@{one}-{other}.example, Two <two@{one}-{other}.example>"}
            )
            for one in WORDS
            for other in WORDS
        }
        for (one, other), contact in cls.several.items():
            for email, word in zip(cls.Address._split(contact.email), (one, other), strict=True):
                if word:
                    cls.Address.set_email_tracking([email], word, "form")

    def test_stricter(self):
        """Test that of two addresses the stricter counts, that both are shown, and that both are found by it."""
        expected = {"declined": set(), "agreed": set(), "unknown": set()}
        for (one, other), contact in self.several.items():
            word = "declined" if "declined" in (one, other) else "agreed" if one == other == "agreed" else "unknown"
            with self.subTest(one=one, other=other):
                self.assertEqual(contact.email_tracking, word)
                self.assertEqual(bool(contact.email_tracking_date), word != "unknown")
                lines = (contact.email_tracking_details or "").splitlines()
                self.assertEqual(len(lines), 2 if one or other else 0)
            expected[word].add(contact.id)
        several = [contact.id for contact in self.several.values()]
        lead = self.create_lead(email_from="one@declined-agreed.example")
        for words in (["agreed"], ["declined"], ["unknown"], ["agreed", "declined"], ["unknown", "agreed"], [False]):
            with self.subTest(words=words):
                domain = [("email_tracking", "in", words)]
                found = self.Partner.search([("id", "in", several), *domain])
                wanted = set().union(*(expected[word or "unknown"] for word in words))
                self.assertEqual(set(found.ids), wanted)
                others = self.Partner.search([("id", "in", several), ("email_tracking", "not in", words)])
                self.assertEqual(set(others.ids), set(several) - wanted)
                self.assertEqual(lead in self.env["crm.lead"].search(domain), "declined" in words)
        nobody = self.Partner.create({"name": "Without an address"})
        self.assertIn(nobody, self.Partner.search([("email_tracking", "=", "unknown")]))
        self.assertNotIn(nobody, self.Partner.search([("email_tracking", "!=", "unknown")]))
        self.assertEqual(nobody.email_tracking, "unknown")

    def test_many_are_read_at_once(self):
        """Test that a list of contacts takes as many queries for many as for few."""
        contacts = self.Partner.create([{"name": f"{n}", "email": f"{n}@example.org"} for n in range(100)])
        self.say("agreed", *contacts.mapped("email"))
        fields_ = ["email_tracking", "email_tracking_date", "email_tracking_details"]
        counts = []
        for some in (contacts[:2], contacts[:2], contacts):  # the first one fills the caches
            with self.counting() as count:
                some.read(fields_)
            counts += count
        self.assertEqual(counts[2], counts[1])

    def test_by_hand(self):
        """Test that a salesperson sets the word on the forms of a contact and a lead, and that both tell who did it."""
        lead = self.create_lead(email_from="lead@example.org")
        for record in (self.contact, lead):
            with self.subTest(record=record._name), Form(record.with_user(self.salesperson)) as form:
                self.assertEqual(form.email_tracking, "unknown")
                form.email_tracking = "declined"
            self.assertEqual(record.email_tracking, "declined")
            self.assertIn(", noted by Sally Salesperson", record.email_tracking_details)
            [line] = self.read_chatter(record)
            self.assertIn("Declined, noted by Sally Salesperson", line)
            self.assertEqual(record.message_ids[0].author_id, self.salesperson.partner_id)
            address = self.find(record.email_normalized)
            self.assertEqual((address.email_tracking_uid, address.email_tracking_source), (self.salesperson, "hand"))

    def test_new_contact(self):
        """Test that a new contact is created with a word, by the form and by code."""
        with Form(self.Partner.with_user(self.salesperson)) as form:
            form.name = "New"
            form.email = "new@example.org"
            form.email_tracking = "agreed"
        self.assertEqual(self.find("new@example.org").email_tracking, "agreed")
        contacts = self.Partner.create(
            [{"name": "C", "email": f"{word}@code.example", "email_tracking": word} for word in ("agreed", "declined")]
        )
        self.assertEqual(contacts.mapped("email_tracking"), ["agreed", "declined"])

    def test_changed_address(self):
        """Test that a changed address starts as unknown or with its own word, also while it is typed into the form."""
        self.say("declined", "ada@example.org")
        self.say("agreed", "known@example.org")
        with Form(self.contact.with_user(self.salesperson)) as form:
            form.email = "changed@example.org"
            self.assertEqual(form.email_tracking, "unknown")
            self.assertFalse(form.email_tracking_details)
            form.email = "known@example.org"
            self.assertEqual(form.email_tracking, "agreed")
            self.assertIn("form Newsletter", form.email_tracking_details)
        self.assertEqual(self.contact.email_tracking, "agreed")
        known = self.find("known@example.org")
        self.assertEqual(len(known.consent_ids), 1, "nobody has said anything anew")
        with Form(self.contact.with_user(self.salesperson)) as form:
            form.email = "changed@example.org"
        self.assertEqual(self.contact.email_tracking, "unknown")
        self.assertFalse(self.find("changed@example.org"))
        self.contact.email = "ada@example.org"
        self.assertEqual(self.contact.email_tracking, "declined")

    def test_address_and_word_together(self):
        """Test that a word that is set together with a new address is the new one's."""
        self.contact.write({"email_tracking": "declined", "email": "changed@example.org"})
        self.assertEqual(self.find("changed@example.org").email_tracking, "declined")
        self.assertFalse(self.find("ada@example.org"))

    def test_several_addresses_by_hand(self):
        """Test that a word that is set on a contact counts for each address that had another one."""
        contact = self.several[None, "agreed"]
        contact.email_tracking = "agreed"
        one, two = (self.find(email) for email in self.Address._split(contact.email))
        self.assertEqual((one.email_tracking, two.email_tracking), ("agreed", "agreed"))
        self.assertEqual((one.email_tracking_source, two.email_tracking_source), ("hand", "form"))

    def test_shared_address(self):
        """Test that contacts who share an address share its word, and that of two words at once the stricter counts."""
        twin = self.contact.copy({"email": "Ada Twin <ada@example.org>"})
        (self.contact | twin).email_tracking = "agreed"
        self.assertEqual(len(self.find("ada@example.org").consent_ids), 1)
        self.contact.email_tracking = "declined"
        self.assertEqual(twin.email_tracking, "declined")
        self.assertEqual(len(self.read_chatter(twin)), 2)
        for words in (("agreed", "declined"), ("declined", "agreed")):
            email = f"{words[0]}@shared.example"
            self.Partner.create([{"name": "S", "email": email, "email_tracking": word} for word in words])
            self.assertEqual(self.find(email).email_tracking, "declined")

    def test_no_address(self):
        """Test that a word is never lost silently: without an address there is nothing that it could belong to."""
        with self.assertRaises(ValidationError):
            self.Partner.create({"name": "Without", "email_tracking": "declined"})
        self.assertTrue(self.Partner.create({"name": "Without", "email_tracking": "unknown"}))

    def test_deleted_contact(self):
        """Test that the word outlives the contact, and is there for the next one with the address."""
        self.say("declined", "ada@example.org")
        self.contact.unlink()
        self.assertEqual(self.find("ada@example.org").email_tracking, "declined")
        again = self.Partner.create({"name": "Ada again", "email": "ada@example.org"})
        self.assertEqual(again.email_tracking, "declined")

    def test_who_may(self):
        """Test that who may not write a contact does not set its word, and that a colleague sees it all the same."""
        self.say("agreed", "ada@example.org")
        reader = new_test_user(self.env, "sendgrid_reader", groups="base.group_user")
        contact = self.contact.with_user(reader)
        self.assertEqual(contact.email_tracking, "agreed")
        self.assertIn("form Newsletter", contact.email_tracking_details)
        with self.assertRaises(AccessError), mute_logger("odoo.addons.base.models.ir_model"):
            contact.email_tracking = "declined"
        self.env.invalidate_all()
        self.assertEqual(self.contact.email_tracking, "agreed")

    # ------------------------------------------------------------
    # MERGE
    # ------------------------------------------------------------

    def _merge(self, *words, emails=("first@example.org", "second@example.org")):
        """Merge contacts by core's dialog, the first into the second.

        :return: the word of the contact that remains
        """
        contacts = self.Partner.create([{"name": "Same", "email": email} for email in emails])
        for contact, word in zip(contacts, words, strict=True):
            if word:
                self.say(word, contact.email)
        wizard = self.env["base.partner.merge.automatic.wizard"].create(
            {"partner_ids": [Command.set(contacts.ids)], "dst_partner_id": contacts[-1].id, "state": "selection"}
        )
        wizard.action_merge()
        self.env.invalidate_all()
        self.assertEqual(contacts.exists(), contacts[-1])
        return contacts[-1].email_tracking

    def test_merged_contacts(self):
        """Test that who declined at one address declines at the one that remains. No other word moves."""
        for number, (first, second, expected) in enumerate(
            [
                ("declined", "agreed", "declined"),
                ("declined", None, "declined"),
                ("agreed", "declined", "declined"),
                ("agreed", None, "unknown"),
                (None, "agreed", "agreed"),
            ]
        ):
            emails = f"first{number}@example.org", f"second{number}@example.org"
            with self.subTest(first=first, second=second):
                self.assertEqual(self._merge(first, second, emails=emails), expected)
                self.assertEqual(self.find(emails[0]).email_tracking, first or False)
        self.assertIn("merged contacts", self.find("second0@example.org").consent_ids[0].form)

    def test_merged_contacts_with_one_address(self):
        """Test that contacts who share the address keep its word when they are merged."""
        self.assertEqual(self._merge(None, "declined", emails=["same@example.org"] * 2), "declined")
        self.assertEqual(len(self.find("same@example.org").consent_ids), 1)

    def test_merged_leads(self):
        """Test the same for leads."""
        leads = self.create_lead(email_from="kept@example.org", probability=50)
        leads |= self.create_lead(email_from="gone@example.org", probability=10, type="lead")
        self.say("agreed", "kept@example.org")
        self.say("declined", "gone@example.org")
        kept = leads.merge_opportunity()
        self.assertEqual(kept.email_normalized, "kept@example.org")
        self.assertEqual(kept.email_tracking, "declined")

    def test_merged_leads_whose_first_has_no_address(self):
        """Test that the address that the merge gives to the remaining lead takes the stricter word as well."""
        leads = self.create_lead(probability=90)
        leads |= self.create_lead(email_from="agreed@example.org", probability=50)
        leads |= self.create_lead(email_from="declined@example.org", probability=10)
        self.say("agreed", "agreed@example.org")
        self.say("declined", "declined@example.org")
        kept = leads.merge_opportunity()
        self.assertEqual(kept, leads[0])
        self.assertEqual(kept.email_normalized, "agreed@example.org")
        self.assertEqual(kept.email_tracking, "declined")
        self.assertIn("merged leads", self.find("agreed@example.org").consent_ids[0].form)

    # ------------------------------------------------------------
    # IMPORT
    # ------------------------------------------------------------

    def _import(self, rows, columns=("name", "email", "email_tracking"), model="res.partner"):
        """Import a file as the import page does, as the salesperson.

        :param rows: list of lists of texts
        """
        lines = "\n".join(",".join(f'"{cell}"' for cell in row) for row in [columns, *rows])
        wizard = (
            self.env["base_import.import"]
            .with_user(self.salesperson)
            .create({"res_model": model, "file": lines.encode(), "file_name": "contacts.csv", "file_type": "text/csv"})
        )
        options = {"quoting": '"', "separator": ",", "has_headers": True}
        result = wizard.execute_import(list(columns), list(columns), options)
        self.env.invalidate_all()
        return result

    def test_import(self):
        """Test an import page's file: each word, an empty cell, the words as people see them, and a wrong one."""
        rows = [
            ["A", "a@import.example", "agreed"],
            ["D", "d@import.example", "Declined"],
            ["E", "e@import.example", ""],
            ["U", "u@import.example", "Not asked"],
        ]
        result = self._import(rows)
        self.assertFalse([message for message in result["messages"] if message["type"] == "error"])
        contacts = self.Partner.browse(result["ids"])
        self.assertEqual(contacts.mapped("email_tracking"), ["agreed", "declined", "unknown", "unknown"])
        address = self.find("d@import.example")
        self.assertEqual((address.email_tracking_source, address.email_tracking_uid), ("import", self.salesperson))
        self.assertIn("Declined, by an import of Sally Salesperson", self.read_chatter(contacts[1])[0])
        self.assertFalse(self.find("e@import.example") | self.find("u@import.example"))
        result = self._import([["X", "x@import.example", "perhaps"]])
        self.assertTrue(result["messages"])
        self.assertFalse(self.find("x@import.example"))

    def test_load(self):
        """Test `load`, which the import page calls: contacts that exist learn their word; leads too."""
        columns = [".id", "email_tracking"]
        result = self.Partner.load(columns, [[str(self.contact.id), "agreed"]])
        self.assertEqual(result["ids"], self.contact.ids)
        self.assertEqual(self.contact.email_tracking, "agreed")
        self.assertEqual(self.find("ada@example.org").email_tracking_source, "import")
        self.Partner.load(columns, [[str(self.contact.id), ""]])
        self.assertEqual(self.contact.email_tracking, "agreed", "an empty cell says nothing")
        self.assertEqual(len(self.find("ada@example.org").consent_ids), 1)
        result = self.env["crm.lead"].load(
            ["name", "email_from", "email_tracking"], [["L", "lead@example.org", "declined"]]
        )
        self.assertEqual(self.env["crm.lead"].browse(result["ids"]).email_tracking, "declined")

    def test_import_takes_nothing_back(self):
        """Test that an import does not turn declined into agreed, in whatever order rows of one address come."""
        self.say("declined", "ada@example.org", source="page")
        for word in ("agreed", "unknown"):
            self.Partner.load([".id", "email_tracking"], [[str(self.contact.id), word]])
            self.assertEqual(self.contact.email_tracking, "declined")
        self.assertEqual(self.find("ada@example.org").email_tracking_source, "page")
        for words in (("agreed", "declined"), ("declined", "agreed")):
            email = f"{words[0]}-first@import.example"
            result = self._import([["S", email, word] for word in words])
            self.assertEqual(self.Partner.browse(result["ids"]).mapped("email_tracking"), ["declined"] * 2)
            again = [[str(id_), word] for id_, word in zip(result["ids"], words, strict=True)]
            self.Partner.load([".id", "email_tracking"], again)
            self.assertEqual(self.find(email).email_tracking, "declined")

    def test_many_are_imported_at_once(self):
        """Test that the rows of an import are noted together."""
        more = []
        for number in (10, 10, 90):  # the first one fills the caches
            counts = []
            for word in ("", "agreed"):
                rows = [[f"{one}", f"{one}-{len(more)}@{word}.example", word] for one in range(number)]
                with self.counting() as count:
                    self.Partner.load(["name", "email", "email_tracking"], rows)
                counts += count
            more.append(counts[1] - counts[0])
        self.assertLess(more[2] - more[1], 10)

    # ------------------------------------------------------------
    # BULK
    # ------------------------------------------------------------

    def _ask(self, records, **values):
        """Answer the dialog that the list's action opens, as the salesperson. Return its notification."""
        action = records.with_user(self.salesperson).action_set_email_tracking()
        dialog = self.env[action["res_model"]].with_user(self.salesperson).with_context(**action["context"])
        with Form(dialog) as form:
            for name, value in values.items():
                setattr(form, name, value)
        return form.record.action_set()["params"]

    def test_bulk(self):
        """Test the list's action: one word for many, where it was said, and what was left alone."""
        contacts = self.contact | self.Partner.create([{"name": "B", "email": "b@example.org"}, {"name": "None"}])
        notice = self._ask(contacts, word="agreed", form="Spring fair", wording_id=self.wording)
        self.assertIn("Addresses for which it was noted: 2.", notice["message"])
        self.assertIn("Records without an address: 1.", notice["message"])
        self.assertEqual(contacts.mapped("email_tracking"), ["agreed", "agreed", "unknown"])
        self.assertIn(
            "noted by Sally Salesperson, Spring fair, wording Newsletter (version 1)",
            self.contact.email_tracking_details,
        )
        leads = self.create_lead(email_from="lead@example.org")
        self._ask(leads, word="declined")
        self.assertEqual(leads.email_tracking, "declined")
        self._ask(leads, word="unknown")
        self.assertEqual(leads.email_tracking, "unknown")

    def test_bulk_leaves_who_declined(self):
        """Test that the list's action takes nothing back from who declined, and says so before and after."""
        contacts = self.Partner.create([{"name": name, "email": f"{name}@example.org"} for name in "abcd"])
        page, hand, agreed, _unknown = emails = contacts.mapped("email")
        self.say("declined", page, source="page")
        self.say("declined", hand, source="hand")
        self.say("agreed", agreed)
        action = contacts.with_user(self.salesperson).action_set_email_tracking()
        dialog = self.env[action["res_model"]].with_user(self.salesperson).with_context(**action["context"])
        with Form(dialog) as form:
            for word, count in (("agreed", 2), ("declined", 0), ("unknown", 1), ("agreed", 2)):
                form.word = word
                self.assertEqual(form.kept_count, count)
            # Somebody declines while the dialog is open.
            self.say("declined", agreed, source="page")
        notice = form.record.action_set()["params"]
        self.assertIn("Addresses for which it was noted: 1.", notice["message"])
        self.assertIn("Addresses that declined, and that were left alone: 3.", notice["message"])
        self.assertTrue(notice["sticky"])
        self.assertEqual(contacts.mapped("email_tracking"), ["declined"] * 3 + ["agreed"])
        # By mistake can only be what one of us has noted.
        notice = self._ask(contacts, word="unknown")
        self.assertIn("left alone: 2.", notice["message"])
        self.assertEqual([self.find(email).email_tracking for email in emails], ["declined", False, "declined", False])
        # A person's own page can correct it.
        contacts[0].with_user(self.salesperson).email_tracking = "agreed"
        self.assertEqual(self.find(page).email_tracking, "agreed")

    def test_addresses(self):
        """Test that administrators set the word of addresses that nobody else has, and that others cannot."""
        self.say("agreed", "one@example.org", "two@example.org")
        addresses = self.find("one@example.org") | self.find("two@example.org")
        action = addresses.action_set_email_tracking()
        with Form(self.env[action["res_model"]].with_context(**action["context"])) as form:
            form.word = "declined"
        self.assertIn("noted: 2.", form.record.action_set()["params"]["message"])
        self.assertEqual(addresses.mapped("email_tracking"), ["declined", "declined"])
        for some, kept in ((addresses, 2), (addresses[0], 0)):
            with Form(
                self.env[action["res_model"]].with_context(default_res_model=addresses._name, default_res_ids=some.ids)
            ) as form:
                form.word = "agreed"
                self.assertEqual(form.kept_count, kept)
            form.record.action_set()
        self.assertEqual(addresses.mapped("email_tracking"), ["agreed", "declined"])
        dialog = self.env["sendgrid.consent.ask"].with_user(self.salesperson)
        with self.assertRaises(AccessError):
            dialog.create({"res_model": "sendgrid.address", "res_ids": addresses.ids, "word": "agreed"}).action_set()

    def test_bulk_who_may(self):
        """Test that the list's action leaves alone what the user may not write, also where the ids are his own."""
        other = self.env["crm.lead"].create({"name": "Other", "email_from": "other@example.org", "user_id": 1})
        own = self.create_lead(email_from="own@example.org")
        dialog = self.env["sendgrid.consent.ask"].with_user(self.salesperson)
        values = {"res_model": "crm.lead", "res_ids": (own | other).ids, "word": "declined"}
        notice = dialog.create(values).action_set()["params"]
        self.assertIn("left alone: 1", notice["message"])
        self.assertEqual((own.email_tracking, other.email_tracking), ("declined", "unknown"))
        with self.assertRaises(UserError):
            dialog.create({**values, "res_model": "res.users"}).action_set()


@tagged("-standard", "sendgrid_applications", "post_install", "-at_install")
class TestMailingContact(ConsentCase):
    """Mailing contacts, in a database that has mass mailing. `end_to_end/test_visibility.py` runs it."""

    __test__ = False  # pytest's database does not have it

    def test_page_and_list(self):
        """Test that a mailing contact's page sets the word, and that the list has the action."""
        contacts = self.env["mailing.contact"].create([{"email": f"{name}@example.org"} for name in "ab"])
        with Form(contacts[0], "mass_mailing.mailing_contact_view_form") as form:
            self.assertEqual(form.email_tracking, "unknown")
            form.email_tracking = "declined"
        self.assertEqual(self.find("a@example.org").email_tracking, "declined")
        arch = contacts.get_view(view_type="list")["arch"]
        self.assertIn('name="action_set_email_tracking"', arch)
        Dialog = self.env["sendgrid.consent.ask"].with_context(**contacts.action_set_email_tracking()["context"])
        with Form(Dialog) as form:
            form.word = "agreed"
        form.record.action_set()
        self.assertEqual(contacts.mapped("email_tracking"), ["declined", "agreed"])


@tagged("post_install", "-at_install")
class TestCalls(SendgridMixin, HttpCase):
    """Who calls from outside."""

    def _call(self, login, model, method, *arguments):
        """Call a method as a web client does. Return the error's name, or None."""
        self.authenticate(login, login)
        answer = self.url_open(
            f"/web/dataset/call_kw/{model}/{method}",
            data=json.dumps({"params": {"model": model, "method": method, "args": arguments, "kwargs": {}}}),
            headers={"Content-Type": "application/json"},
        ).json()
        return answer.get("error", {}).get("data", {}).get("name")

    @mute_logger("odoo.http", "odoo.addons.base.models.ir_model", "odoo.addons.base.models.ir_rule")
    def test_calls(self):
        """Test that nobody sets or reads a word by a call, but those who may write the contact."""
        for name, groups in {
            "portal": "base.group_portal",
            "reader": "base.group_user",
            "admin": "base.group_system",
        }.items():
            new_test_user(self.env, f"sendgrid_{name}", groups=groups)
        Address = self.env["sendgrid.address"]
        arguments = (["ada@example.org"], "agreed", "form")
        refused = ("sendgrid_portal", "sendgrid_reader", self.salesperson.login, None)
        for login in refused:
            with self.subTest(login=login):
                self.assertTrue(self._call(login, "sendgrid.address", "set_email_tracking", *arguments))
                for model in ("sendgrid.address", "sendgrid.consent"):
                    self.assertTrue(self._call(login, model, "search_read", [], ["display_name"]))
        self.assertFalse(Address.search([("email", "=", "ada@example.org")]))
        for login in ("sendgrid_portal", None):
            read = ("res.partner", "read", self.contact.ids, ["email_tracking"])
            self.assertTrue(self._call(login, *read))
        self.assertTrue(
            self._call("sendgrid_reader", "res.partner", "write", self.contact.ids, {"email_tracking": "agreed"})
        )
        self.assertFalse(self._call("sendgrid_admin", "sendgrid.address", "set_email_tracking", *arguments))
        self.assertEqual(Address.search([("email", "=", "ada@example.org")]).email_tracking, "agreed")
        self.assertFalse(
            self._call(self.salesperson.login, "res.partner", "write", self.contact.ids, {"email_tracking": "declined"})
        )
        self.env.invalidate_all()
        self.assertEqual(self.contact.email_tracking, "declined")

    def test_form_of_a_website(self):
        """Test that a form's own code calls it for its visitor, who is nobody's user."""
        public = self.env.ref("base.public_user")
        Address = self.env["sendgrid.address"].with_user(public)
        with self.assertRaises(AccessError):
            Address.set_email_tracking(["ada@example.org"], "agreed", "form")
        address = Address.sudo().set_email_tracking(["ada@example.org"], "agreed", "form", "Newsletter")
        self.assertEqual((address.email_tracking, address.email_tracking_uid.id), ("agreed", False))


@tagged("post_install", "-at_install")
class TestAtOnce(CommittedCase):
    """Two people say a word about one address at once."""

    def test_at_once(self):
        """Test that one waits for the other, and that the last one counts, with both words as proof."""
        contact = self.create_contact("ada@committed.example")
        Address = self.env["sendgrid.address"]
        address = Address.set_email_tracking(["ada@committed.example"], "agreed", "form")
        with self.rival(address, "email_tracking", "declined"):
            say = partial(Address.set_email_tracking, ["ada@committed.example"], "agreed", "page")
            retrying(say, self.env)
        self.assertEqual(address.email_tracking, "agreed")
        self.assertTrue(address.unmeasured_until, "the other's word was seen")
        self.assertEqual(address.consent_ids.mapped("source"), ["page", "form"])
        self.assertEqual(contact.email_tracking, "agreed")
