from odoo.http import Controller, content_disposition, request, route


class SendgridExport(Controller):
    """The download of a file of all that is known of somebody."""

    @route("/sendgrid/export/<int:export_id>", type="http", auth="user", methods=["GET"], readonly=True)
    def download(self, export_id, **_params):
        """Hand the file out part by part, so that it never stands in memory as a whole.

        :return: response with status 200, or 404 if it is not there, not done, or another administrator's
        :raise AccessError: if the user is no administrator
        """
        export = request.env["sendgrid.export"].search([("id", "=", export_id), ("state", "=", "done")])
        if not export:
            raise request.not_found()
        return request.make_response(
            export._stream(),
            headers={
                "Content-Type": "text/html; charset=utf-8",
                "Content-Disposition": content_disposition(export._get_file_name()),
                "Cache-Control": "no-store",
                "X-Content-Type-Options": "nosniff",
            },
        )
