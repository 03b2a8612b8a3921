from odoo import api, fields, models
from odoo.exceptions import UserError


class MailComposeMessage(models.TransientModel):
    _name = "mail.compose.message"
    _inherit = ["mail.compose.message", "sendgrid.switch.mixin"]

    sendgrid_is_tracked = fields.Boolean(compute="_compute_sendgrid_is_tracked", store=True, readonly=False)

    sendgrid_reminder_days = fields.Integer(
        string="Days to Wait for an Answer",
        help="The author gets an activity if there is no answer in so many days. 0: he is not reminded.",
    )

    sendgrid_warning = fields.Text(
        compute="_compute_sendgrid_warning",
        help="Names the recipients that the message will not reach, and those who do not want it.",
    )

    sendgrid_unmeasured = fields.Char(
        compute="_compute_sendgrid_unmeasured",
        help="Names the recipients whose opens and clicks are not measured, with the reason.",
    )

    sendgrid_resent_id = fields.Many2one(
        "sendgrid.email", help="The e-mail that is sent again, if the composer was opened by its button."
    )

    @api.constrains("sendgrid_resent_id")
    def _check_sendgrid_resent_id(self):
        """Nobody learns the name of an e-mail that he may not see, which is its subject, by naming it here.

        :raise AccessError: if the user may not see it
        """
        # sudo(False): core checks constraints as superuser
        self.sudo(False).sendgrid_resent_id.check_access("read")

    @api.depends("partner_ids", "composition_mode")
    def _compute_sendgrid_warning(self):
        for composer in self:
            partners = composer.partner_ids if composer.composition_mode == "comment" else composer.partner_ids.browse()
            composer.sendgrid_warning = "\n".join(filter(None, partners.mapped("sendgrid_warning")))

    @api.depends("template_id")
    def _compute_sendgrid_is_tracked(self):
        for composer in self:
            composer.sendgrid_is_tracked = not composer.template_id or composer.template_id.sendgrid_is_tracked

    @api.depends(
        "partner_ids",
        "composition_mode",
        "sendgrid_is_tracked",
        "subtype_is_log",
        "record_company_id",
        "model",
        "res_ids",
    )
    def _compute_sendgrid_unmeasured(self):
        for composer in self:
            company = composer.record_company_id or self.env.company
            if not composer.sendgrid_is_tracked or composer.subtype_is_log:
                composer.sendgrid_unmeasured = ""
            elif composer.composition_mode == "comment":
                composer.sendgrid_unmeasured = composer.partner_ids._origin._describe_unmeasured(company)
            else:
                composer.sendgrid_unmeasured = composer._count_unmeasured()

    def _count_unmeasured(self):
        """Return the line that tells how many recipients of a mass mailing are not measured, "" if all are.

        As when the mails leave, the company of each record decides.
        """
        Model = self.env.get(self.model)
        if Model is None or not hasattr(Model, "_get_unmeasured_reasons"):
            return ""  # core finds the recipients of other records one by one, while it sends
        records = Model.browse(self._evaluate_res_ids()).exists()._filtered_access("read")
        companies = records._mail_get_companies(default=self.env.company)
        by_company = records.grouped(lambda record: companies[record.id])
        count = sum(len(some._get_unmeasured_reasons(company)) for company, some in by_company.items())
        if not count:
            return ""
        return self.env._(
            "Opens and links are not measured. Recipients: %(count)s of %(total)s", count=count, total=len(records)
        )

    # The composer has a switch of its own, which the template sets and the user may change.

    def _render_field(self, *args, **kwargs):
        return super(MailComposeMessage, self.with_context(sendgrid_has_switch=True))._render_field(*args, **kwargs)

    def _generate_template_for_composer(self, *args, **kwargs):
        composer = self.with_context(sendgrid_has_switch=True)
        return super(MailComposeMessage, composer)._generate_template_for_composer(*args, **kwargs)

    def _set_value_from_template(self, *args, **kwargs):
        composer = self.with_context(sendgrid_has_switch=True)
        return super(MailComposeMessage, composer)._set_value_from_template(*args, **kwargs)

    def create_mail_template(self):
        """Keep the switch, in the new template too: core chooses the template, which sets the switch anew."""
        is_tracked = self.sendgrid_is_tracked
        action = super().create_mail_template()
        self.template_id.sendgrid_is_tracked = self.sendgrid_is_tracked = is_tracked
        return action

    def action_send_mail(self):
        """Say where the e-mail went if it is one that is sent again, because its page is not where the new one is."""
        resent = self.sendgrid_resent_id
        reachable = self.partner_ids.filtered("email")
        if resent and not reachable and not self.subtype_id.internal:
            raise UserError(self.env._("Choose to whom the e-mail goes: a contact that has an e-mail address."))
        action = super().action_send_mail()
        record = resent.resource_ref if len(self) == 1 and resent.has_access("read") else None
        if not record or not reachable or self.subtype_id.internal:
            return action
        names = reachable.mapped("display_name")
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {
                "type": "success",
                "title": self.env._("Sent Again"),
                "message": self.env._("The e-mail is on its way to %(names)s: see %%s.", names=names),
                "links": [{"label": record.display_name, "url": f"/odoo/{record._name}/{record.id}"}],
                "next": action,
            },
        }

    def _action_send_mail_comment(self, res_ids):
        # Core keeps nowhere which template a mail was made from, so the mails take it from the context.
        self = self.with_context(sendgrid_template_id=self.template_id.id)
        resent = self.sendgrid_resent_id
        if not resent or not resent.has_access("read"):
            return super()._action_send_mail_comment(res_ids)
        self = self.with_context(sendgrid_again_of=resent.id)
        messages = super()._action_send_mail_comment(res_ids)
        # The user may have made a note of it instead.
        if messages.partner_ids and not messages.subtype_id.internal:
            resent.sudo().again_date = fields.Datetime.now()
        return messages

    def _action_send_mail_mass_mail(self, res_ids, auto_commit=False):
        self = self.with_context(sendgrid_template_id=self.template_id.id)
        return super()._action_send_mail_mass_mail(res_ids, auto_commit=auto_commit)

    def _prepare_mail_values_static(self):
        values = super()._prepare_mail_values_static()
        # Whoever writes to a list gets no to-do for each of its contacts.
        if self.sendgrid_reminder_days and not self.subtype_is_log and not self.composition_batch:
            values["sendgrid_reminder_days"] = self.sendgrid_reminder_days
        return values if self.sendgrid_is_tracked else {**values, "sendgrid_is_unmeasured": True}

    def _prepare_schedule_message_post_values(self, post_values):
        # A message that waits is posted with the context that it keeps.
        values = super()._prepare_schedule_message_post_values(post_values)
        if not self.template_id:
            return values
        return {**values, "send_context": {**values["send_context"], "sendgrid_template_id": self.template_id.id}}
