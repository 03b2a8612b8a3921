import logging
import re

WEBHOOK_TOKEN = re.compile(r"(/sendgrid/webhook/)[^\s?#]+")


class HideWebhookTokens(logging.Filter):
    """Hide the webhook token in werkzeug's log of requests: more people read the log than may know the token."""

    def filter(self, record):
        """Replace the token in the arguments of a log record.

        :return: True, so that the record is logged
        """
        if isinstance(record.args, tuple):
            record.args = tuple(
                WEBHOOK_TOKEN.sub(r"\1***", value) if isinstance(value, str) else value for value in record.args
            )
        return True


logging.getLogger("werkzeug").addFilter(HideWebhookTokens())
