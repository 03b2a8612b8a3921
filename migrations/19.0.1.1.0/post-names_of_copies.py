"""Let mails that version 19.0.1.0.0 may have tried to send keep the names that it gave to their copies.

That version named a copy by its message and its address, so that two contacts with one address could have one document
for two mails. Now the mail and the contact belong to the name. SendGrid knows a mail of before by its old name. If it
is sent again under another, its recipients get a second document, and its events go to two.
"""


def migrate(cr, version):
    """Mark all mails of before: core lets a person send any of them again."""
    cr.execute("UPDATE mail_mail SET sendgrid_is_named_by_message = TRUE")
