from contextlib import contextmanager


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
