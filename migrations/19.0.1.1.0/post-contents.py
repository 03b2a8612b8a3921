"""Move the bodies that documents kept into contents, which documents share, and cut the secret links out of them.

Documents without a body go on showing their message or mailing as it is now, and say so: what their recipients saw was
not kept. ORM and registry drop the old column afterwards.
"""

import psycopg2

from odoo import SUPERUSER_ID, api
from odoo.tools import sql

# A migration is no part of the package, so that it cannot import relatively.
from odoo.addons.sendgrid_tracking.tools.sending.contents import Contents  # noqa: TID251

# So many bodies are in memory at once.
CHUNK = 500


def migrate(cr, version):
    """Move the bodies in chunks. All other documents are left alone, but for those that give access to Odoo."""
    if sql.column_exists(cr, "sendgrid_email", "body"):
        # A document of a mail about somebody's access has never kept its content.
        cr.execute(
            """
            UPDATE sendgrid_email SET content_state = 'credentials'
             WHERE model = 'res.users' AND body IS NULL AND content_state IS NULL
            """
        )
        contents, last = Contents(api.Environment(cr, SUPERUSER_ID, {})["ir.http"]._get_sendgrid_site()), 0
        while last is not None:
            last = move(cr, contents, last)


def move(cr, contents, last):
    """Move the bodies of the next chunk of documents.

    :param contents: `Contents`, which knows the bodies before: those of one mail are one content
    :param int last: the id of the last document that was read
    :return: the same after the chunk, None if there is no further document
    """
    cr.execute(
        """
        SELECT id, message_id, body FROM sendgrid_email
         WHERE id > %s AND body IS NOT NULL AND content_state IS NULL ORDER BY id LIMIT %s
        """,
        [last, CHUNK],
    )
    rows = cr.fetchall()
    if not rows:
        return None
    kept = {id_: contents.keep(body, message_id or id_) for id_, message_id, body in rows}
    store(cr, {one.content for one in kept.values() if one.content and not one.content.id})
    cr.execute(
        """
        UPDATE sendgrid_email email
           SET content_id = told.content_id, content_changes = told.changes, content_state = told.state,
               content_has_secrets = told.has_secrets
          FROM unnest(%s::int[], %s::int[], %s::bytea[], %s::varchar[], %s::bool[])
               AS told (id, content_id, changes, state, has_secrets)
         WHERE email.id = told.id
        """,
        [
            list(kept),
            [one.content and one.content.id for one in kept.values()],
            [one.changes and psycopg2.Binary(one.changes) for one in kept.values()],
            [one.state for one in kept.values()],
            [one.has_secrets for one in kept.values()],
        ],
    )
    return rows[-1][0]


def store(cr, contents):
    """Store contents and give them their ids."""
    cr.execute(
        "SELECT nextval('sendgrid_content_id_seq') FROM generate_series(1, %s)",
        [len(contents)],
    )
    for content, (id_,) in zip(contents, cr.fetchall(), strict=True):
        content.id = id_
    cr.execute(
        """
        INSERT INTO sendgrid_content (id, packed, is_common)
        SELECT * FROM unnest(%s::int[], %s::bytea[], %s::bool[])
        """,
        [
            [content.id for content in contents],
            [psycopg2.Binary(content.packed) for content in contents],
            [content.is_common for content in contents],
        ],
    )
