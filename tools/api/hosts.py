"""SendGrid's hosts, by region (Twilio docs: EU subusers have hosts of their own)."""

API = {"global": "https://api.sendgrid.com", "eu": "https://api.eu.sendgrid.com"}
RELAY = {"global": "smtp.sendgrid.net", "eu": "smtp.eu.sendgrid.net"}
RELAY_PORT = 587  # STARTTLS
RELAY_USER = "apikey"  # the password is the key (Twilio docs: Integrating with the SMTP API)
