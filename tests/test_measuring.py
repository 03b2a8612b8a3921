"""The level that is decided for each recipient of each mail: what leaves, what arrives, and what is stored."""

import base64
import smtplib
import urllib.request
from email import message_from_bytes, policy
from email.message import EmailMessage
from unittest.mock import patch

from markupsafe import Markup

from odoo import Command
from odoo.fields import Datetime
from odoo.tests import new_test_user, tagged
from odoo.tools import SQL

from odoo.addons.base.models.ir_mail_server import IrMail_Server

from ..tools.api import client
from ..tools.sending.notice_token import LOOK
from ..tools.sending.smtpapi import no_tracking
from .common import SendgridCase
from .test_api_sending import refused
from .test_corpus import CorpusCase

LINK = "https://shop.example.com/cheese?kind=blue&n=2"
BODY = f'<p>Hello, <a href="{LINK.replace("&", "&amp;")}">look</a></p>'
RESULT = {"full": ("full", False)} | {
    reason: ("none", reason) for reason in ("wish", "company", "mail", "account", "access", "others")
}


class MeasuringMixin:
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.Measuring = cls.env["sendgrid.measuring"]
        cls.company = cls.env.company
        cls.france, cls.chile = cls.env.ref("base.fr"), cls.env.ref("base.cl")
        cls.company.write({"sendgrid_unasked": "everybody", "country_id": cls.chile.id})

    def say(self, word, *emails):
        """Let the owners of addresses agree or decline."""
        Address = self.env["sendgrid.address"]
        Address.search([("email", "in", emails)]).unlink()
        Address.create([{"email": email, "email_tracking": word} for email in emails])

    def assertLevels(self, emails, **levels):
        """Assert the levels of documents, by the local part of their addresses."""
        found = {email.recipient.partition("@")[0]: (email.measured, email.unmeasured_reason) for email in emails}
        self.assertEqual(found, {name: RESULT[level] for name, level in levels.items()})


