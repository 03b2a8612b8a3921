from contextlib import contextmanager

from psycopg2.errors import DiskFull

from odoo.service.model import PG_CONCURRENCY_EXCEPTIONS_TO_RETRY

# Not the fault of what is being written: all of it is tried again later.
TRY_LATER = (*PG_CONCURRENCY_EXCEPTIONS_TO_RETRY, DiskFull)


@contextmanager
def undoable(cr):
    """A savepoint that, when it is rolled back, also takes back what was put off until after the commit.

    Core keeps such calls (webhooks, mails) over a savepoint's rollback: run again, the same work would call twice.
    """
    queues = [(queue, len(queue._funcs)) for queue in (cr.postcommit, cr.postrollback)]
    try:
        with cr.savepoint():
            yield
    except Exception:
        for queue, length in queues:
            while len(queue._funcs) > length:
                queue._funcs.pop()
        raise
