import functools
import logging
from datetime import timezone
from email.utils import parsedate_to_datetime

from odoo import SUPERUSER_ID, api, models
from odoo.service.model import retrying
from odoo.tools import email_normalize

from ..tools.address_form import comparable
from ..tools.automatic import is_automatic
from ..tools.sending.pixels import remove_pixels
from .undoable import TRY_LATER, undoable

_logger = logging.getLogger(__name__)


def _get_received_date(email_message):
    """Return when the last mail server received a mail: it writes its Received field above all others (RFC 5321 4.4).

    :return: naive, in UTC; None if there is no such field, or nobody can read its date
    """
    received = email_message.get_all("Received") or [""]
    try:
        return (
            parsedate_to_datetime(str(received[0]).rpartition(";")[2].strip())
            .astimezone(timezone.utc)
            .replace(tzinfo=None)
        )
    except (ValueError, OverflowError):
        return None


class MailThread(models.AbstractModel):
    """A mail that comes in proves that its sender's address works: that ends the bounces of the address.

    It also loses SendGrid's pixel of the mail that it answers. Else a colleague who reads the answer would count as the
    recipient who opens that mail. And the link with which the recipient decides how he is measured loses its token.
    """

    _inherit = "mail.thread"

    def _message_parse_extract_payload(self, message, message_dict, save_original=False):
        """Take out of the body what is the recipient's own: all mails pass here, for whatever record they are."""
        payload = super()._message_parse_extract_payload(message, message_dict, save_original=save_original)
        try:
            if body := payload.get("body"):
                payload["body"] = self.env["sendgrid.notice"]._withdraw(type(body)(remove_pixels(body)))
        except Exception:
            # The mail has to come in, because core's fetching drops a mail whose processing fails.
            _logger.exception("SendGrid: a mail came in, and its body could not be searched for pixels and links")
        return payload

    @api.model
    def _routing_reset_bounce(self, email_message, message_dict):
        """Core calls this for each mail that comes in and is no bounce, to set its counters of bounces to zero.

        `sendgrid.address` ends the bounces for all records with the address; core finds them by their first address
        only. What a machine sent by itself proves nothing. So the flags stay, and with them the counters of the
        flagged records (see `_message_reset_bounce` in `mail_thread_blacklist`).
        """
        if email := email_normalize(message_dict["email_from"]):
            self._hear_from(email_message, comparable(email))
        return super()._routing_reset_bounce(email_message, message_dict)

    @api.model
    def _hear_from(self, email_message, email):
        """End the bounces of a mail's sender, if a person wrote it.

        Whatever goes wrong here, the mail has to come in, because core's fetching drops a mail whose processing fails.
        If somebody else writes the same address or contact at the moment, this is done after the commit.
        """
        received = None
        try:
            if not is_automatic(email_message, email):
                received = _get_received_date(email_message)
                with undoable(self.env.cr):
                    self.env["sendgrid.address"].sudo()._hear_from(email, received)
        except TRY_LATER:
            self.env.cr.postcommit.add(functools.partial(self._hear_later, self.env.registry, email, received))
        except Exception:
            _logger.exception("SendGrid: a mail of %s came in, and could not end its bounces", email)

    @staticmethod
    def _hear_later(registry, email, received):
        """End the bounces in a transaction of its own. Errors are logged and not raised: the mail has come in."""
        try:
            with registry.cursor() as cr:
                env = api.Environment(cr, SUPERUSER_ID, {})
                retrying(functools.partial(env["sendgrid.address"]._hear_from, email, received), env)
        except Exception:
            _logger.exception("SendGrid: a mail of %s came in, and could not end its bounces", email)