@tagged("post_install", "-at_install")
class TestReasons(MeasuringMixin, SendgridCase):
    """Whom a company does not measure, and why."""

    def get_reason(self, address):
        [reason] = self.Measuring._get_reasons([address], self.company).values()
        return reason

    def test_word_and_setting(self):
        """Test that the word decides, and else the setting; where nobody has chosen, all are measured as before."""
        asked = {"email": "fr@example.org", "name": "Fr", "country_id": self.france.id}
        other = {"email": "cl@example.org", "name": "Cl", "country_id": self.chile.id}
        self.env["res.partner"].create([asked, other])
        for setting, expected in {
            False: (None, None, None),
            "everybody": (None, None, None),
            "nobody": ("company", "company", "company"),
            "country": ("company", None, None),
        }.items():
            for word in (False, "agreed", "declined"):
                with self.subTest(setting=setting, word=word):
                    self.company.sendgrid_unasked = setting
                    addresses = ("fr@example.org", "cl@example.org", "unknown@example.org")
                    self.say(word, *addresses)
                    found = self.Measuring._get_reasons(addresses, self.company)
                    said = {"agreed": (None,) * 3, "declined": ("wish",) * 3}
                    self.assertEqual(found, dict(zip(addresses, said.get(word, expected), strict=True)))

    def test_countries(self):
        """Test where the country of an address is looked for, and that the stricter of several counts."""
        self.company.sendgrid_unasked = "country"
        Partner, Lead = self.env["res.partner"], self.env["crm.lead"]
        france, chile = self.france.id, self.chile.id
        Partner.create(
            [
                {"name": "A", "email": "two@example.org", "country_id": chile},
                {"name": "B", "email": "Two@Example.org", "country_id": france, "active": False},
                {"name": "C", "email": "None <none@example.org>"},
                {"name": "D", "email": "first@example.org, Second <Second@example.org>", "country_id": france},
                {"name": "E", "email": "user@bücher.example", "country_id": france},
                {"name": "F", "email": "chile@example.org; more@example.org", "country_id": chile},
            ]
        )
        Lead.create(
            [
                {"name": "G", "email_from": "lead@example.org", "country_id": france},
                {"name": "H", "email_from": "lost@example.org", "country_id": france, "active": False},
                {"name": "I", "email_from": "chile@example.org", "country_id": chile},
            ]
        )
        for address, expected in {
            "two@example.org": "company",
            "none@example.org": None,
            "first@example.org": "company",
            "second@example.org": "company",
            "cond@example.org": None,
            "user@bücher.example": "company",
            "user@xn--bcher-kva.example": "company",
            "USER@BÜCHER.example": "company",
            "more@example.org": None,
            "lead@example.org": "company",
            "lost@example.org": "company",
            "chile@example.org": None,
        }.items():
            with self.subTest(address):
                self.assertEqual(self.get_reason(address), expected)
        # Where no country is known, the company's own one counts.
        self.company.country_id = france
        self.assertEqual(self.get_reason("none@example.org"), "company")
        self.assertEqual(self.get_reason("unknown@example.org"), "company")
        self.assertIsNone(self.get_reason("more@example.org"))
        # Where the company has none either, no country asks. The dialog that connects an account says so.
        self.company.country_id = False
        self.assertIsNone(self.get_reason("unknown@example.org"))
        self.assertEqual(self.get_reason("lead@example.org"), "company")

    def test_list_of_countries(self):
        """Test the list, and that an administrator's change of it counts."""
        group = self.env.ref("sendgrid_tracking.country_group_consent")
        codes = set(group.country_ids.mapped("code"))
        self.assertLessEqual(set(self.env.ref("base.europe").country_ids.mapped("code")), codes)
        self.assertEqual(codes - set(self.env.ref("base.europe").country_ids.mapped("code")), {
            "IS", "LI", "NO", "GB", "AX", "GF", "GP", "MQ", "YT", "RE", "MF",
        })  # fmt: skip
        self.company.sendgrid_unasked = "country"
        self.env["res.partner"].create({"name": "A", "email": "cl@example.org", "country_id": self.chile.id})
        self.assertIsNone(self.get_reason("cl@example.org"))
        group.country_ids += self.chile
        self.assertEqual(self.get_reason("cl@example.org"), "company")
        # Without the list, no country is known not to ask.
        group.unlink()
        self.assertEqual(self.get_reason("cl@example.org"), "company")

    def test_one_query(self):
        """Test that any number of addresses and companies costs one query."""
        companies = self.company + self.env["res.company"].create(
            [{"name": "French", "country_id": self.france.id}, {"name": "None", "sendgrid_unasked": False}]
        )
        self.company.sendgrid_unasked = "country"
        for number in (1, 300):
            addresses = [f"a{n}@example.org" for n in range(number)]
            self.env.flush_all()
            self.Measuring._get_reasons(addresses, self.company)
            before = self.env.cr.sql_log_count
            found = self.Measuring._get_reasons_of_companies(addresses, companies.ids)
            self.assertEqual(self.env.cr.sql_log_count - before, 1)
            self.assertEqual([set(one.values()) for one in found.values()], [{None}, {"company"}, {None}])
        self.assertEqual(self.Measuring._get_reasons([], self.company), {})

    def _get_plan(self, addresses):
        """Return PostgreSQL's plan of the query after it ran, by its lines."""
        execute, queries = self.env.execute_query, []
        with patch.object(type(self.env), "execute_query", lambda _env, query: queries.append(query) or []):
            self.Measuring._look_up(addresses, self.company.ids)
        [query] = queries
        return [line for (line,) in execute(SQL("EXPLAIN ANALYZE %s", query))]

    def test_indexes(self):
        """Test that no table is read as a whole, nor at all where nothing depends on countries."""
        tables = ["res_partner", "crm_lead"] + ["mailing_contact"] * ("mailing.contact" in self.env)
        for table in tables:
            is_lead = table == "crm_lead"
            self.env.cr.execute(
                SQL(
                    """INSERT INTO %s (name, %s, email_normalized, country_id %s)
                       SELECT 'n' || n, 'n' || n || '@example.net', 'n' || n || '@example.net', %s %s
                         FROM generate_series(1, 20000) n;
                       ANALYZE %s""",
                    SQL.identifier(table),
                    SQL.identifier("email_from" if is_lead else "email"),
                    SQL(", type" if is_lead else ""),
                    self.chile.id,
                    SQL(", 'lead'" if is_lead else ""),
                    SQL.identifier(table),
                )
            )
        self.env["res.partner"].create({"name": "F", "email": "fr@example.org", "country_id": self.france.id})
        self.say("agreed", "yes@example.org")

        def read_tables(addresses):
            """Return the tables of which something was read, and those that were read as a whole."""
            plan = self._get_plan(addresses)
            read = [line for line in plan if "Scan" in line and "never executed" not in line]
            return (
                {table for table in tables for line in read if f" {table} record" in line or f" on {table} " in line},
                {table for table in tables for line in read if f"Seq Scan on {table} " in line},
            )

        for setting in (False, "everybody", "nobody"):
            self.company.sendgrid_unasked = setting
            self.env.flush_all()
            self.assertEqual(read_tables(["n1@example.net"])[0] - {"res_partner"}, set(), setting)
        self.company.sendgrid_unasked = "country"
        self.env.flush_all()
        many = [f"n{number}@example.net" for number in range(1, 300)]
        for addresses in (["n1@example.net"], many, ["yes@example.org"], ["fr@example.org"]):
            _read, as_a_whole = read_tables(addresses)
            self.assertFalse(as_a_whole & {"res_partner", "crm_lead"}, addresses[:2])
        for addresses in (["yes@example.org"], ["fr@example.org"]):
            self.assertNotIn("mailing_contact", read_tables(addresses)[0], addresses)


