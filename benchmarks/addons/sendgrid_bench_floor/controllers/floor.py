import psycopg2

from odoo.http import Controller, Response, request, route

from odoo.addons.sendgrid_tracking.tools.events.signature import SIGNATURE_HEADER, TIMESTAMP_HEADER, verify


class BenchFloor(Controller):
    """Does the least that a webhook can do without losing anything: read, verify, insert one row."""

    @route("/sendgrid_bench/floor", type="http", auth="public", methods=["POST"], csrf=False, save_session=False)
    def receive(self, **_params):
        """Verify the body with the key in a system parameter, store it, answer 204."""
        body = request.httprequest.get_data()
        headers = request.httprequest.headers
        key = request.env["ir.config_parameter"].sudo().get_param("sendgrid_bench_floor.key")
        if not verify(key, headers[SIGNATURE_HEADER], headers[TIMESTAMP_HEADER], body):
            return Response(status=403)
        request.env.cr.execute("INSERT INTO sendgrid_bench_floor_post (body) VALUES (%s)", [psycopg2.Binary(body)])
        return Response(status=204)
