def migrate(cr, version):
    """Set ``is_in_chatter`` of existing documents by the rule for new ones (`sendgrid.email._is_in_chatter`).

    Documents for which this cannot be told stay with their author and the administrators.
    """
    if not version:
        return
    cr.execute(
        r"""
        UPDATE sendgrid_email email
           SET is_in_chatter = TRUE
          FROM mail_message message
     LEFT JOIN mail_message_subtype subtype ON subtype.id = message.subtype_id
         WHERE message.id = email.mail_message_id
           AND message.model = email.model AND message.res_id = email.res_id
           AND email.model != 'res.users' AND email.res_id != 0
           AND message.message_type != 'user_notification'
           AND message.is_internal IS NOT TRUE
           AND subtype.internal IS NOT TRUE
           AND (subtype.id IS NOT NULL OR message.message_type = 'email_outgoing')
           -- Leave out links to set a password or to sign up, as `tools.sending.links.leads_to_credentials` does.
           -- Those in a body of the document's own were found before, by `post-contents.py`.
           AND email.content_state IS DISTINCT FROM 'credentials'
           AND COALESCE(message.body, '') !~* '(/|%2f)web(/|%2f)(reset(_|%5f)password|signup)\M'
        """
    )
    # The message of a mailing stands in the chatter, but core deletes it once the mail is sent. If another message is
    # deleted, nobody knows any more whether it stood in the chatter, so its document is not shown.
    cr.execute(
        """
        UPDATE sendgrid_email
           SET is_in_chatter = TRUE
         WHERE mailing_res_id IS NOT NULL AND mail_message_id IS NULL AND is_in_chatter IS NOT TRUE
           AND model != 'res.users' AND res_id != 0
        """
    )
    # The ready-made rules told everybody who may read the contact something that only readers of the e-mail may know.
    for rule, old, new in (
        ("ir_actions_server_bounce", "partner.sendgrid_warning", "partner.email_bounce_reason"),
        (
            "ir_actions_server_click",
            '"Clicked a link in “%s”" % (email.subject or "")',
            '"Clicked a link in an e-mail"',
        ),
    ):
        cr.execute(
            """
            UPDATE ir_act_server
               SET code = replace(code, %s, %s)
             WHERE id = (SELECT res_id FROM ir_model_data WHERE module = 'sendgrid_tracking' AND name = %s)
            """,
            [old, new, rule],
        )