@tagged("post_install", "-at_install")
class TestLevels(MeasuringMixin, SendgridCase):
    """What leaves, up to the wire, and what documents store."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.colleague = new_test_user(
            cls.env, "sendgrid_test_colleague", groups="base.group_user", email="colleague@example.com"
        ).partner_id
        cls.bob = cls.env["res.partner"].create({"name": "Bob", "email": "bob@example.org"})
        cls.unmeasured = no_tracking()["filters"]

    def test_precedence(self):
        """Test which of several reasons is told."""
        self.company.sendgrid_unasked = "nobody"
        _sent, email = self.send_mail()
        self.assertLevels(email, ada="company")
        self.account.write({"tracking_settings_date": Datetime.now(), "open_tracking": False, "click_tracking": False})
        self.assertLevels(self.send_mail()[1], ada="account")
        self.assertLevels(self.send_mail(sendgrid_is_unmeasured=True)[1], ada="mail")
        self.say("declined", "ada@example.org")
        self.assertLevels(self.send_mail(sendgrid_is_unmeasured=True)[1], ada="wish")
        self.assertLevels(self.send_mail(sendgrid_is_unmeasured=True, sendgrid_is_about_access=True)[1], ada="access")
        self.assertLevels(email, ada="company")

    def test_account(self):
        """Test that an account counts as tracking nothing only if its settings were read and both are off."""
        for open_tracking, click_tracking, date, level in (
            (False, False, False, "full"),
            (True, False, Datetime.now(), "full"),
            (False, True, Datetime.now(), "full"),
            (False, False, Datetime.now(), "account"),
        ):
            self.account.write(
                {
                    "tracking_settings_date": date,
                    "open_tracking": open_tracking,
                    "click_tracking": click_tracking,
                }
            )
            self.assertLevels(self.send_mail()[1], ada=level)

    def test_several_recipients(self):
        """Test that a copy takes the lowest level of its recipients, and that no other learns whose it was."""
        to = {"email_to": "Eve <eve@example.org>, x@bücher.example", "email_cc": "Cc@example.org"}
        self.say("declined", "cc@example.org")
        sent, emails = self.send_mail(**to, recipient_ids=self.bob.ids)
        self.assertLevels(emails, bob="full", cc="wish", eve="others", x="others")
        for copy in sent:
            self.assertEqual(copy.smtpapi.get("filters"), self.unmeasured if len(copy.recipients) > 1 else None)
        self.say(False, "cc@example.org")
        self.say("declined", "x@xn--bcher-kva.example")
        self.assertLevels(self.send_mail(**to)[1], cc="others", eve="others", x="wish")
        self.say("agreed", "x@xn--bcher-kva.example")
        self.assertLevels(self.send_mail(**to)[1], cc="full", eve="full", x="full")

    def test_colleagues(self):
        """Test that a copy to colleagues only has no document, and that its level is decided like any other's."""
        to = {"recipient_ids": self.colleague.ids}
        name = {"unique_args": {"odoo_db": self.Email._get_odoo_db()}}
        unmeasured = name | no_tracking()

        def assertLeaves(expected, **values):
            [sent], emails = self.send_mail(**to, **values)
            self.assertEqual((sent.smtpapi, len(emails)), (expected, 0))

        assertLeaves(name)
        for values in ({"sendgrid_is_unmeasured": True}, {"sendgrid_is_about_access": True}):
            assertLeaves(unmeasured, **values)
        self.company.sendgrid_unasked = "country"
        assertLeaves(name)
        self.colleague.country_id = self.france
        assertLeaves(unmeasured)
        self.colleague.country_id = self.chile
        self.company.sendgrid_unasked = "nobody"
        assertLeaves(unmeasured)
        self.say("agreed", "colleague@example.com")
        assertLeaves(name)
        self.say("declined", "colleague@example.com")
        self.company.sendgrid_unasked = "everybody"
        assertLeaves(unmeasured)
        self.account.write({"tracking_settings_date": Datetime.now(), "open_tracking": False, "click_tracking": False})
        self.say("agreed", "colleague@example.com")
        assertLeaves(unmeasured)
        self.account.tracking_settings_date = False
        self.company.sendgrid_unasked = "nobody"
        # Together with a stranger, all addresses count.
        self.say(False, "colleague@example.com")
        self.say("agreed", "eve@example.org")
        _sent, emails = self.send_mail(email_to="eve@example.org, colleague@example.com")
        self.assertLevels(emails, eve="others")
        self.say("agreed", "colleague@example.com")
        _sent, emails = self.send_mail(email_to="eve@example.org, colleague@example.com")
        self.assertLevels(emails, eve="full")

    def test_other_modules_settings(self):
        """Test that another module's settings stay where a mail is measured, and never win where it is not."""
        settings = (
            '{"category": "a", "filters": {"opentrack": {"settings": {"enable": 1, "replace": "%o%"}}, "clicktrack": '
            '{"settings": {"enable": 1}}, "subscriptiontrack": {"settings": {"enable": 1}}}}'
        )
        headers = {"headers": repr({"X-SMTPAPI": settings})}
        [sent], _email = self.send_mail(**headers)
        self.assertEqual(
            sent.smtpapi["filters"],
            {
                "opentrack": {"settings": {"enable": 1, "replace": "%o%"}},
                "clicktrack": {"settings": {"enable": 1}},
                "subscriptiontrack": {"settings": {"enable": 1}},
            },
        )
        self.say("declined", "ada@example.org")
        [sent], _email = self.send_mail(**headers)
        self.assertEqual(
            sent.smtpapi["filters"],
            {
                "opentrack": {"settings": {"enable": 0, "replace": "%o%"}},
                "clicktrack": {"settings": {"enable": 0, "enable_text": 0}},
                "subscriptiontrack": {"settings": {"enable": 1}},
            },
        )
        self.assertEqual(sent.smtpapi["category"], "a")
        [sent], _email = self.send_mail(headers=repr({"X-SMTPAPI": '{"filters": [], "to": null}'}))
        self.assertEqual(sent.smtpapi["filters"], self.unmeasured)

    def test_companies(self):
        """Test that the company of a mail's document decides, with one query for mails of several companies."""
        french = self.env["res.company"].create(
            {"name": "French", "country_id": self.france.id, "sendgrid_unasked": "country"}
        )
        leads = self.env["crm.lead"].create(
            [{"name": "A", "company_id": self.company.id}, {"name": "B", "company_id": french.id}] * 20
        )
        mails = self.env["mail.mail"].union(
            *(self.create_mail(model="crm.lead", res_id=lead.id, auto_delete=True) for lead in leads)
        )
        counts = []
        for some in (mails[:2], mails[2:]):
            message_ids = some.mapped("message_id")
            self.env.flush_all()
            with (
                self.sending() as sent,
                patch.object(
                    self.env.registry["sendgrid.measuring"],
                    "_look_up",
                    autospec=True,
                    side_effect=type(self.Measuring)._look_up,
                ) as look_up,
            ):
                some.send()
            look_up.assert_called_once()
            counts.append(len(sent))
            emails = self.Email.search([("message_id", "in", message_ids)])
            self.assertEqual(len(emails), len(message_ids))
            for email in emails:
                expected = RESULT["company" if email.company_id == french else "full"]
                self.assertEqual((email.measured, email.unmeasured_reason), expected)
        self.assertEqual(counts, [2, 38])

    def test_added_recipient(self):
        """Test that a recipient whom another module adds as the mail leaves counts like the others."""
        self.say("declined", "added@example.org")
        prepare = IrMail_Server._prepare_smtp_to_list

        def add(server, message, session):
            return [*prepare(server, message, session), "Added@example.org"]

        with patch.object(IrMail_Server, "_prepare_smtp_to_list", add):
            [sent], emails = self.send_mail()
        self.assertEqual(len(sent.recipients), 2)
        self.assertEqual(sent.smtpapi["filters"], self.unmeasured)
        self.assertLevels(emails, ada="others", added="wish")
        with patch.object(self.env.registry["mail.mail"], "_get_recipient_addresses", lambda mails: set()):
            _sent, email = self.send_mail(email_to="added@example.org")
        self.assertLevels(email, added="wish")

    def test_declined_meanwhile(self):
        """Test that a document says so if its recipient declined after the run began."""

        def decline(sent):
            self.say("declined", "bob@example.org")
            self.env.flush_all()

        mails = self.create_mail() + self.create_mail(email_to="bob@example.org")
        message_ids = mails.mapped("message_id")
        with self.sending(decline) as sent:
            mails.send()
        self.assertEqual([copy.smtpapi.get("filters") for copy in sent], [None, None])
        self.assertLevels(self.Email.search([("message_id", "in", message_ids)]), ada="full", bob="wish")

    @refused
    def test_tries(self):
        """Test that the level of the try that left counts, and that nothing makes it measured afterwards."""
        gone = smtplib.SMTPDataError(451, b"4.3.0 try later")
        mail = self.create_mail(auto_delete=False)
        message_id = mail.message_id

        def send(setting, refuse=lambda sent: None):
            self.company.sendgrid_unasked = setting
            mail.write({"state": "outgoing"})
            with self.sending(refuse):
                mail.send()
            self.env.invalidate_all()
            return self.find_emails(message_id)

        failed = send("nobody", lambda sent: gone)
        self.assertEmail(failed, status="failed", measured="none", unmeasured_reason="company")
        self.assertEmail(send("everybody"), status="sent", measured="full", unmeasured_reason=False)
        self.assertEmail(send("nobody"), sent_count=2, measured="none", unmeasured_reason="company")
        self.assertEmail(send("everybody"), sent_count=3, measured="none", unmeasured_reason="company")

    def test_sent_again_unmeasured(self):
        """Test that an e-mail whose opens were counted does not become unmeasured when it leaves once more."""
        mail = self.create_mail(auto_delete=False, body_html=BODY)
        message_id = mail.message_id
        with self.sending():
            mail.send()
        email = self.find_emails(message_id)
        relay = self.relay(email)
        self.receive(
            relay.event("delivered", timestamp=self.after(email, 2)),
            relay.event("open", timestamp=self.after(email, 600)),
            relay.event("click", timestamp=self.after(email, 700)),
        )
        self.assertEmail(email, status="clicked", measured="full", open_count=1, click_count=1)
        self.company.sendgrid_unasked = "nobody"
        mail.write({"state": "outgoing"})
        with self.sending() as sent:
            mail.send()
        self.assertEqual(sent[0].smtpapi["filters"], self.unmeasured, "the second copy is not measured")
        self.env.invalidate_all()
        self.assertEmail(email, sent_count=2, measured="full", unmeasured_reason=False, status="clicked", open_count=1)

    def test_sent_again_whoever_opened(self):
        """Test the same for each kind of opens alone: a person's, a machine's, and those by whom nobody knows."""
        for kind, fields in (
            ("open_count", {}),
            ("machine_open_count", {"sg_machine_open": True}),
            ("unknown_open_count", {"ip": None, "useragent": None}),
        ):
            with self.subTest(kind):
                self.company.sendgrid_unasked = "everybody"
                mail = self.create_mail(auto_delete=False, body_html=BODY)
                message_id = mail.message_id
                with self.sending():
                    mail.send()
                email = self.find_emails(message_id)
                relay = self.relay(email)
                self.receive(
                    relay.event("delivered", timestamp=self.after(email, 2)),
                    relay.event("open", timestamp=self.after(email, 600), **fields),
                )
                self.assertEmail(email, **{kind: 1})
                self.company.sendgrid_unasked = "nobody"
                mail.write({"state": "outgoing"})
                with self.sending():
                    mail.send()
                self.env.invalidate_all()
                self.assertEmail(email, sent_count=2, measured="full", **{kind: 1})

    @refused
    def test_not_connected(self):
        """Test that what never left has its level too."""
        self.say("declined", "bob@example.org")
        mails = self.create_mail() + self.create_mail(email_to="bob@example.org")
        message_ids = mails.mapped("message_id")

        def connect(server, *args, **kwargs):
            raise ConnectionRefusedError("nobody there")

        with (
            patch.object(IrMail_Server, "_connect__", connect),
            patch.object(IrMail_Server, "_disable_send", lambda server: False),
        ):
            mails.send()
        emails = self.Email.search([("message_id", "in", message_ids)])
        self.assertEqual(set(emails.mapped("status")), {"failed"})
        self.assertLevels(emails, ada="full", bob="wish")

    def test_bare_documents(self):
        """Test that a document that has to be written with less has its level."""
        self.say("declined", "ada@example.org")

        def fail(*args, **kwargs):
            raise ValueError("no details")

        with (
            patch.object(self.env.registry["sendgrid.email"], "_prepare_rows", fail),
            self.assertLogs("odoo.addons.sendgrid_tracking", "ERROR"),
        ):
            _sent, email = self.send_mail()
        self.assertLevels(email, ada="wish")


