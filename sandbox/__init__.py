"""A local SendGrid for development and tests: an SMTP relay, signed event webhooks and an inbox page. See README.md."""
