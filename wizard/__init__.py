from . import (
    base_partner_merge_automatic_wizard,
    mail_blacklist_remove,
    mail_compose_message,
    sendgrid_account_connect,
    sendgrid_account_connect_step,
    sendgrid_account_disconnect,
    sendgrid_event_attach,
    sendgrid_suppression_clear,
)
