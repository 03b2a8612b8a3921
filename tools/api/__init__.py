"""This wing calls SendGrid's v3 API and reads its answers."""
