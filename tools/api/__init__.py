"""Calls of SendGrid's v3 API, and what they answer."""
