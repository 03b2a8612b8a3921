from collections.abc import Mapping
from contextlib import contextmanager

from psycopg2.errors import DiskFull

from odoo.service.model import PG_CONCURRENCY_EXCEPTIONS_TO_RETRY

# These are not the fault of what is being written: all of it is tried again later.
TRY_LATER = (*PG_CONCURRENCY_EXCEPTIONS_TO_RETRY, DiskFull)
# The documents of mails that have left are written whatever is undone (see `sendgrid_email_sent`). A callback that has
# to survive carries this name as an attribute, and its data stand under it.
LASTING = "sendgrid_tracking.sent"


@contextmanager
def undoable(cr):
    """Open a savepoint that, when it is rolled back, also takes back what was put off until after the commit.

    Core keeps such calls (webhooks, mails, bus messages) over a savepoint's rollback, so that the same work, run again,
    would call twice. A call and its data go together: core puts a call off only where it finds no data of an earlier
    one, so that data without their call would silence all that follow.
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
    # Not by `copy`: the copy of an `OrderedSet` of Odoo's shares its content with it.
    if not _is_container(value):
        return value
    return dict(value) if isinstance(value, Mapping) else list(value)


def _refill(value, content):
    """Give a container its former content, in place: the call that was put off may hold the container itself."""
    if not _is_container(value):
        return content
    value.clear()
    if isinstance(value, list):
        value.extend(content)
    else:
        value.update(content)
    return value


def each_alone(cr, work, items, note_failure):
    """Do some work for all items at once; if that fails, for each by itself, so that only the cause of it fails.

    :param work: takes items, and returns something or None
    :param items: a recordset or a list
    :param note_failure: takes items (one of them) and the exception, in whose handling it is called
    :return: what ``work`` and ``note_failure`` returned, a list
    :raise TRY_LATER: conflicts and a full disk go on to the caller
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