class WaysCase(MeasuringMixin, CorpusCase):
    """Mails of each kind that really leave at a level, by each way. `test_levels` has the table of all of them."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.template = cls.env["mail.template"].create(
            {
                "name": "T",
                "model_id": cls.env["ir.model"]._get_id("crm.lead"),
                "subject": "Offer",
                "body_html": BODY,
                "partner_to": "{{ object.partner_id.id }}",
            }
        )
        cls.portal = new_test_user(
            cls.env, "sendgrid_test_portal", groups="base.group_portal", email="portal@example.org"
        )
        cls.contact.country_id = cls.chile

    # ------------------------------------------------------------
    # KINDS AND LEVELS
    # ------------------------------------------------------------

    def get_kinds(self, is_tracked=True):
        """Return {kind of mail: function that makes one to Ada}.

        :param is_tracked: the switch *Track opens and links* of what becomes the mail
        """
        unmeasured = {} if is_tracked else {"sendgrid_is_unmeasured": True}
        return {
            "chatter": lambda: self.post(body=BODY, **unmeasured),
            "composer": lambda: self.compose(body=BODY, sendgrid_is_tracked=is_tracked),
            "template": lambda: self.template.copy({"sendgrid_is_tracked": is_tracked}).send_mail(self.lead.id),
            "scheduled": lambda: (
                self.env["mail.scheduled.message"]
                .create(
                    {
                        "model": "crm.lead",
                        "res_id": self.lead.id,
                        "author_id": self.salesperson.partner_id.id,
                        "body": Markup(BODY),
                        "partner_ids": [Command.set(self.contact.ids)],
                        "scheduled_date": Datetime.add(Datetime.now(), minutes=1),
                        "send_context": {},
                        "sendgrid_is_tracked": is_tracked,
                    }
                )
                ._post_message()
            ),
            "several recipients": lambda: self.mail(
                email_to="Ada@example.org, eve@example.org", body_html=BODY, **unmeasured
            ),
        }

    def set_level(self, level):
        """Make that mails leave at a level, for the reason that names it, as the people would who decide it.

        The switch of a mail is set by its kind, see `get_kinds`.
        """
        self.company.sendgrid_unasked = {"agreed": "nobody", "company": "nobody", "country": "country"}.get(
            level, "everybody"
        )
        self.contact.country_id = self.france if level == "country" else self.chile
        set_word = self.env["sendgrid.address"].set_email_tracking
        everybody = ["ada@example.org", "eve@example.org", self.portal.email]
        if level == "agreed":
            set_word(everybody, "agreed", "form", "The website")
        elif level == "wish":
            set_word(["Ada <Ada@example.org>", self.portal.email], "declined", "form", "The website")
        else:
            set_word(everybody, False, "hand")
        with self.leaving():
            self.account.action_read_tracking_settings()
            for name in ("open", "click"):
                if self.account[f"{name}_tracking"] == (level == "account"):
                    getattr(self.account, f"action_switch_{name}_tracking")()

    def send_by(self, server, build, **values):
        """Send what ``build`` leaves in the queue; return the documents and what arrived, as {address: raw bytes}."""
        mails = self.collect(build)
        self.assertTrue(mails)
        mails.write({"auto_delete": False, "state": "outgoing", "mail_server_id": server.id, **values})
        self.sandbox("DELETE", "/sandbox/messages")
        with self.leaving():
            mails.send()
        self.assertEqual(set(mails.mapped("state")), {"sent"}, mails.mapped("failure_reason"))
        arrived = {}
        for message in self.messages():
            for recipient in message["recipients"]:
                path = f"/sandbox/messages/{message['id']}/{recipient['index']}/raw"
                with urllib.request.urlopen(self.sandbox_url + path) as answer:
                    arrived[recipient["address"].lower()] = message_from_bytes(answer.read(), policy=policy.default)
        return self.Email.search([("message_id", "in", mails.mapped("message_id"))]), arrived

    def get_texts(self, parsed):
        return [parsed.get_body(preferencelist=(kind,)).get_content() for kind in ("html", "plain")]

    def assertArrived(self, parsed, is_measured):
        """Assert that a mail with BODY has a pixel and a tracked link, or neither, and its link as it was written."""
        html, plain = self.get_texts(parsed)
        self.assertEqual("/wf/open" in html, is_measured)
        self.assertEqual("/ls/click" in html, is_measured)
        self.assertEqual(f'href="{LINK.replace("&", "&amp;")}"' in html, not is_measured)
        self.assertIn(LINK, plain)


@tagged("post_install", "-at_install")
class TestWays(WaysCase):
    """What arrives where the levels alone do not tell it."""

    def test_unsubscribe_link(self):
        """Test that SendGrid's unsubscribe link stays where nothing is measured."""
        self.set_level("wish")
        client.Client(self.account.api_key, self.get_host()).call(
            "patch", ("tracking_settings", "subscription"), body={"enabled": True}
        )
        for server in (self.smtp_server, self.server):
            _emails, arrived = self.send_by(server, self.get_kinds()["chatter"])
            self.assertArrived(arrived["ada@example.org"], is_measured=False)
            self.assertIn("/wf/unsubscribe", self.get_texts(arrived["ada@example.org"])[0])

    def open_file(self, part):
        """Return the mail that is attached. The Web API encodes each file, also one for which MIME has no encoding."""
        inside = part.get_payload(0)
        if part["Content-Transfer-Encoding"] != "base64":
            return inside
        return message_from_bytes(base64.b64decode(inside.get_payload()), policy=policy.default)

    def test_attached_mail(self):
        """Test that a mail that is attached to another one lets nobody decide for its recipient, and counts nobody."""
        Notice = self.env["sendgrid.notice"]
        link = Notice._get_link(Notice._seal(LOOK, self.company.id, "ada@example.org"))
        own = Notice._get_link()
        site = own.removesuffix("/sendgrid/measuring")
        rest = f'<a href="{site}/r/x1/m/7">Käse</a><img src="https://u1.ct.sendgrid.net/wf/open?upn=x"/>'
        inner, outer = EmailMessage(policy.SMTP), EmailMessage(policy.SMTP)
        for message, encoding in ((inner, "base64"), (outer, "quoted-printable")):
            message["Subject"], message["To"] = "Grüße", "ada@example.org"
            message.set_content(f"Grüße\n{link}\n{site}/r/x1/m/7\n", cte=encoding)
            message.add_alternative(f'<p>Grüße <a href="{link}">Link</a>{rest}</p>', subtype="html", cte=encoding)
        outer.add_attachment(inner)
        plain = EmailMessage(policy.SMTP)
        plain["Subject"] = "Nothing to change"
        plain.set_content("Grüße", cte="quoted-printable")
        files = self.env["ir.attachment"].create(
            [
                {"name": "outer.eml", "mimetype": "message/rfc822", "raw": outer.as_bytes()},
                {"name": "plain.eml", "mimetype": "message/rfc822", "raw": plain.as_bytes()},
            ]
        )
        self.set_level("full")
        for server in (self.smtp_server, self.server):
            with self.subTest(way=server.name):
                _emails, arrived = self.send_by(
                    server, lambda: self.mail(body_html="<p>See</p>", attachment_ids=[Command.set(files.ids)])
                )
                first, second = map(self.open_file, arrived["ada@example.org"].iter_attachments())
                texts = [part.get_content() for part in first.walk() if part.get_content_maintype() == "text"]
                self.assertEqual(len(texts), 4)
                for text in texts:
                    self.assertIn("Grüße", text)
                    self.assertIn(own, text)
                    self.assertNotIn(link, text)
                    self.assertNotIn("/wf/open", text)
                    self.assertIn("/r/x1", text)
                    self.assertNotIn("/m/7", text)
                self.assertEqual(first["Subject"], "Grüße")
                self.assertEqual(second.get_content().strip(), "Grüße")

    def test_odd_attached_mail(self):
        """Test that a mail with an odd charset is attached without a loss, whatever is taken out of it."""
        pixel = b'<img src="https://u1.ct.sendgrid.net/wf/open?upn=x"/>'
        self.set_level("full")
        for charset in ("us-ascii", "utf-8", "idna", "undefined", "punycode", "klingon", "utf-16", "*0*=utf-8''a%00b"):
            with self.subTest(charset):
                text = "<p>Größe</p>".encode("latin-1")
                source = b"Content-Type: text/html; charset=%s\r\n\r\n%s%s\r\n" % (charset.encode(), text, pixel)
                vals = {"name": "odd.eml", "mimetype": "message/rfc822", "raw": source}
                _emails, arrived = self.send_by(
                    self.smtp_server,
                    lambda vals=vals: self.mail(body_html="<p>See</p>", attachment_ids=[Command.create(vals)]),
                )
                [attached] = arrived["ada@example.org"].iter_attachments()
                [inner] = attached.iter_parts() if attached.is_multipart() else [attached]
                self.assertIn(text, inner.get_payload(decode=True))

    def test_access(self):
        """Test that what is about somebody's access to Odoo is never measured, also to whoever agreed."""
        people = self.portal | self.salesperson
        self.say("agreed", *people.mapped("email"))
        builds = {
            "password": lambda user: user.with_context(no_reset_password=False).action_reset_password(),
            "sign-up": lambda user: user.with_context(create_user=1).action_reset_password(),
            "alert": lambda user: user._notify_security_setting_update(
                "Changed", "Your address was changed", suggest_password_reset=False
            ),
            "template about a user": lambda user: (
                self.env["mail.template"]
                .create({"name": "U", "model_id": self.env["ir.model"]._get_id("res.users"), "body_html": BODY})
                .send_mail(user.id, email_values={"email_to": user.email})
            ),
            "link to sign up": lambda user: self.mail(
                email_to=user.email, body_html='<p><a href="https://odoo.example.com/fr/web/signup?token=x">in</a></p>'
            ),
        }
        for kind, build in builds.items():
            for server in (self.smtp_server, self.server):
                for user in people:
                    with self.subTest(kind=kind, user=user.login, way=server.name):
                        emails, arrived = self.send_by(server, lambda b=build, u=user: b(u))
                        # Colleagues have no documents.
                        self.assertLevels(emails, **({"portal": "access"} if user == self.portal else {}))
                        [parsed] = arrived.values()
                        text = "".join(self.get_texts(parsed))
                        self.assertNotIn("/wf/open", text)
                        self.assertNotIn("/ls/click", text)
        # A link into the portal gives access to one record only.
        portal_link = '<p><a href="https://odoo.example.com/my/orders/7?access_token=5f0c9a1e-2b7d">Quotation</a></p>'
        emails, arrived = self.send_by(self.smtp_server, lambda: self.mail(body_html=portal_link))
        self.assertLevels(emails, ada="full")
        self.assertIn("/wf/open", self.get_texts(arrived["ada@example.org"])[0])

    def test_mark_survives(self):
        """Test that a mail about access knows it also when it leaves later, from the queue."""
        with patch.object(type(self.env["mail.mail"]), "send", lambda mails, *args, **kwargs: True):
            mail = self.portal._notify_security_setting_update("Changed", "It was", suggest_password_reset=False)
        self.assertTrue(mail.sendgrid_is_about_access)
        self.assertFalse(self.create_mail().sendgrid_is_about_access)
