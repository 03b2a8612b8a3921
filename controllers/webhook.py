from odoo.http import Controller, Response, request, route

from ..tools.events.signature import SIGNATURE_HEADER, TIMESTAMP_HEADER

# SendGrid sends a batch when it has 768 KB of events; that is a threshold, not a promise.
MAX_BODY = 4 * 1024 * 1024


class SendgridWebhook(Controller):
    """Where SendGrid posts its events: verify, store, answer. What the events say is read later, by the drain."""

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

        Odoo commits before it answers, so a 2xx means stored. SendGrid posts again, for up to 24 hours, what got any
        other answer (Twilio docs: Event Webhook getting started).

        :return: 204 stored, 403 signature wrong or missing, 404 unknown token, 413 body too large
        """
        account_sudo = request.env["sendgrid.account"].sudo()._get_by_webhook_token(webhook_token)
        if not account_sudo:
            return Response(status=404)
        body = request.httprequest.get_data()
        if len(body) > MAX_BODY:
            # Of a body without announced length werkzeug reads as much as is allowed, and leaves the rest.
            return Response(status=413)
        headers = request.httprequest.headers
        signed, timestamp = headers.get(SIGNATURE_HEADER), headers.get(TIMESTAMP_HEADER)
        if not account_sudo._verify_webhook(signed, timestamp, body):
            account_sudo._note_refusal(signed, timestamp, body, headers.get("Content-Encoding"))
            return Response(status=403)
        request.env["sendgrid.event.batch"].sudo()._receive(account_sudo, body)
        return Response(status=204)
