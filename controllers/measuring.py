from odoo.api import SUPERUSER_ID
from odoo.http import Controller, Response, request, route

from ..models.ir_http import get_browser_languages
from ..tools.sending.notice import ADDRESS

# Bytes: a form with one word.
MAX_BODY = 4 * 1024
# It needs no session: whoever has the token is the one who may decide, and a site that forges a form has none. So there
# is nothing for a session's token to protect (CSRF), and no cookie is set.
OPTIONS = {"type": "http", "auth": "none", "save_session": False}
# Two converters, so that nearly all that somebody may write there is answered here: "string" takes what "path" refuses,
# such as line breaks, and "path" takes slashes.
TOKEN_ADDRESSES = [f"{ADDRESS}/<{converter}:measuring_token>" for converter in ("string", "path")]
POLICY = "default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
}


class SendgridMeasuring(Controller):
    """The public page that tells how an e-mail is measured, and where its recipient declines or agrees.

    Scanners follow links, so that GET and HEAD never change anything.
    """

    @route(ADDRESS, methods=["GET"], readonly=True, **OPTIONS)
    def tell(self, **_params):
        """Return the general page, which knows of nobody."""
        return self._respond(*self._get_notice()._get_general_page(get_browser_languages()))

    @route(TOKEN_ADDRESSES, methods=["GET"], readonly=True, **OPTIONS)
    def look(self, measuring_token, **_params):
        """Return the page of the recipients whom the token names.

        :return: response with status 200, or 404 for whatever is no token of this database
        """
        return self._respond(*self._get_notice()._look(measuring_token, get_browser_languages()))

    @route(
        TOKEN_ADDRESSES,
        methods=["POST"],
        readonly=False,
        csrf=False,
        max_content_length=MAX_BODY,
        **OPTIONS,
    )
    def decide(self, measuring_token, **_params):
        """Do what a button says, and return the page, which tells what was done. Doing it twice is the same.

        Odoo commits before it answers, and begins anew if another transaction is in the way.
        """
        # Odoo gives OPTIONS to each address. And only a form's button counts, not a link with the same word.
        word = request.httprequest.form.get("word") if request.httprequest.method == "POST" else None
        return self._respond(*self._get_notice()._decide(measuring_token, word, get_browser_languages()))

    def _get_notice(self):
        # What the token allows is done for its holder, who is no user.
        return request.env(user=SUPERUSER_ID)["sendgrid.notice"]

    def _respond(self, page, nonce, status=200):
        headers = {**HEADERS, "Content-Security-Policy": f"{POLICY}; style-src 'nonce-{nonce}'"}
        return Response(page, status=status, headers=headers, content_type="text/html; charset=utf-8")
