-- A copy of a database must not send through SendGrid, accept its webhooks or call its API.
UPDATE sendgrid_account
   SET api_key = NULL,
       verification_key = NULL,
       previous_verification_key = NULL,
       previous_verification_key_end = NULL,
       webhook_token = 'neutralized-' || id,
       previous_webhook_token = NULL,
       webhook_id = NULL,
       webhook_created = NULL,
       previous_webhook_id = NULL,
       connection_date = NULL,
       tracking_settings_date = NULL;

-- The password is the API key: without it the servers cannot send even if somebody switches them on by mistake.
UPDATE ir_mail_server
   SET active = false,
       smtp_pass = NULL
 WHERE sendgrid_account_id IS NOT NULL;

-- A dialog that was open may hold an API key.
UPDATE sendgrid_account_connect SET api_key = NULL;
