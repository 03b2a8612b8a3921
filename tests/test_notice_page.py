"""The public page that tells how an e-mail is measured: what it says, to whom, and what its buttons do."""

import logging
import random
import re
import string
import time
from datetime import timedelta
from email import message_from_string, policy
from unittest.mock import patch

from lxml import html

from odoo.tests import HttpCase, tagged
from odoo.tools import mute_logger

from ..controllers.measuring import MAX_BODY
from ..models.sendgrid_notice_page import ASK_AGAIN_AFTER, CONFIRM_WITHIN
from ..tools.sending import notice_token
from ..tools.sending.notice import ADDRESS, CONFIRMATION
from ..tools.sending.notice_token import CONFIRM, LOOK, Holder
from .common import SendgridMixin
from .test_api_sending import BothWaysCase

ADA = "ada@example.org"
PLACEHOLDER = f'<p>Hello <a href="{ADDRESS}">How this e-mail is measured</a></p>'
HOSTILE = '<img src=x onerror="hacked=1">{{7*7}}'


class PageMixin:
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.notice = cls.env["sendgrid.notice"]
        cls.Address = cls.env["sendgrid.address"]
        cls.company = cls.env.company
        cls.company.write({"name": "Cheese & Sons", "email": "info@cheese.example"})

    def setUp(self):
        super().setUp()
        self.http_request_allow_all = True

    def seal(self, kind=LOOK, address=ADA, ago=timedelta(), **values):
        """Return the path of a page whose token was made some time ago."""
        moment = int(time.time() - ago.total_seconds())
        holder = Holder(kind, self.company.id, moment, address, **values)
        path = CONFIRMATION if kind == CONFIRM else ADDRESS
        return f"{path}/{notice_token.seal(holder, self.notice._get_secret())}"

    def call(self, path, method="GET", **options):
        """Call an address of Odoo's as a browser without any cookie does."""
        self.env.flush_all()
        self.opener.cookies.clear()
        answer = self.opener.request(method, self.base_url() + path, timeout=20, **options)
        self.env.invalidate_all()
        return answer

    def choose(self, path, word, **options):
        """Press a button of a page."""
        return self.call(path, "POST", data={"word": word}, **options)

    def word(self, address=ADA):
        return self.Address.search([("email", "=", address)]).email_tracking

    def confirmations(self):
        """Return the mails that ask to confirm."""
        return self.env["mail.mail"].search([("email_to", "=", ADA), ("state", "=", "outgoing")])

    def read_page(self, answer):
        """Return the text of a page as a reader sees it."""
        page = html.fromstring(answer.text)
        for style in page.iter("style"):
            style.text = ""
        return " ".join(page.text_content().split())

    def buttons(self, answer):
        return [button.get("value") for button in html.fromstring(answer.text).iter("button")]


