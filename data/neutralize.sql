-- A copy of a database neither sends through SendGrid nor believes its webhooks.
UPDATE sendgrid_account
   SET api_key = NULL,
       verification_key = NULL,
       previous_verification_key = NULL,
       webhook_token = 'neutralized-' || id;
