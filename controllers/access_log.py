import logging
import re

WEBHOOK_TOKEN = re.compile(r"(/sendgrid/webhook/)[^\s?#]+")


class HideWebhookTokens(logging.Filter):
    """Keep the secret part of the webhook's address out of the log of requests, which many may read."""

    def filter(self, record):
        """Change what is logged, and let it pass."""
        if isinstance(record.args, tuple):
            record.args = tuple(
                WEBHOOK_TOKEN.sub(r"\1***", value) if isinstance(value, str) else value for value in record.args
            )
        return True


logging.getLogger("werkzeug").addFilter(HideWebhookTokens())
