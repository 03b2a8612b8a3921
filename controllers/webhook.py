from odoo.http import Controller, Response, request, route

from ..tools.events.signature import SIGNATURE_HEADER, TIMESTAMP_HEADER

# Bytes. SendGrid posts as soon as it has 768 KB of events. That is a threshold and no maximum, so we accept more.
MAX_BODY = 4 * 1024 * 1024


class SendgridWebhook(Controller):
    """The address to which SendGrid posts its events. It verifies, stores and answers; the drain parses the body later.

    SendGrid waits for the answer, so that nothing here depends on what the events say.
    """

    @route(
        "/sendgrid/webhook/<string:webhook_token>",
        type="http",
        auth="public",
        methods=["POST"],
        csrf=False,
        save_session=False,
        max_content_length=MAX_BODY + 1,
    )
    def receive(self, webhook_token, **_params):
        """Store the raw body of one POST for the account of ``webhook_token``.

        Odoo commits before it answers, so that a 2xx means that the body is stored. After any other answer SendGrid
        posts the same events again, for up to 24 hours (Twilio docs: Event Webhook getting started).

        :return: response with status 204 (stored), 403 (signature wrong or missing), 404 (unknown token) or 413 (body
            larger than `MAX_BODY`)
        """
        account_sudo = request.env["sendgrid.account"].sudo()._get_by_webhook_token(webhook_token)
        if not account_sudo:
            return Response(status=404)
        body = request.httprequest.get_data()
        if len(body) > MAX_BODY:
            # Without a Content-Length header werkzeug reads `max_content_length` bytes, and does not refuse more.
            return Response(status=413)
        headers = request.httprequest.headers
        signed, timestamp = headers.get(SIGNATURE_HEADER), headers.get(TIMESTAMP_HEADER)
        if not account_sudo._verify_webhook(signed, timestamp, body):
            account_sudo._note_refusal(signed, timestamp, body, headers.get("Content-Encoding"))
            return Response(status=403)
        request.env["sendgrid.event.batch"].sudo()._receive(account_sudo, body)
        return Response(status=204)
