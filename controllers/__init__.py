from . import access_log, chatter, export, measuring, webhook
