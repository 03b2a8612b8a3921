"""All pages in French and in Arabic: nothing of ours is left in English, and Arabic is read from right to left.

LANGUAGES="de_DE nl_NL …" looks at others, as `script/pictures` does for the pictures of all languages.
"""

import os
import re

import polib
import pytest
from all_pages import FORMS, LISTS, go, settle
from conftest import AGENT
from harness import OdooClient, picture, wait_for
from playwright.sync_api import expect

from odoo.addons.sendgrid_tracking.tools.sending.notice import ADDRESS

from script.lib import paths

LANGUAGES = os.environ.get("LANGUAGES", "fr_FR ar_001").split()
RIGHT_TO_LEFT = ("ar_001",)
# A translator may have left a text as it is: names, and words that are the same in both languages.
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|%[sd]|\{\{.*?\}\}")
# What stands in a chatter was written in its writer's language.
READ = """(root) => {
    const found = [];
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT);
    for (let node = walker.currentNode; node; node = walker.nextNode()) {
        if (node.nodeType === Node.TEXT_NODE) {
            if (!node.parentElement.closest("script, style, .o-mail-Message, .o-mail-Activity")) {
                found.push(node.textContent);
            }
        } else {
            for (const name of ["title", "placeholder", "alt", "aria-label", "data-tooltip"]) {
                found.push(node.getAttribute(name) || "");
            }
        }
    }
    return found.map(text => text.trim().replace(/\\s+/g, " ")).filter(Boolean);
}"""

# What a server in the world said stands in an Arabic page as it was said: from left to right.
SAID = ("550 5.1.1", "Recipient address")
PLACES = """(root, words) => {
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        if (words.every((word) => node.textContent.includes(word))) {
            return words.map((word) => {
                const range = document.createRange();
                range.setStart(node, node.textContent.indexOf(word));
                range.setEnd(node, range.startOffset + 1);
                const { left, top } = range.getBoundingClientRect();
                return { left, top };
            });
        }
    }
}"""


class Words:
    """The texts of the addon in a language."""

    def __init__(self, lang):
        code = lang if (paths.ROOT / "i18n" / f"{lang}.po").exists() else lang.split("_")[0]
        entries = polib.pofile(str(paths.ROOT / "i18n" / f"{code}.po"))
        self.translations = {entry.msgid: entry.msgstr for entry in entries}
        # One word may be a name of core's that core has not translated. A sentence is ours.
        self.sentences = {
            " ".join(text.split()): translation
            for text, translation in self.translations.items()
            if len(PLACEHOLDER.sub("", text).split()) > 2 and translation != text and "<" not in text
        }
        self.patterns = {
            text: re.compile(".+".join(re.escape(part) for part in PLACEHOLDER.split(text)))
            for text in self.sentences
            if PLACEHOLDER.search(text)
        }

    def find_english(self, texts):
        """Return those of the texts that a page shows which are ours, and in English."""
        return {
            text
            for text in texts
            if text in self.sentences or any(pattern.fullmatch(text) for pattern in self.patterns.values())
        }

    def __getitem__(self, text):
        return self.translations[text]


@pytest.fixture(scope="module")
def installed(odoo, world):
    """Core's and our translations of the languages that are looked at, loaded after the records were made."""
    found = odoo.find("res.lang", ("code", "in", LANGUAGES), ("active", "in", [True, False]))
    wizard_id = odoo.create("base.language.install", lang_ids=[(6, 0, [lang.id for lang in found])], overwrite=True)
    odoo.call("base.language.install", "lang_install", [wizard_id])
    return world


@pytest.fixture(scope="module", params=LANGUAGES)
def page(request, browser, stack, odoo, installed):
    """A window of an administrator who has chosen the language."""
    lang = request.param
    login = f"admin_{lang}".lower()
    groups = ("base.group_system", "sales_team.group_sale_manager")
    odoo.user(f"Reader of {lang}", login, *groups, lang=lang, odoobot_state="disabled")
    context = browser.new_context(
        base_url=stack.odoo.url,
        viewport={"width": 1440, "height": 900},
        timezone_id="Europe/Berlin",
        locale=lang.replace("_001", "").replace("_", "-"),
        user_agent=AGENT,
    )
    context.set_default_timeout(120_000)  # the first page has to build the assets of the language
    window = context.new_page()
    window.lang, window.words, window.client = lang, Words(lang), OdooClient(stack.odoo, login, login)
    window.goto("/web/login")
    window.fill("input[name=login]", login)
    window.fill("input[name=password]", login)
    window.click(".oe_login_form button[type=submit]")
    window.wait_for_selector(".o_web_client .o_main_navbar")
    yield window
    context.close()


