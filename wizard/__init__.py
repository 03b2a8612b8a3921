from . import (
    base_module_uninstall,
    base_partner_merge_automatic_wizard,
    mail_blacklist_remove,
    mail_compose_message,
    sendgrid_account_connect,
    sendgrid_account_connect_step,  # isort: skip: the next files extend it
    sendgrid_account_connect_key,
    sendgrid_account_connect_mail,
    sendgrid_account_connect_measuring,
    sendgrid_account_connect_server,
    sendgrid_account_connect_test,
    sendgrid_account_connect_webhook,
    sendgrid_account_disconnect,
    sendgrid_event_attach,
    sendgrid_suppression_clear,
)
