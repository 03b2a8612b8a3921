"""Which links are secret: a table, and that all who ask are told the same."""

import time
from html import escape
from urllib.parse import quote

from odoo.tests import BaseCase, tagged

from ..tools.sending.disarm import cut, disarm
from ..tools.sending.links import MARK, Site, find_keys, is_secret, protect

OWN = "https://odoo.example.com"
FOREIGN = "https://www.example.org"
SITE = Site(frozenset({"odoo.example.com"}))
HEX = "6f1ed002ab5595859014ebf0951522d9"
BASE64 = "dQw4w9WgXcQ8fKpLm2NvZ1aB"
UUID = "123e4567-e89b-12d3-a456-426614174000"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.sflKxwRJSM"
# (address, is it secret, why)
LINKS = (
    # The address is the key.
    (f"{OWN}/calendar/join_videocall/{HEX}", True, "a meeting's room"),
    (f"/calendar/join_videocall/{HEX}", True, "the same without the site"),
    (f"{OWN}/calendar/view/{HEX}", True, "an appointment"),
    (f"{OWN}/chat/12/aB3dE9xK", True, "a channel's invitation"),
    (f"{OWN}/fr/chat/12/aB3dE9xK", True, "the same in French"),
    (f"{OWN}/chat/12/short", True, "a key of a known page, whatever it looks like"),
    (f"{OWN}/meet/{BASE64}", True, "a meeting"),
    (f"{OWN}/dashboard/share/3/aB3dE9xK", True, "a shared dashboard"),
    (f"{OWN}/sign/document/mail/12/aB3dE9xK", True, "a document to sign"),
    (f"{OWN}/appointment/view/aB3dE9xK", True, "an appointment"),
    (f"{OWN}/documents/content/{BASE64}", True, "a shared document"),
    (f"{OWN}/document/share/4/{HEX}", True, "a shared folder"),
    (f"{OWN}/odoo/documents/{BASE64}", True, "a document"),
    (f"{OWN}/knowledge/article/invite/7/{HEX}", True, "an article's invitation"),
    (f"{OWN}/planning/{UUID}/{HEX}", True, "somebody's shifts"),
    (f"{OWN}/web/hook/{UUID}", True, "an automation's webhook"),
    (f"{OWN}/sms/4/aB3", True, "a way out of text messages"),
    (f"{OWN}/rate/aB3dE/5", True, "a rating"),
    (f"{OWN}/coupon/044a-9c7e-4f2d", True, "a gift"),
    (f"{OWN}/some/page/{HEX}", True, "a long chance part on our site"),
    (f"{OWN}/some/page/{HEX.upper()}", True, "the same in capitals"),
    (f"{OWN}/some/page/{BASE64}", True, "the same in other letters"),
    (f"{OWN}/some/page/{UUID}", True, "the same as a UUID"),
    (f"{OWN}/page?n={HEX}", True, "the same as a parameter"),
    (f"{OWN}/page#/invite/{HEX}", True, "the same behind the hash"),
    (f"{OWN}:8069/some/page/{HEX}", True, "our host with a port"),
    (f"https://ODOO.example.com/some/page/{HEX}", True, "our host in capitals"),
    (f"//odoo.example.com/some/page/{HEX}", True, "our host without a scheme"),
    (f"odoo.example.com/some/page/{HEX}", True, "our host alone"),
    (f"{OWN}/some/page/{JWT}", True, "a JWT"),
    # What a parameter opens.
    (f"{OWN}/x?access_key=s3", True, "the name tells"),
    (f"{OWN}/x?pwd=1234", True, "the name tells"),
    (f"{OWN}/x?a=1&otp=123456", True, "the name tells"),
    (f"{OWN}/x?jwt=abc", True, "the name tells"),
    (f"{OWN}/x?sig=abc", True, "the name tells"),
    (f"{OWN}/x?client_secret=abc", True, "the name tells"),
    (f"{OWN}/x?pass=hunter2", True, "the name tells"),
    (f"{OWN}/x?key=s3cr3t", True, "the value is no word"),
    (f"{OWN}/x?key=0f0e-11b", True, "the value is no word"),
    (f"{OWN}/x?code=482913", True, "a one-time code"),
    (f"{OWN}/x?code=4-0AX4XfWhaB3dE9", True, "a code for one login"),
    (f"{OWN}/x?auth=aB3dE9kL2", True, "the value is no word"),
    (f"{OWN}/x?ticket=ST-1856339-aA5Yuvrxzpv8Tau1cYQ7", True, "a login's ticket"),
    (f"{FOREIGN}/x?pwd=1234", True, "the same elsewhere"),
    (f"{FOREIGN}/x?apiKey={HEX}", True, "the same elsewhere"),
    (f"{FOREIGN}/x?key={HEX}", True, "the same elsewhere"),
    (f"{FOREIGN}/action?mode=resetPassword&oobCode=abcd", True, "a way to a new password"),
    (f"{FOREIGN}/blob.pdf?sv=2023&se=2024&sig=aB%2F3dE9", True, "a file in the cloud"),
    (f"{FOREIGN}/login?magic_link={BASE64}", True, "a login without a password"),
    (f"{FOREIGN}/file?X-Amz-Signature={HEX}", True, "a file in the cloud"),
    (f"{FOREIGN}/p/{JWT}", True, "a JWT anywhere"),
    (f"{FOREIGN}/reset-password/{BASE64}", True, "a way to a new password"),
    (f"{FOREIGN}/invite/{BASE64}", True, "an invitation"),
    (f"{FOREIGN}/sign/document/mail/12/{HEX}", True, "another Odoo's document"),
    (f"{FOREIGN}/calendar/join_videocall/{HEX}", True, "another Odoo's meeting"),
    (f"{FOREIGN}/unsubscribe/one-click", True, "a way out of a list"),
    (f"{FOREIGN}/x?x-api-key=s3", True, "the name tells"),
    (f"{FOREIGN}/acs?SAMLResponse={BASE64}", True, "a login"),
    ("https://me:hunter2@www.example.org/x", True, "a password"),
    ("https://me:hunter2@odoo.example.com/x", True, "a password"),
    # Quoted in another link.
    (f"{OWN}/web/login?redirect=/chat/12/short", True, "a login that leads on"),
    (f"{OWN}/web/login?redirect={quote(f'/chat/12/{HEX}', safe='')}", True, "the same, quoted"),
    (f"{FOREIGN}/?url={quote(f'{OWN}/page/{HEX}', safe='')}", True, "a way by another site"),
    (f"{FOREIGN}/?url={quote(quote(quote(f'{OWN}/x?otp=123456', safe=''), safe=''), safe='')}", True, "several times"),
    (f"{OWN}/x?acce%73s_key=s3", True, "quoted letters"),
    (f"{OWN}/x#a=1&otp=123456", True, "behind the hash"),
    # Words are no keys.
    (f"{OWN}/blog/our-news-12/the-long-title-of-a-post-34", False, "a title"),
    (f"{OWN}/blog/how-to-unsubscribe-3", False, "a title"),
    (f"{OWN}/shop/product/customizable-desk-e-com-11-9", False, "a product"),
    (f"{OWN}/shop/fx-9750gii-3x-2b-4k-55in-12", False, "a product with numbers"),
    (f"{OWN}/shop/OurBigNewCarForYou2024", False, "words with capitals"),
    (f"{OWN}/CustomerSatisfactionSurvey2024", False, "words with capitals"),
    (f"{OWN}/Our-Products-2024-Overview-And-More", False, "words with capitals"),
    (f"{OWN}/web/image/12-0a1b2c3d4e5f60718293/name.png", False, "an image's version"),
    (f"{OWN}/web/assets/1/0123456789abcdef/web.min.js", False, "a style's version"),
    (f"{OWN}/web/content/12/Invoice_INV2024_0001.pdf", False, "a file's name"),
    (f"{OWN}/r/Ab1", False, "a short link for everybody"),
    (f"{OWN}/r/Ab1Xy9Zk", False, "a short link for everybody"),
    (f"{OWN}/odoo/action-123/456", False, "a page of Odoo's"),
    (f"{OWN}/web#action=123&cids=1&menu_id=4&model=hr.applicant.refuse.reason", False, "a page of Odoo's"),
    (f"{OWN}/page/2024112704111499", False, "a number"),
    (f"{OWN}/slides/slide/a-course-2024-11", False, "a course"),
    (f"{OWN}/event/spring-fair-2024-03-21-7/register", False, "an event"),
    (f"{OWN}/jobs/detail/chief-technical-officer-2", False, "a job"),
    (f"{OWN}/hr_attendance", False, "a page"),
    (f"{OWN}/shop?code=SUMMER", False, "a promotion"),
    (f"{OWN}/shop?code=SUMMER24", False, "a promotion"),
    (f"{OWN}/shop?code=10OFF50", False, "a promotion"),
    (f"{OWN}/x?key=value", False, "a word"),
    (f"{OWN}/x?key=", False, "nothing"),
    (f"{OWN}/x?ticket=123456", False, "a number that people read out"),
    (f"{OWN}/x?postal_code=123456", False, "a place"),
    (f"{OWN}/x?country_code=BE", False, "a country"),
    (f"{OWN}/x?barcode=5901234123457", False, "a product"),
    (f"{OWN}/x?search=large+wooden+table+and+chairs+2024", False, "words"),
    (f"{OWN}/?utm_source=news&gclid=Cj0KCQiA3Y2qBhCnARIsAH", False, "an advertiser's mark"),
    (f"{OWN}/shop?attribute_values=12-34,56&order=list_price+desc", False, "a filter"),
    (f"{FOREIGN}/share?u=1&href=http://example.com/", False, "a page to share"),
    (f"{FOREIGN}/commit/{HEX}", False, "a chance part elsewhere is mostly a name"),
    (f"www.example.org/commit/{HEX}", False, "the same without a scheme"),
    ("https://youtu.be/dQw4w9WgXcQ", False, "a film"),
    ("https://me@www.example.org/x", False, "a name"),
    ("https://www.example.org/@me:here/x", False, "a name"),
    (f"{OWN}/x?time=12:30@noon", False, "a time"),
    (f"{FOREIGN}/x?monkey-key=apes", False, "a word"),
    (f"mailto:reply+{HEX}@example.com", False, "an address"),
    ("tel:+3212345678", False, "a number to call"),
)