def check(page, name, selector=".o_action_manager"):
    """Keep a picture, and fail if something of ours is in English, or stands the wrong way round."""
    settle(page)
    picture(page, f"{name}-{page.lang}")
    english = page.words.find_english(page.locator(selector).first.evaluate(READ))
    assert not english, f"{name} in {page.lang}"
    direction = page.locator(selector).first.evaluate("element => getComputedStyle(element).direction")
    assert direction == ("rtl" if page.lang in RIGHT_TO_LEFT else "ltr")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "it is too wide"


def check_said(element):
    """Fail if an element does not show a server's words in their own order."""
    first, second = element.evaluate(PLACES, SAID)
    assert first["top"] == second["top"], "the window is wide enough for one line"
    assert first["left"] < second["left"], "read from left to right"


def test_tracking(page, installed):
    """The Tracking page of what was clicked, and of what bounced, with all tabs."""
    for name, status in (("document", "Delivered"), ("bounced", "Bounced")):
        go(page, "sendgrid_email_action", installed[name])
        expect(page.locator(".o_sendgrid_journey")).to_contain_text(page.words[status])
        check(page, f"tracking-{name}")
        for tab in page.locator(".o_notebook .nav-link").all():
            tab.click()
            check(page, f"tracking-{name}-{tab.get_attribute('name')}")
    check_said(page.locator(".o_sendgrid_reason [name=status_reason]"))
    page.locator(".o_notebook .nav-link[name=tracking]").click()
    check_said(page.locator(".o_sendgrid_event[data-event=bounce] [data-name=reason]"))


@pytest.mark.parametrize("name", LISTS)
def test_list(page, name):
    go(page, LISTS[name])
    check(page, f"list-{name}")


@pytest.mark.parametrize("name", FORMS)
def test_form(page, installed, name):
    go(page, FORMS[name], installed[name])
    check(page, f"form-{name}")


def test_account(page, installed):
    go(page, "sendgrid_account_action", installed["account"])
    for tab in page.locator(".o_notebook .nav-link").all():
        tab.click()
        check(page, f"account-{tab.get_attribute('name')}")


def test_settings_and_connect(page):
    page.goto("/odoo/settings")
    page.locator("#sendgrid_accounts").scroll_into_view_if_needed()
    check(page, "settings")
    page.locator("#sendgrid_accounts button", has_text=page.words["Connect"]).click()
    page.wait_for_selector(".modal-dialog [name=api_key] input")
    check(page, "connect", ".modal-dialog")
    page.keyboard.press("Escape")


def test_contact_and_chatter(page, installed):
    """The contact with what it said, the envelope in the chatter, and its popover."""
    page.goto(f"/odoo/res.partner/{installed['contact']}")
    page.wait_for_selector(".o_form_view .alert:has([name=sendgrid_warning])")
    check_said(page.locator("[name=sendgrid_warning]"))
    for tab in page.locator(".o_notebook .nav-link").all():
        tab.click()
        check(page, f"contact-{tab.get_attribute('name')}")
    page.locator(".o-mail-Message-notification").first.click()
    expect(page.locator(".o-mail-MessageNotificationPopover .o_sendgrid_state")).to_contain_text(page.words["Bounced"])
    check(page, "chatter", ".o-mail-MessageNotificationPopover")


def test_feed(page, installed, sandbox):
    """The feed, with what happened to an e-mail of the user's."""
    address = f"feed-{page.lang}@languages.test".lower()
    page.client.compose(page.client.contact("Ada", address), "Hello", "<p>Hello</p>")
    sandbox.fire_by_person(sandbox.message_to(address), address, "open")
    expect(page.locator(".o_sendgrid_feed_counter")).to_have_text("1")
    page.locator(".o_sendgrid_feed_button").click()
    expect(page.locator(".o_sendgrid_feed_line")).to_have_count(1)
    check(page, "feed", ".o_sendgrid_feed")


def test_page_about_measuring(page, installed, sandbox):
    """The public page is in the language of the contact that the link was sent to."""
    address = f"notice-{page.lang}@languages.test".lower()
    contact_id = page.client.create("res.partner", name="Reader", email=address, lang=page.lang)
    page.client.compose(contact_id, "Measured?", f'<p>Hello</p><a href="{ADDRESS}">Measuring</a>')
    message = sandbox.message_to(address)
    wait_for(lambda: page.client.document_to(address).status == "delivered", "delivered")
    [link] = re.findall(rf'href="(http[^"]*{ADDRESS}[^"]*)"', sandbox.delivered_html(message, address))
    window = page.context.new_page()
    try:
        window.lang, window.words = page.lang, page.words
        window.goto(link)
        expect(window.locator("html")).to_have_attribute("lang", page.lang.replace("_", "-"))
        english = window.words.find_english(window.locator("body").evaluate(READ))
        picture(window, f"notice-{page.lang}")
        assert not english
        direction = window.locator("body").evaluate("element => getComputedStyle(element).direction")
        assert direction == ("rtl" if page.lang in RIGHT_TO_LEFT else "ltr")
    finally:
        window.close()
