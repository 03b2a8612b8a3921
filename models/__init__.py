from . import sendgrid_visibility_mixin  # isort: skip: the models that inherit it come after it
from . import (
    crm_lead,
    ir_mail_server,
    mail_mail,
    res_partner,
    sendgrid_account,
    sendgrid_email,
    sendgrid_event,
    sendgrid_event_batch,
)
