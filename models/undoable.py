from collections.abc import Mapping
from contextlib import contextmanager

from psycopg2.errors import DiskFull

from odoo.service.model import PG_CONCURRENCY_EXCEPTIONS_TO_RETRY

# Whatever was being written, these errors are not its fault. So no part of it is marked as failed, but all of it is
# tried again later.
TRY_LATER = (*PG_CONCURRENCY_EXCEPTIONS_TO_RETRY, DiskFull)
# The documents of mails that have left have to be written, whatever is undone (see `sendgrid_email_sent`). A callback
# that has to survive has the attribute ``is_lasting``, and its data are stored in the queue under this key.
LASTING = "sendgrid_tracking.sent"


@contextmanager
def undoable(cr):
    """Open a savepoint whose rollback also takes back the calls that were put off until after the commit.

    Core puts off webhooks, mails and bus messages until then, and keeps them when a savepoint is rolled back. Work that
    is done again after a rollback would send them twice.

    The calls and their data are taken back together. Core adds a call only if the queue has no data of an earlier one:
    data without their call would silence all later calls.

    :param cr: the cursor
    """
    queues = [
        (queue, list(queue._funcs), {key: (value, _get_content(value)) for key, value in queue.data.items()})
        for queue in (cr.postcommit, cr.postrollback)
    ]
    try:
        with cr.savepoint():
            yield
    except Exception:
        for queue, calls, data in queues:
            _restore_calls(queue, calls)
            _restore_data(queue, data)
        raise


def _restore_calls(queue, calls):
    lasting = [call for call in list(queue._funcs)[len(calls) :] if getattr(call, "is_lasting", False)]
    queue._funcs.clear()
    queue._funcs.extend([*calls, *lasting])


def _restore_data(queue, data):
    for key in queue.data.keys() - data.keys() - {LASTING}:
        del queue.data[key]
    for key, (value, before) in data.items():
        if key != LASTING:
            queue.data[key] = _refill(value, before)


def _is_container(value):
    return isinstance(value, list) or (hasattr(value, "clear") and hasattr(value, "update"))


def _get_content(value):
    # Do not use `copy.copy`: the copy of Odoo's `OrderedSet` shares its content with the original.
    if not _is_container(value):
        return value
    return dict(value) if isinstance(value, Mapping) else list(value)


def _refill(value, content):
    """Give a container its former content, in place, because a call that was put off may hold this very object."""
    if not _is_container(value):
        return content
    value.clear()
    if isinstance(value, list):
        value.extend(content)
    else:
        value.update(content)
    return value


def each_alone(cr, work, items, note_failure):
    """Do some work for all items at once. If that fails, do it for each item alone, so that only the culprit fails.

    A failed try is undone, see `undoable`.

    :param cr: the cursor
    :param work: function (items)
    :param items: a recordset or a list
    :param note_failure: function (items, exception) for one item that has failed alone; it is called while the
        exception is handled, so that `logger.exception` works in it
    :return: list of the results of ``work`` and ``note_failure``
    :raise Exception: those of `TRY_LATER` (conflicts, a full disk) go on to the caller, as no item is their culprit
    """
    if not items:
        return []
    try:
        with undoable(cr):
            return [work(items)]
    except TRY_LATER:
        raise
    except Exception as error:
        if len(items) == 1:
            return [note_failure(items, error)]
    return [
        result
        for position in range(len(items))
        for result in each_alone(cr, work, items[position : position + 1], note_failure)
    ]
