import logging
import re

TOKEN = re.compile(r"(/sendgrid/(?:webhook|measuring(?:/confirm)?)/)[^\s?#]+")


class HideTokens(logging.Filter):
    """Hide the tokens in werkzeug's log of requests: more people read the log than may know one."""

    def filter(self, record):
        """Replace the token in the arguments of a log record.

        :return: True, so that the record is logged
        """
        if isinstance(record.args, tuple):
            record.args = tuple(
                TOKEN.sub(r"\1***", value) if isinstance(value, str) else value for value in record.args
            )
        return True


logging.getLogger("werkzeug").addFilter(HideTokens())
