{
    "name": "SendGrid Email Tracking",
    "summary": "What happened to each e-mail sent through Twilio SendGrid: delivered, opened, clicked, bounced",
    "version": "19.0.1.0.0",
    "category": "Marketing/Email Marketing",
    "author": "sendgrid_tracking maintainers",
    "license": "LGPL-3",
    "depends": ["base_automation", "contacts", "crm"],
    "external_dependencies": {"python": ["cryptography", "lxml", "ua-parser"]},
    "data": [
        "security/ir.model.access.csv",
        "data/ir_cron.xml",
    ],
    "application": True,
    "installable": True,
}