@tagged("post_install", "-at_install")
class TestPage(PageMixin, SendgridMixin, HttpCase):
    # ------------------------------------------------------------
    # WHAT IT SAYS
    # ------------------------------------------------------------

    def test_what_it_says(self):
        """Test that the page says what is measured, by whom, what happens anyway, and the present word."""
        path = self.seal()
        text = self.read_page(self.call(path))
        for words in ("invisible picture", "Twilio SendGrid", "Cheese & Sons", "info@cheese.example", ADA):
            self.assertIn(words, text)
        self.assertIn("in months: 12", text)
        self.assertIn("You have not said yet", text)
        self.assertIn("Without any measuring", text)
        self.assertEqual(self.buttons(self.call(path)), ["declined", "agreed"])
        self.company.sendgrid_detail_months = 0
        self.assertNotIn("months", self.read_page(self.call(path)))
        self.company.sendgrid_keeps_details = False
        self.assertIn("IP address are not kept", self.read_page(self.call(path)))

    def test_general_page(self):
        """Test that the page without a token tells everybody the same, names nobody, and has no button."""
        answer = self.call(ADDRESS)
        self.assertEqual(answer.status_code, 200)
        self.assertEqual(self.buttons(answer), [])
        self.assertIn("knows for whom it is", self.read_page(answer))
        self.assertNotIn("Cheese", answer.text)

    def test_one_heading_and_language(self):
        """Test that each page is a whole one for screen readers: one h1, a title, a language, and no reference."""
        for path in (ADDRESS, self.seal(), self.seal(CONFIRM), f"{ADDRESS}/x"):
            with self.subTest(path):
                page = html.fromstring(self.call(path).text)
                self.assertEqual(page.get("lang"), "en-US")
                self.assertEqual(page.get("dir"), "ltr")
                [heading] = page.iter("h1")
                self.assertEqual(heading.text_content(), page.findtext(".//title"))
                for element in page.iter():
                    for name in ("src", "srcset", "data", "background"):
                        self.assertNotIn(name, element.attrib)
                self.assertFalse(list(page.iter("link", "script", "img", "iframe")))
                self.assertTrue(all(a.get("href").startswith("mailto:") for a in page.iter("a")))

    def test_headers(self):
        """Test that a browser loads nothing else, keeps nothing, tells nobody, and no cookie is set."""
        for path in (ADDRESS, self.seal(), f"{ADDRESS}/x"):
            for method in ("GET", "HEAD", "POST") if path != ADDRESS else ("GET", "HEAD"):
                with self.subTest(path, method=method):
                    answer = self.call(path, method)
                    policy = answer.headers["Content-Security-Policy"]
                    for directive in ("default-src 'none'", "form-action 'self'", "frame-ancestors 'none'"):
                        self.assertIn(directive, policy)
                    self.assertNotIn("unsafe", policy)
                    self.assertEqual(answer.headers["Referrer-Policy"], "no-referrer")
                    self.assertEqual(answer.headers["Cache-Control"], "no-store")
                    self.assertIn("noindex", answer.headers["X-Robots-Tag"])
                    self.assertNotIn("Set-Cookie", answer.headers)
                    self.assertTrue(answer.headers["Content-Type"].startswith("text/html"))

    def test_hostile_names(self):
        """Test that names are text, and that nothing of the request comes back."""
        self.company.name = HOSTILE
        for path in (self.seal(address=f'"{HOSTILE}"@example.org'), f"{ADDRESS}/{HOSTILE}", f"{ADDRESS}?x={HOSTILE}"):
            answer = self.call(path, headers={"Accept-Language": HOSTILE, "User-Agent": HOSTILE})
            self.assertNotIn("<img", answer.text)
        self.assertNotIn("onerror", self.call(f"{ADDRESS}/{HOSTILE}?{HOSTILE}").text)
        self.assertNotIn("onerror", self.choose(self.seal(), HOSTILE).text.replace(HOSTILE, "").partition("<main>")[0])

    # ------------------------------------------------------------
    # LANGUAGES
    # ------------------------------------------------------------

    def french(self):
        """Install French, with words of its own for two texts of the page."""
        self.env["res.lang"]._activate_lang("fr_FR")
        for name, words in (
            ("notice_page", {"Your choice": "Votre choix", "I decline": "Je refuse", "I agree": "J’accepte"}),
            ("notice_general_page", {"How e-mails are measured": "Mesure des e-mails"}),
            ("notice_confirmation_mail", {"I agree": "J’accepte"}),
        ):
            view = self.env.ref(f"sendgrid_tracking.{name}")
            view.update_field_translations("arch_db", {"fr_FR": words})

    def test_language_of_the_contact(self):
        """Test that the contact's language comes first, whatever the browser asks for."""
        self.french()
        self.contact.lang = "fr_FR"
        page = html.fromstring(self.call(self.seal(), headers={"Accept-Language": "en-GB,en;q=0.5"}).text)
        self.assertEqual(page.get("lang"), "fr-FR")
        self.assertEqual([button.text_content() for button in page.iter("button")], ["Je refuse", "J’accepte"])

    def test_language_of_the_browser(self):
        """Test that the browser's languages come next, as far as they are installed, and then the company's."""
        self.french()
        guest = self.seal(address="guest@example.net")
        for header, expected in (
            ("fr", "fr-FR"),
            ("fr-CA, en;q=0.5", "fr-FR"),
            ("es, fr;q=0.9, en;q=0.8", "fr-FR"),
            ("en, fr;q=0.9", "en-US"),
            ("fr;q=0, en", "en-US"),
            ("es, *", "en-US"),
            ("", "en-US"),
            ("x" * 5000, "en-US"),
        ):
            for path in (guest, ADDRESS, f"{ADDRESS}/x"):
                with self.subTest(header[:20], path=path):
                    page = html.fromstring(self.call(path, headers={"Accept-Language": header}).text)
                    self.assertEqual(page.get("lang"), expected)
        self.company.partner_id.lang = "fr_FR"
        page = html.fromstring(self.call(guest, headers={"Accept-Language": "es"}).text)
        self.assertEqual(page.get("lang"), "fr-FR")

    # ------------------------------------------------------------
    # TOKENS
    # ------------------------------------------------------------

    def bad_paths(self):
        good = self.seal()
        stranger = notice_token.seal(Holder(LOOK, 1, int(time.time()), ADA), "another database's secret")
        return {
            "no token": f"{ADDRESS}/x",
            "cut": good[:-3],
            "long": f"{good}abcd",
            "changed": good[:-10] + ("A" if good[-10] != "A" else "B") + good[-9:],
            "foreign": f"{ADDRESS}/{stranger}",
            "huge": f"{ADDRESS}/{'A' * 20000}",
            "with slashes": f"{ADDRESS}/a/b/c",
            "at the other place": good.replace(ADDRESS, CONFIRMATION),
            "a question at the other place": self.seal(CONFIRM).replace(CONFIRMATION, ADDRESS),
            "odd letters": f"{ADDRESS}/%00%ff%0a<b>",
        }

    def test_bad_tokens(self):
        """Test that each bad token has the same answer, whatever is wrong, and that nothing is done."""
        answers = set()
        for name, path in self.bad_paths().items():
            for method in ("GET", "POST"):
                with self.subTest(name, method=method):
                    answer = self.call(path, method, data={"word": "declined"} if method == "POST" else None)
                    self.assertEqual(answer.status_code, 404)
                    answers.add(re.sub(r'nonce="[^"]*"', "", answer.text))
        self.assertEqual(len(answers), 1)
        self.assertFalse(self.word())

    def test_bad_tokens_cost_no_query(self):
        """Test that a token of wrong form or signature costs no query, whatever language the browser asks for."""
        for path in self.bad_paths().values():
            for header in ("en", "es", ""):
                options = {"headers": {"Accept-Language": header}}
                self.call(path, **options)  # fills the caches
                execute = type(self.env.cr).execute
                with patch.object(type(self.env.cr), "execute", autospec=True, side_effect=execute) as watch:
                    self.call(path, **options)
                    self.call(path, "POST", data={"word": "declined"}, **options)
                queries = [str(getattr(call.args[1], "code", call.args[1])) for call in watch.call_args_list]
                queries = [query for query in queries if "SAVEPOINT" not in query]
                self.assertEqual(queries, [])

    def test_many_bad_tokens(self):
        """Test that of 10,000 bad tokens none costs a query, and that all have the same answer."""
        chance = random.Random(1)
        letters = string.ascii_letters + string.digits + "-_"
        strangers = notice_token.seal(Holder(LOOK, self.company.id, int(time.time()), ADA), "another secret")
        confirming = self.seal(CONFIRM).removeprefix(f"{CONFIRMATION}/")
        good = self.seal().removeprefix(f"{ADDRESS}/")

        def write(length, alphabet=letters):
            return "".join(chance.choices(alphabet, k=length))

        def change(token):
            place = chance.randrange(len(token) - 2)  # the last letter says not only bits of the token
            return token[:place] + chance.choice(letters.replace(token[place], "")) + token[place + 1 :]

        forms = {
            "by chance": lambda: write(chance.randrange(1, 200)),
            "changed": lambda: change(good),
            "cut": lambda: good[: chance.randrange(len(good))],
            "long": lambda: good + write(chance.randrange(1, 50)),
            "foreign": lambda: change(strangers) if chance.random() < 0.9 else strangers,
            "of the other page": lambda: f"confirm/{good}" if chance.random() < 0.5 else confirming,
            "huge": lambda: write(1) * chance.randrange(1500, 100_000),
            "Unicode": lambda: write(chance.randrange(1, 200), "aé漢🧀\u202e\0\ud800\n "),
            "letters that look alike": lambda: good.translate({ord("a"): "а", ord("0"): "０"}) + "٣",  # noqa: RUF001
            "with signs": lambda: write(chance.randrange(1, 200), letters + "/.=+%~'\"<>"),
        }
        tokens = [make() for _number in range(1000) for make in forms.values()]
        self.assertEqual(len(tokens), 10_000)
        self.assertEqual(self.notice._look(tokens[0], ["en"])[2], 404)  # fills the caches
        self.env.flush_all()

        def count(token):
            before = self.env.cr.sql_log_count
            page, nonce, status = self.notice._look(token, ["en"])
            return self.env.cr.sql_log_count - before, str(page).replace(nonce, ""), status

        [(queries, _page, status)] = {count(token) for token in tokens}
        self.assertEqual((queries, status), (0, 404))
        queries, _page, status = count(good)
        self.assertEqual(status, 200)
        self.assertGreater(queries, 0, "the good one is looked up, and that is noticed here")

    def test_secret_changed(self):
        """Test that another secret is noticed at once: all links lose their effect, and new ones work."""
        path = self.seal()
        self.assertEqual(self.call(path).status_code, 200)
        self.env["ir.config_parameter"].set_param("database.secret", "another")
        self.assertEqual(self.call(path).status_code, 404)
        self.assertEqual(self.call(self.seal()).status_code, 200)

    def test_company_is_gone(self):
        """Test that a link works on when its company is gone: whoever wants to decline can."""
        company = self.env["res.company"].create({"name": "Gone"})
        token = self.notice._seal(LOOK, company.id, ADA)
        company.unlink()
        self.assertEqual(self.choose(f"{ADDRESS}/{token}", "declined").status_code, 200)
        self.assertEqual(self.word(), "declined")

    def test_not_in_the_log(self):
        """Test that no token stands in the log of requests."""
        for path in (self.seal(), self.seal(CONFIRM)):
            with self.assertLogs("werkzeug", logging.INFO) as logs:
                self.call(path)
            self.assertNotIn(path.rpartition("/")[2], "\n".join(logs.output))
            self.assertIn(ADDRESS, "\n".join(logs.output))

    # ------------------------------------------------------------
    # DECLINE
    # ------------------------------------------------------------

    def test_decline(self):
        """Test that the button works at once, and that the page says so and offers the other choice."""
        path = self.seal()
        answer = self.choose(path, "declined")
        self.assertEqual(answer.status_code, 200)
        self.assertIn("You have declined.", self.read_page(answer))
        self.assertEqual(self.buttons(answer), ["agreed"])
        address = self.Address.search([("email", "=", ADA)])
        self.assertEqual(address.email_tracking, "declined")
        since = address.email_tracking_date
        self.assertIn("you declined on", self.read_page(self.call(path)))
        answer = self.choose(path, "declined")
        self.assertIn("You have declined.", self.read_page(answer))
        self.assertEqual(self.buttons(answer), ["agreed"])
        self.assertEqual(address.email_tracking_date, since, "twice is the same")

    def test_wording_is_kept(self):
        """Test that the wording that was shown goes with the word, without the recipient's own part."""
        address_class = type(self.Address)
        with patch.object(
            address_class, "set_email_tracking", autospec=True, side_effect=address_class.set_email_tracking
        ) as call:
            self.choose(self.seal(), "declined")
        [told] = call.call_args_list
        self.assertEqual(told.args[1:], ([ADA], "declined", "page"))
        wording = self.env["sendgrid.wording"].browse(told.kwargs["wording"].id)
        self.assertIn("invisible picture", wording.text)
        self.assertNotIn(ADA, wording.text)
        self.choose(self.seal(address="bob@example.org"), "declined")
        self.assertEqual(wording.search([("text", "like", "invisible picture")]), wording, "it is stored once")
        self.assertEqual(told.kwargs["form"], ADDRESS)

    def test_only_a_button_decides(self):
        """Test that GET and HEAD change nothing, nor does a form without a known word."""
        for path in (self.seal(), self.seal(CONFIRM)):
            for method in ("GET", "HEAD", "OPTIONS"):
                answer = self.call(f"{path}?word=declined", method, data={"word": "declined"})
                self.assertEqual(answer.status_code, 200)
            for word in ("", "x", "Declined", "agreed\0"):
                self.assertEqual(self.choose(path, word).status_code, 200)
            for word in ("declined", "agreed"):
                self.assertEqual(self.call(f"{path}?word={word}", "POST").status_code, 200)
        self.assertFalse(self.word())
        self.assertFalse(self.confirmations())

    @mute_logger("odoo.http", "werkzeug")
    def test_other_methods(self):
        """Test that other methods and large forms are refused."""
        for method in ("PUT", "DELETE", "PATCH"):
            self.assertEqual(self.call(self.seal(), method, data={"word": "declined"}).status_code, 405)
        self.assertEqual(self.call(ADDRESS, "POST", data={"word": "declined"}).status_code, 405)
        answer = self.call(self.seal(), "POST", data={"word": "declined", "x": "y" * MAX_BODY})
        self.assertEqual(answer.status_code, 413)
        self.assertFalse(self.word())

    def test_several_recipients(self):
        """Test that a copy's link declines for all its documents, agrees for nobody, and tells nobody's word."""
        _sent, emails = self.send_mail(
            body_html=PLACEHOLDER, email_to=f"{ADA}, bob@example.org", recipient_ids=self.contact.ids
        )
        copy = emails.filtered(lambda email: not email.is_alone)
        self.assertEqual((len(emails), len(copy)), (3, 2))
        path = self.seal(address="", odoo_id=copy[0].odoo_id)
        answer = self.call(path)
        self.assertEqual(self.buttons(answer), ["declined"])
        self.assertNotIn(ADA, answer.text)
        self.choose(path, "agreed")
        self.assertFalse(set(copy.mapped("measured")) & {"none"})
        answer = self.choose(path, "declined")
        self.assertIn("You have declined.", self.read_page(answer))
        self.assertEqual(self.buttons(answer), [])
        self.assertEqual(copy.mapped("measured"), ["none", "none"])
        self.assertEqual(copy.mapped("unmeasured_reason"), ["others", "others"], "nobody learns who it was")
        self.assertNotEqual((emails - copy).measured, "none")
        self.assertFalse(self.word())
        self.assertEqual(self.choose(path, "declined").status_code, 200)

    def test_copies_of_one_message(self):
        """Test that the link of a copy to several is about this copy only, and says so if nothing was done yet."""
        several = self.env["res.partner"].create({"name": "Two", "email": "carol@example.org, dave@example.org"})
        mail = self.create_mail(
            body_html=PLACEHOLDER, email_to=f"{ADA}, bob@example.org", recipient_ids=several.ids, auto_delete=False
        )
        with self.sending() as sent:
            mail.send()
        links = {
            tuple(sorted(one.recipients)): html.fromstring(one.part("html")).xpath(
                f"//a[contains(@href, '{ADDRESS}')]/@href"
            )
            for one in sent
        }
        [link] = links[ADA, "bob@example.org"]
        path = link[link.index(ADDRESS) :]
        emails = self.find_emails(mail.message_id)
        copies = emails.grouped("odoo_id")
        self.assertEqual(sorted(map(len, copies.values())), [2, 2])
        # As long as the transaction that sent it is not committed, there are no documents.
        names = {email: email.odoo_id for email in emails}
        for email in emails:
            email.odoo_id = f"not yet {email.id}"
        answer = self.choose(path, "declined")
        self.assertIn("Nothing was changed", self.read_page(answer))
        self.assertNotIn("You have declined", self.read_page(answer))
        self.assertEqual(self.buttons(answer), ["declined"])
        for email, name in names.items():
            email.odoo_id = name
        self.assertIn("You have declined.", self.read_page(self.choose(path, "declined")))
        self.assertEqual(
            {email.recipient: email.measured for email in emails},
            {ADA: "none", "bob@example.org": "none", "carol@example.org": "full", "dave@example.org": "full"},
        )

    # ------------------------------------------------------------
    # AGREE
    # ------------------------------------------------------------

    def test_agree(self):
        """Test that the button asks the address by a mail, once in a short time, and that nothing changes by then."""
        path = self.seal()
        for _time in range(3):
            answer = self.choose(path, "agreed")
            self.assertIn("One step is left", self.read_page(answer))
            self.assertFalse(self.word())
        [mail] = self.confirmations()
        self.assertEqual(mail.email_from, '"Cheese & Sons" <info@cheese.example>')
        self.assertIn("Cheese & Sons", mail.subject)
        self.age("sendgrid.address", ASK_AGAIN_AFTER, "confirmation_date")
        self.choose(path, "agreed")
        self.assertEqual(len(self.confirmations()), 2)

    def test_confirm(self):
        """Test that the link in that mail opens a page with a button, and that this one agrees."""
        path = self.seal(CONFIRM)
        answer = self.call(path)
        self.assertIn("Do you agree", self.read_page(answer))
        self.assertEqual(self.buttons(answer), ["declined", "agreed"])
        answer = self.choose(path, "agreed")
        self.assertIn("You have agreed", self.read_page(answer))
        self.assertEqual(self.buttons(answer), ["declined"])
        self.assertEqual(self.word(), "agreed")
        self.assertIn("You have agreed", self.read_page(self.choose(path, "agreed")))
        self.choose(self.seal(), "agreed")
        self.assertFalse(self.confirmations(), "who has agreed is not asked again")
        answer = self.choose(path, "declined")
        self.assertEqual((self.word(), self.buttons(answer)), ("declined", ["agreed"]))

    def test_expired(self):
        """Test that the link of that mail ends after some days, and leads on to the page."""
        path = self.seal(CONFIRM, ago=CONFIRM_WITHIN + timedelta(minutes=1))
        for answer in (self.call(path), self.choose(path, "agreed")):
            self.assertIn("This link has expired", self.read_page(answer))
            self.assertFalse(self.word())
        [form] = html.fromstring(answer.text).iter("form")
        self.assertIn("One step is left", self.read_page(self.choose(form.get("action"), "agreed")))
        self.assertEqual(len(self.confirmations()), 1)
        self.assertEqual(self.choose(path, "declined").status_code, 200)
        self.assertEqual(self.word(), "declined", "declining works all the same")

    def test_decided_otherwise(self):
        """Test that an older question does not overrule who has declined since."""
        path = self.seal(CONFIRM, ago=timedelta(hours=1))
        self.choose(self.seal(), "declined")
        answer = self.choose(path, "agreed")
        self.assertIn("You have declined since", self.read_page(answer))
        self.assertEqual(self.word(), "declined")

    def test_question_in_french(self):
        """Test that the mail and the page that it leads to are in the contact's language."""
        self.french()
        self.contact.lang = "fr_FR"
        self.choose(self.seal(), "agreed")
        self.assertIn("J’accepte", self.confirmations().body_html)

    def test_question_in_arabic(self):
        """Test that the mail and the page are read from right to left, and that addresses stand there as written."""
        self.env["res.lang"]._activate_lang("ar_001")
        self.contact.lang = "ar_001"
        page = html.fromstring(self.choose(self.seal(), "agreed").text)
        self.assertEqual(page.get("dir"), "rtl")
        addresses = [*page.iter("b"), *page.iter("a")]
        self.assertEqual({one.get("dir") for one in addresses if one.text in (ADA, self.company.email)}, {"auto"})
        [mail] = html.fragments_fromstring(self.confirmations().body_html)
        self.assertEqual((mail.get("lang"), mail.get("dir")), ("ar-001", "rtl"))


