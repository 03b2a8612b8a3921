from odoo import fields, models


class SendgridBenchFloorRow(models.Model):
    """A plain model of 20 columns with 4 indexes. The drain's floor is the time in which the ORM creates its rows."""

    _name = "sendgrid.bench.floor.row"
    _description = "Row of a Benchmark"
    _order = "id"

    partner_id = fields.Many2one("res.partner", index=True)
    user_id = fields.Many2one("res.users")
    name = fields.Char(required=True)
    key = fields.Char(required=True, index=True)
    code = fields.Char(index=True)
    address = fields.Char()
    link = fields.Char()
    agent = fields.Char()
    place = fields.Char()
    kind = fields.Selection([("one", "One"), ("two", "Two"), ("three", "Three")])
    state = fields.Selection([("new", "New"), ("done", "Done")])
    moment = fields.Datetime(index=True)
    day = fields.Date()
    reason = fields.Text()
    answer = fields.Text()
    attempt = fields.Integer()
    group = fields.Integer()
    weight = fields.Float()
    is_first = fields.Boolean()
    is_last = fields.Boolean()
