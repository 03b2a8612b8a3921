from odoo.exceptions import UserError


class ElsewhereError(UserError):
    """A call would change something at SendGrid from a database, or for an address, that nobody has approved of.

    Buttons turn it into a question (`sendgrid.account._telling_api_errors`), jobs wait for somebody's answer.

    :param str words: what differs, and what happens if one goes on
    :param str question: ``place`` if the database is another, ``address`` if the same database has another address
    """

    def __init__(self, words, question):
        super().__init__(words)
        self.question = question
