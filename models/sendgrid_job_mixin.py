import logging
import time
from contextlib import suppress
from datetime import timedelta

import psycopg2
from psycopg2.errors import DiskFull

from odoo import api, models
from odoo.exceptions import UserError

from ..tools.api.client import ApiError
from .undoable import TRY_LATER

_logger = logging.getLogger(__name__)

# A conflict with the drain is over in a moment. A full disk, a lost connection and a busy SendGrid are not.
MAX_TRIES = 5
PAUSE = 0.05  # seconds after the first conflict, twice as long after the second, and so on
TRY_AGAIN = timedelta(minutes=5)


class SendgridJobMixin(models.AbstractModel):
    """The one idiom of long work: piece by piece, each committed, and never an exception out of a scheduled action.

    Core forgets the wake-ups of a scheduled action that raises, and in the end switches it off. And whatever stops a
    job between two pieces (a kill, a lost connection, the end of its time), the next run goes on where it was.
    """

    _name = "sendgrid.job.mixin"
    _description = "Long Work of SendGrid Email Tracking"

    @api.model
    def _run_job(self, name, steps, give_up=None, put_off=None):
        """Run a job up to its end, its failure, or the end of the scheduled action's time.

        A conflict is tried again some times, with pauses. The job is put off when it may work later without anybody's
        doing (a full disk, a lost connection, a busy SendGrid), and given up when it may not.

        :param str name: what is done, for the log
        :param steps: function without arguments that returns an iterator. Each piece of work is done when it yields how
            many rows the piece took, and is committed then. Called again, it goes on from what is committed.
        :param give_up: function of the reason (in words for a person), which notes it
        :param put_off: function of the reason (None if there is none to tell) and of the `timedelta` until the next
            try, which notes it and sees to that try; without it the job waits for the next run
        :return: whether there is time left for other jobs
        """
        tries = 0
        while True:
            try:
                for done in steps():
                    tries = 0
                    if not self.env["ir.cron"]._commit_progress(done, remaining=1):
                        return False
                return True
            except TRY_LATER as error:
                self.env.cr.rollback()
                tries += 1
                if tries < MAX_TRIES and not isinstance(error, DiskFull):
                    time.sleep(PAUSE * 2 ** (tries - 1))
                    continue
                _logger.info("SendGrid: %s goes on later: %s", name, str(error).strip())
                return self._end_job(name, put_off, None, TRY_AGAIN)
            except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
                # The connection is lost: nothing can be noted, and nothing else be done in this run.
                _logger.warning("SendGrid: %s lost its connection, it goes on at the next run: %s", name, error)
                with suppress(psycopg2.Error):
                    self.env.cr.rollback()
                return False
            except ApiError as error:
                self.env.cr.rollback()
                words = self.env["sendgrid.account"]._explain_api_error(error)
                if error.may_pass:
                    after = max(TRY_AGAIN, timedelta(seconds=error.wait or 0))
                    return self._end_job(name, put_off, words, after)
                return self._end_job(name, give_up, words)
            except UserError as error:
                self.env.cr.rollback()
                return self._end_job(name, give_up, str(error))
            except Exception as error:
                _logger.exception("SendGrid: %s stopped", name)
                self.env.cr.rollback()
                return self._end_job(name, give_up, str(error) or repr(error))

    @api.model
    def _end_job(self, name, note, *arguments):
        """Note how a job ended. If even that fails, the job counts as interrupted, and the next run goes on with it."""
        try:
            if note:
                note(*arguments)
            self.env["ir.cron"]._commit_progress(0, remaining=0)
        except Exception:
            _logger.exception("SendGrid: the end of %s could not be noted, it goes on at the next run", name)
            with suppress(psycopg2.Error):
                self.env.cr.rollback()
        return True
