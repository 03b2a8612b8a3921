{
    "name": "SendGrid Benchmarks: the Floors",
    "summary": "What Odoo itself can do, for script/bench to compare with. Not for any other use.",
    "author": "sendgrid_tracking maintainers",
    "version": "19.0.1.0.0",
    "license": "LGPL-3",
    "category": "Hidden",
    "depends": ["sendgrid_tracking"],
    "data": ["security/ir.model.access.csv"],
    "installable": True,
}
