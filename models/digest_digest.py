from datetime import timedelta

from odoo import fields, models
from odoo.exceptions import AccessError
from odoo.fields import Domain

# What happens to older e-mails is not looked for, so that the index on the date of e-mails serves.
SENT_WITHIN = timedelta(days=90)
# Opens and clicks are told if an e-mail of this time is measured. It is what a digest compares: 30 days and 30 before.
MEASURED_WITHIN = timedelta(days=60)


class DigestDigest(models.Model):
    """The figures of the tracked e-mails in core's periodic digest.

    As core's own figures they count what the receiver of the digest may see. They are switched on in core's digest
    when the addon is installed, as those of core's modules are.
    """

    _inherit = "digest.digest"

    kpi_sendgrid_delivered = fields.Boolean(
        string="E-mails Delivered", help="How many e-mails the recipients' servers took in the time."
    )
    kpi_sendgrid_delivered_value = fields.Integer(compute="_compute_kpi_sendgrid_delivered_value")
    kpi_sendgrid_opened = fields.Boolean(
        string="E-mails Opened",
        help="How many measured e-mails a person opened for the first time. It is left out if no e-mail of the last 60 "
        "days is measured.",
    )
    kpi_sendgrid_opened_value = fields.Integer(compute="_compute_kpi_sendgrid_opened_value")
    kpi_sendgrid_clicked = fields.Boolean(
        string="E-mails Clicked",
        help="In how many measured e-mails a person followed a link for the first time. It is left out if no e-mail of "
        "the last 60 days is measured.",
    )
    kpi_sendgrid_clicked_value = fields.Integer(compute="_compute_kpi_sendgrid_clicked_value")
    kpi_sendgrid_replied = fields.Boolean(
        string="E-mails Replied To", help="How many e-mails were answered for the first time, measured or not."
    )
    kpi_sendgrid_replied_value = fields.Integer(compute="_compute_kpi_sendgrid_replied_value")
    kpi_sendgrid_refused = fields.Boolean(
        string="E-mails Refused", help="How many of the e-mails that were sent in the time bounced or were refused."
    )
    kpi_sendgrid_refused_value = fields.Integer(compute="_compute_kpi_sendgrid_refused_value")

    def _compute_kpi_sendgrid_delivered_value(self):
        self._count_sendgrid_emails("kpi_sendgrid_delivered_value", "delivered_date")

    def _compute_kpi_sendgrid_opened_value(self):
        self._count_measured_sendgrid_emails("kpi_sendgrid_opened_value", "person_open_date")

    def _compute_kpi_sendgrid_clicked_value(self):
        self._count_measured_sendgrid_emails("kpi_sendgrid_clicked_value", "person_click_date")

    def _compute_kpi_sendgrid_replied_value(self):
        self._count_sendgrid_emails("kpi_sendgrid_replied_value", "reply_date")

    def _compute_kpi_sendgrid_refused_value(self):
        refused = Domain("status", "in", ("blocked", "dropped", "bounced"))
        self._count_sendgrid_emails("kpi_sendgrid_refused_value", "date", refused)

    def _count_sendgrid_emails(self, name, date_field, domain=Domain.TRUE):
        """Count the documents to which something happened in the time, for each company in one query.

        :param name: the field that gets the number
        :param date_field: the field of documents that tells when it happened
        :param domain: which documents count
        """
        if start := fields.Datetime.to_datetime(self._get_kpi_compute_parameters()[0]):
            domain &= Domain("date", ">=", start - SENT_WITHIN)
        self._calculate_company_based_kpi("sendgrid.email", name, date_field=date_field, additional_domain=domain)

    def _count_measured_sendgrid_emails(self, name, date_field):
        """Do the same for the measured documents.

        :raise AccessError: if none is measured: 0 would say that nobody reads. Core leaves out the figure then. It has
            no other use for the field, but whoever exports all fields of a digest, without a time, gets 0
        """
        measured = Domain("measured", "!=", "none")
        start, _end, companies = self._get_kpi_compute_parameters()
        recent = Domain("company_id", "in", companies.ids) & Domain(
            "date", ">=", fields.Datetime.now() - MEASURED_WITHIN
        )
        if start and not self.env["sendgrid.email"].search(recent & measured, limit=1):
            raise AccessError(self.env._("No e-mail of the last days is measured, so nobody knows who opened one."))
        self._count_sendgrid_emails(name, date_field, measured)

    def _compute_kpis_actions(self, company, user):
        actions = super()._compute_kpis_actions(company, user)
        menu = self.env.ref("sendgrid_tracking.sendgrid_tracking_menu_root")
        action = f"sendgrid_tracking.sendgrid_email_action?menu_id={menu.id}"
        kinds = ("delivered", "opened", "clicked", "replied", "refused")
        return {**actions, **{f"kpi_sendgrid_{kind}": action for kind in kinds}}
