"""Moments, as Odoo stores them and as SendGrid tells them."""

from datetime import datetime, timezone


def to_datetime(seconds):
    """Return Unix seconds as Odoo stores them: naive, in UTC. None gives False."""
    return datetime.fromtimestamp(seconds, timezone.utc).replace(tzinfo=None) if seconds is not None else False


def to_seconds(moment):
    """Return a moment as Odoo stores it in Unix seconds: the other way round. False gives None."""
    return int(moment.replace(tzinfo=timezone.utc).timestamp()) if moment else None