@tagged("post_install", "-at_install")
class TestEndToEnd(PageMixin, BothWaysCase, HttpCase):
    """The whole way by the local SendGrid, by both ways of sending."""

    def arrived(self, subject=None):
        """Return the HTML of the latest copy to the contact."""
        message = self.messages()[-1]
        raw = self.sandbox("GET", f"/sandbox/messages/{message['id']}/{ADA}/raw")
        return message_from_string(raw, policy=policy.default).get_body(("html",)).get_content()

    def link_in(self, source):
        [link] = [a.get("href") for a in html.fromstring(source).iter("a") if ADDRESS in a.get("href", "")]
        self.assertTrue(link.startswith(self.base_url()), link)
        return link.removeprefix(self.base_url())

    def test_both_choices(self):
        """Test the whole way: mail, link, page, question, confirmation, and then declining by the first mail."""
        self.env["ir.config_parameter"].set_param("web.base.url", self.base_url())
        for server in (self.server, self.smtp_server):
            with self.subTest(server.name):
                self.Address.search([("email", "=", ADA)]).write({"email_tracking": False, "confirmation_date": False})
                server.sequence = 1
                (self.server | self.smtp_server - server).sequence = 2
                self.send(body_html=PLACEHOLDER, mail_server_id=server.id)
                look = self.link_in(self.arrived())
                self.assertIn("One step is left", self.read_page(self.choose(look, "agreed")))
                question = self.confirmations()
                question.mail_server_id = server
                with self.leaving():
                    question.send()
                source = self.arrived()
                self.assertNotIn("/wf/open", source, "it is never measured")
                confirm = self.link_in(source)
                self.assertEqual(self.call(confirm).status_code, 200)
                self.assertFalse(self.word())
                self.assertIn("You have agreed", self.read_page(self.choose(confirm, "agreed")))
                self.assertEqual(self.word(), "agreed")
                document = self.Email.search([("recipient", "=", ADA)], order="id desc", limit=1)
                self.assertNotIn("measuring/confirm", document.content)
                self.choose(look, "declined")
                self.assertEqual(self.word(), "declined")
