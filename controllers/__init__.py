from . import access_log, chatter, measuring, webhook
