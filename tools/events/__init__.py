"""This wing reads SendGrid's events, and tells what the events of one e-mail add up to."""
