from . import access_log, measuring, webhook
