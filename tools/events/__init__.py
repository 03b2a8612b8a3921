"""What an event of SendGrid says, and what the events of one e-mail add up to."""
