from odoo import fields, models


class SendgridBenchFloorPost(models.Model):
    """The POSTs that the bare controller stores."""

    _name = "sendgrid.bench.floor.post"
    _description = "Post of a Benchmark"

    body = fields.Binary(attachment=False)
