from . import (
    crm_lead,
    ir_mail_server,
    mail_mail,
    res_partner,
    sendgrid_account,
    sendgrid_email,
    sendgrid_event,
    sendgrid_event_batch,
    sendgrid_visibility_mixin,
)