@tagged("post_install", "-at_install")
class TestSecretLinks(BaseCase):
    def test_table(self):
        """Test for each link of the table whether it is secret, and that a mark and what is shown follow it."""
        self.assertGreater(len(LINKS), 80)
        for address, expected, why in LINKS:
            with self.subTest(address, why=why):
                self.assertIs(is_secret(address, SITE), expected)
                source = f'<p><a href="{escape(address)}">x</a></p>'
                body, found = protect(source, SITE)
                self.assertIs(found, expected)
                self.assertEqual(MARK in body, expected or "href=" in address)
                self.assertEqual(disarm(source, SITE), ("<p><a>x</a></p>" if expected else source, expected))
                shown = cut(address, SITE)
                self.assertEqual(shown != address, expected)
                self.assertFalse(is_secret(shown, SITE) and expected, shown)

    def test_other_site(self):
        """Test that a chance part is a key on our own site only."""
        address = f"{OWN}/some/page/{HEX}"
        self.assertTrue(is_secret(address, SITE))
        self.assertFalse(is_secret(address, Site(frozenset({"other.example.com"}))))

    def test_long_addresses(self):
        """Test that an address that was made to be slow to read is read."""
        for word in (
            *"a- ?a= / // //a %25 eyJ eyJaaaaaaaaa. aB3 aB3dE9kL2mN4- key= &key= =/ =/a https:// ://@ a. a.b/".split(),
            *"a-b-c-d-unsubscribe- /chat/12/ sign/a/ /sign/a/a/ /sign/document/ unsubscribe-a-a-a- /r/a/m/".split(),
        ):
            long = word * (200_000 // len(word))
            for address in (long, f"/{long}", f"{OWN}/{long}", f"{OWN}/?x={long}"):
                with self.subTest(word, start=address[:30]):
                    start = time.process_time()
                    list(find_keys(address, SITE))
                    # In quadratic time it would be minutes.
                    self.assertLess(time.process_time() - start, 10)
