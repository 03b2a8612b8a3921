from . import sendgrid_visibility_mixin  # isort: skip: the models that inherit it come after it
from . import (
    base_automation,
    crm_lead,
    ir_mail_server,
    mail_mail,
    res_config_settings,
    res_partner,
    sendgrid_account,
    sendgrid_account_check,
    sendgrid_account_day,
    sendgrid_account_health,
    sendgrid_consequence,
    sendgrid_email,
    sendgrid_event,
    sendgrid_event_batch,
    sendgrid_rejection,
)
