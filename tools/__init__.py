"""This package knows what SendGrid takes, tells and means, in plain Python. It knows no Odoo and no database.

It says codes; the models have the words for people.
"""
