"""A local SendGrid for development and tests: SMTP relay, signed event webhooks, an inbox page. See README.md."""
