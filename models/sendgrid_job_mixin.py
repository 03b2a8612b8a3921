import logging
import math
import time
from datetime import timedelta

import psycopg2
from psycopg2.errors import DiskFull

from odoo import api, fields, models
from odoo.exceptions import UserError

from ..tools.api.client import ApiError
from .elsewhere import ElsewhereError
from .undoable import TRY_LATER

_logger = logging.getLogger(__name__)

# A conflict with the drain is over after a moment, so try again at once. A full disk, a lost connection or a busy
# SendGrid take longer, so try again after TRY_AGAIN.
MAX_TRIES = 5
PAUSE = 0.05  # seconds after the first conflict; each further pause is twice as long
TRY_AGAIN = timedelta(minutes=5)
# A copied database changes nothing at SendGrid until somebody has said that it is the production database.
ASK_AGAIN = timedelta(hours=1)
# What the server refuses has a class of its own, below these. These themselves come from the driver.
LOST_CONNECTION = (psycopg2.OperationalError, psycopg2.InterfaceError)


class SendgridJobMixin(models.AbstractModel):
    """The way in which scheduled actions do long work: piece by piece, with a commit after each.

    Whatever stops a job between two pieces (a kill, a lost connection, the end of its time), the next run goes on from
    the last commit. No exception leaves the scheduled action: core forgets the wake-ups of one that raises, and in the
    end switches it off.
    """

    _name = "sendgrid.job.mixin"
    _description = "Long Work of SendGrid Email Tracking"

    def _get_patient_client(self, account):
        """Return a client that tells on the record's page how long it waits before it repeats a call.

        :param account: `sendgrid.account` record
        """
        return account._get_client(sleep=self._wait)

    def _wait(self, seconds):
        """Note in ``waits_until`` until when the work waits, commit this, so that the page can show it, and wait.

        SendGrid is called before anything is read or written for the next piece, so that nothing else is committed.

        :param float seconds: how long
        """
        self.waits_until = fields.Datetime.now() + timedelta(seconds=math.ceil(seconds))
        self.env["ir.cron"]._commit_progress(0)
        time.sleep(seconds)

    @api.model
    def _run_job(self, name, steps, give_up=None, put_off=None, others=0, is_long=True):
        """Run a job until it is done, fails, or the scheduled action's time is over. It never raises.

        After a conflict with another transaction it tries again, up to `MAX_TRIES` times in all. The job is put off if
        it may succeed later by itself (a full disk, a busy SendGrid, more conflicts) or after an administrator's word
        (`ElsewhereError`), and given up if it may not.

        :param str name: names the job in the log
        :param steps: function without arguments that returns an iterator. The iterator does a piece of work and yields
            how many rows it took; then the piece is committed. When called again, the function goes on from the
            committed state.
        :param give_up: function (reason) that notes why the job has failed, in words for a person
        :param put_off: function (reason, after) that notes why the job waits (None: nothing worth telling) and has it
            tried again after a `timedelta`. Without it the job waits for the next run of the scheduled action.
        :param int others: how many jobs wait behind this one. Core runs a scheduled action again at once that leaves
            something to do.
        :param bool is_long: False if the job is one piece, so that nothing of it is left when that is committed
        :return: True if the caller may go on with its other jobs, False if time or connection are gone
        """
        tries, has_worked = 0, False
        while True:
            try:
                for done in steps():
                    has_worked = True
                    has_time = self.env["ir.cron"]._commit_progress(done, remaining=others + is_long)
                    # Not before the commit, which can meet a conflict too: it writes what is still pending.
                    tries = 0
                    if not has_time:
                        return False
                # The last job's end is always told. One before it that found nothing to do took no time either.
                return self._end_job(name, others) if is_long and (has_worked or not others) else True
            except TRY_LATER as error:
                if not self._roll_back(name):
                    return False
                tries += 1
                if tries < MAX_TRIES and not isinstance(error, DiskFull):
                    time.sleep(PAUSE * 2 ** (tries - 1))
                    continue
                _logger.info("SendGrid: %s goes on later: %s", name, str(error).strip())
                return self._end_job(name, others, put_off, None, TRY_AGAIN)
            except ApiError as error:
                if not self._roll_back(name):
                    return False
                words = self.env["sendgrid.account"]._explain_api_error(error)
                if error.may_pass:
                    after = max(TRY_AGAIN, timedelta(seconds=error.wait or 0))
                    return self._end_job(name, others, put_off, words, after)
                return self._end_job(name, others, give_up, words)
            except UserError as error:
                if not self._roll_back(name):
                    return False
                if isinstance(error, ElsewhereError):
                    return self._end_job(name, others, put_off, str(error), ASK_AGAIN)
                return self._end_job(name, others, give_up, str(error))
            except Exception as error:
                if not self._roll_back(name):
                    return False
                if type(error) in LOST_CONNECTION:
                    _logger.warning("SendGrid: %s lost its connection, it goes on at the next run: %s", name, error)
                    return False
                _logger.error("SendGrid: %s stopped", name, exc_info=error)
                return self._end_job(name, others, give_up, str(error) or repr(error))

    @api.model
    def _end_job(self, name, others, note=None, *arguments):
        """Note how a job has ended. If that fails as well, nothing is noted, and the next run goes on with the job.

        :param int others: how many jobs wait behind this one
        :param note: the job's ``give_up`` or ``put_off``, or None
        :param arguments: its arguments
        :return: as `_run_job`
        """
        try:
            if note:
                note(*arguments)
            return bool(self.env["ir.cron"]._commit_progress(0, remaining=others))
        except Exception:
            _logger.exception("SendGrid: the end of %s could not be noted, it goes on at the next run", name)
            return self._roll_back(name)

    @api.model
    def _roll_back(self, name):
        """Roll back, and tell whether the connection lives: without it this run can neither note anything nor go on."""
        try:
            self.env.cr.rollback()
        except psycopg2.Error as error:
            _logger.warning("SendGrid: %s lost its connection, it goes on at the next run: %s", name, error)
            return False
        return True
