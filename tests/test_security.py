"""Nobody gets in: every model, field, method, route and bus message against those who may not, from the registry.

What is new and not in a table here fails the test.
"""

import ast
import inspect
import itertools
import logging
import re
from pathlib import Path
from unittest.mock import patch

from odoo import Command, models
from odoo.exceptions import AccessError, UserError
from odoo.tests import HttpCase, mute_logger, new_test_user, tagged

from ..models import sendgrid_account_webhook, sendgrid_drain
from .common import SendgridCase, SendgridMixin
from .simulator import Relayed, Signer, to_wire

MODULE = "sendgrid_tracking"
USERS = {
    "salesperson": "base.group_user,sales_team.group_sale_salesman_all_leads",
    "own leads only": "base.group_user,sales_team.group_sale_salesman",
    "other company": "base.group_user,sales_team.group_sale_salesman_all_leads",
    "portal": "base.group_portal",
    "public": "base.group_public",
    "administrator": "base.group_system",
}
EMPLOYEES = ("salesperson", "own leads only", "other company", "administrator")
SALESPEOPLE = EMPLOYEES[:-1]
ADMINISTRATORS = EMPLOYEES[-1:]
NOBODY = ()
EVERYBODY = (*EMPLOYEES, "portal", "public")
OPERATIONS = ("read", "write", "create", "unlink")

# Who may do what with the models of the addon. Which records: see DOCUMENTS.
MODELS = {
    "sendgrid.account": dict.fromkeys(OPERATIONS, ADMINISTRATORS),
    "sendgrid.account.check": {"read": ADMINISTRATORS},
    "sendgrid.account.connect": dict.fromkeys(OPERATIONS, ADMINISTRATORS),
    "sendgrid.account.connect.step": dict.fromkeys(OPERATIONS, ADMINISTRATORS),
    "sendgrid.account.day": {"read": ADMINISTRATORS},
    "sendgrid.account.disconnect": dict.fromkeys(OPERATIONS, ADMINISTRATORS),
    "sendgrid.address": {"read": ADMINISTRATORS},
    "sendgrid.account.foreign": {"read": ADMINISTRATORS},
    "sendgrid.answer": {},
    "sendgrid.backfill": dict.fromkeys(OPERATIONS, ADMINISTRATORS),
    "sendgrid.consent": {"read": ADMINISTRATORS},
    "sendgrid.consent.ask": dict.fromkeys(OPERATIONS, EMPLOYEES),
    "sendgrid.consequence": {},
    "sendgrid.content": {"read": ADMINISTRATORS},
    "sendgrid.drain": {},
    "sendgrid.email": {"read": EMPLOYEES},
    "sendgrid.erasure": {"read": ADMINISTRATORS},
    "sendgrid.event": {"read": EMPLOYEES},
    "sendgrid.event.attach": dict.fromkeys(OPERATIONS, ADMINISTRATORS),
    "sendgrid.event.batch": {"read": ADMINISTRATORS},
    "sendgrid.export": dict.fromkeys(("read", "unlink"), ADMINISTRATORS),
    "sendgrid.export.part": {"read": ADMINISTRATORS},
    "sendgrid.follow.up": dict.fromkeys(OPERATIONS, EMPLOYEES),
    "sendgrid.forget": dict.fromkeys(OPERATIONS, ADMINISTRATORS),
    "sendgrid.ingest": {},
    "sendgrid.interaction": {"read": EMPLOYEES},
    "sendgrid.invoice": {},
    "sendgrid.mailing": {},
    "sendgrid.job.mixin": {},
    "sendgrid.match": {},
    "sendgrid.patch.mixin": {},
    "sendgrid.measuring": {},
    "sendgrid.notice": {},
    "sendgrid.reduction": {"read": ADMINISTRATORS},
    "sendgrid.rejection": {"read": ADMINISTRATORS},
    "sendgrid.reminder": {"read": EMPLOYEES},
    "sendgrid.retention": {"read": ADMINISTRATORS},
    "sendgrid.suppression": {"read": ADMINISTRATORS},
    "sendgrid.suppression.clear": dict.fromkeys(OPERATIONS, EMPLOYEES),
    "sendgrid.suppression.clear.line": dict.fromkeys(OPERATIONS, EMPLOYEES),
    "sendgrid.suppression.sync": {"read": ADMINISTRATORS},
    "sendgrid.switch.mixin": {},
    "sendgrid.visibility.mixin": {},
    "sendgrid.wording": {"read": EMPLOYEES, **dict.fromkeys(OPERATIONS[1:], ADMINISTRATORS)},
}
# Who may read which of the addon's fields.
FIELDS = {
    "base.module.uninstall": {ADMINISTRATORS: "sendgrid_consequences"},
    "crm.lead": {
        SALESPEOPLE: """email_activity email_bounce_date email_bounce_reason email_bounced email_tracking
            email_tracking_date email_tracking_details email_valid_date is_held_by_sendgrid may_clear_at_sendgrid
            sendgrid_email_count sendgrid_unmeasured_reason sendgrid_warning""",
    },
    "digest.digest": {
        EMPLOYEES: """kpi_sendgrid_clicked kpi_sendgrid_clicked_value kpi_sendgrid_delivered
            kpi_sendgrid_delivered_value kpi_sendgrid_opened kpi_sendgrid_opened_value kpi_sendgrid_refused
            kpi_sendgrid_refused_value kpi_sendgrid_replied kpi_sendgrid_replied_value""",
    },
    "ir.actions.server": {ADMINISTRATORS: "sendgrid_runs_once"},
    # It has the fields of its action.
    "ir.cron": {ADMINISTRATORS: "sendgrid_runs_once"},
    "ir.mail_server": {ADMINISTRATORS: "sendgrid_account_id sendgrid_connection smtp_authentication"},
    "mail.blacklist": {ADMINISTRATORS: "is_suppressed"},
    "mail.compose.message": {
        EMPLOYEES: """has_sendgrid_account sendgrid_is_tracked sendgrid_reminder_days sendgrid_resent_id
            sendgrid_unmeasured sendgrid_warning""",
    },
    "mail.mail": {
        ADMINISTRATORS: """sendgrid_again_of_id sendgrid_email_ids sendgrid_event_ids sendgrid_is_about_access
            sendgrid_is_named_by_message sendgrid_is_unmeasured sendgrid_reminder_days sendgrid_template_id""",
    },
    "mail.message": {EMPLOYEES: "sendgrid_is_unmeasured sendgrid_reminder_days"},
    "mail.scheduled.message": {EMPLOYEES: "has_sendgrid_account sendgrid_is_tracked sendgrid_reminder_days"},
    "mail.template": {EMPLOYEES: "has_sendgrid_account sendgrid_is_tracked"},
    "res.company": {
        ADMINISTRATORS: """sendgrid_detail_months sendgrid_document_months sendgrid_has_notice sendgrid_keeps_details
            sendgrid_networks sendgrid_unasked""",
    },
    "res.config.settings": {
        ADMINISTRATORS: """sendgrid_accounts sendgrid_deleted_rules sendgrid_detail_months sendgrid_document_months
            sendgrid_has_notice sendgrid_keeps_details sendgrid_networks sendgrid_rule_bounce sendgrid_rule_click
            sendgrid_rule_silent_click sendgrid_rule_unanswered sendgrid_rule_unsubscribe sendgrid_unasked"""
    },
    "res.partner": {
        EMPLOYEES: """email_activity email_bounce_date email_bounce_reason email_bounced email_tracking
            email_tracking_date email_tracking_details email_valid_date is_held_by_sendgrid
            may_clear_at_sendgrid sendgrid_email_count sendgrid_email_ids sendgrid_resend_dismissed
            sendgrid_resend_offer sendgrid_unmeasured_reason sendgrid_warning""",
        # Core's: we have only given it an index.
        EVERYBODY: "email_normalized",
    },
    "res.users": {
        EMPLOYEES: """email_activity email_bounce_date email_bounce_reason email_bounced email_tracking
            email_tracking_date email_tracking_details email_valid_date is_held_by_sendgrid
            may_clear_at_sendgrid sendgrid_email_count sendgrid_email_ids sendgrid_resend_dismissed
            sendgrid_resend_offer sendgrid_unmeasured_reason sendgrid_warning""",
        # A user reads his own wishes.
        EVERYBODY: """email_normalized sendgrid_tells_clicked sendgrid_tells_failed sendgrid_tells_opened
            sendgrid_tells_replied""",
    },
    "sendgrid.account": {
        ADMINISTRATORS: """act_on_events active api_key check_ids click_tracking company_id compliance_date
            compliance_status connected_database connected_url connected_uuid connection_date connection_state
            duplicate_count event_count event_graph event_lag
            failed_batch_count foreign_count foreign_explanation group_unsubscribe_action health keep_foreign_events
            last_event_date mail_server_ids name open_tracking
            pending_batch_count place_warning previous_verification_key previous_verification_key_end
            previous_webhook_id
            previous_webhook_token refused_count refused_hint region rejected_count signature_max_age
            stored_explanation today_event_count
            tracking_settings_date unmatched_count verification_key webhook_created webhook_id webhook_token
            webhook_url""",
    },
    "sendgrid.account.check": {ADMINISTRATORS: "account_id can_open date detail finding message since state subject"},
    "sendgrid.account.connect": {
        ADMINISTRATORS: """account_id api_key asks_measured chooses_measured company_id is_done moves_webhook name
            region rotates_key sending stale_server_ids step_ids""",
    },
    "sendgrid.account.connect.step": {
        ADMINISTRATORS: "connect_id email_id last_batch_id mail_date message name question state test_count test_date"
    },
    "sendgrid.account.day": {
        ADMINISTRATORS: """account_id batch_count date duplicate_count event_count lag last_event_date received_date
            rejected_count unmatched_count""",
    },
    "sendgrid.account.disconnect": {ADMINISTRATORS: "account_id done plan remains"},
    "sendgrid.address": {
        ADMINISTRATORS: """bounce_cause bounce_date bounce_reason confirmation_date consent_ids email email_tracking
            email_tracking_date email_tracking_form email_tracking_source email_tracking_uid
            email_tracking_wording_id exported_date exported_uid forgotten_count forgotten_date
            forgotten_uid groups held_list held_reason held_since is_blacklisted_by_words is_bounced
            last_click_date last_open_date last_reply_date reminder_date unmeasured_until valid_date
            valid_uid wanted_date wanted_uid wish_date""",
    },
    "sendgrid.account.foreign": {ADMINISTRATORS: "account_id count date event"},
    "sendgrid.backfill": {
        ADMINISTRATORS: """account_id api_name batch_ids date_from date_to email_id error event_count is_incomplete
            message_count message_ids_left new_count progress state waits_until windows""",
    },
    "sendgrid.consent": {ADMINISTRATORS: "address_id date form source uid word wording_id"},
    "sendgrid.consent.ask": {EMPLOYEES: "form kept_count res_ids res_model word wording_id"},
    # Nobody reads a content but through a document that he may see.
    "sendgrid.content": {NOBODY: "packed text", ADMINISTRATORS: "is_common mailing_res_id"},
    "sendgrid.email": {
        NOBODY: "content_changes content_id",
        EMPLOYEES: """again_date again_of_id also_sent_to attachment_ids author_id can_follow_up can_mute
            can_send_again can_take_back_unsubscription
            click_count company_id contact_name content content_has_secrets content_note content_state date
            delivered_date email_from engagement_summary event_ids first_open_date has_secret_links is_alone
            is_in_chatter is_muted is_unsubscribed_by_machine journey last_open_date link_clicks machine_click_count
            machine_open_count measured mail_message_id mailing_res_id mailing_source_id message_id model odoo_id
            open_count partner_id person_click_date person_open_date preview processed_date recipient
            recipient_domain recipient_role refusal_cause reminder_date reminder_days
            reply_date res_id resource_ref sent_again_explanation
            sent_count sent_date sg_message_id status status_explanation status_reason subject team_id
            template_id unknown_click_count unknown_open_count unmeasured_count unmeasured_note
            unmeasured_reason""",
        ADMINISTRATORS: "account_id consequence_error facts failed_consequences has_arrived mail_id",
    },
    "sendgrid.erasure": {
        ADMINISTRATORS: """account_id address_count addresses_left error invalid_count job_ids progress state
            taken_count waits_until""",
    },
    "sendgrid.event": {
        EMPLOYEES: """answer answer_url asm_group_id attempt bounce_classification bounce_type delay device email_id
            event explanation fingerprint icon ip is_colleague is_final is_machine link machine_explanation
            machine_reason match name odoo_id partner_id rank reason recipient refusal_cause response sg_event_id
            sg_machine_open sg_message_id smtp_id smtp_status source
            timestamp tone unread unread_explanation url_offset user_agent verdict""",
        ADMINISTRATORS: "account_id answer_message_id batch_id url",
    },
    "sendgrid.event.attach": {ADMINISTRATORS: "email_id event_ids offered_ids"},
    "sendgrid.event.batch": {
        ADMINISTRATORS: """account_id backfill_id body body_gzip body_name duplicate_count error error_explanation
            event_count event_ids failed_rules is_rewritten processed_date reduced_count rejected_count
            rejected_explanation rejected_reasons set_aside_date set_aside_uid size source state unmatched_count""",
    },
    "sendgrid.export": {
        ADMINISTRATORS: """address_names addresses company_ids content_size email_count error last_id
            partner_id progress stage state written_count""",
    },
    "sendgrid.export.part": {NOBODY: "packed", ADMINISTRATORS: "export_id"},
    "sendgrid.follow.up": {EMPLOYEES: "days email_id"},
    "sendgrid.forget": {
        ADMINISTRATORS: """account_ids address_count address_names addresses email_count email_numbers
            erases_at_sendgrid erasure_ids event_count place_warning reduction_numbers result""",
    },
    # Which ones: his own, see `test_interactions`.
    "sendgrid.interaction": {
        EMPLOYEES: """contact_name date email_id is_seen kind mailing_res_id partner_id recipient status subject
            told_date user_id"""
    },
    "sendgrid.suppression": {
        ADMINISTRATORS: """account_id cleared_date cleared_sync_id clearing_date created email error group_id group_name
            last_sync_id list outcome reason smtp_status state sync_id""",
    },
    "sendgrid.suppression.clear": {EMPLOYEES: "email line_ids problem"},
    "sendgrid.suppression.clear.line": {
        EMPLOYEES: "account_name account_number email group_id group_name is_chosen list reason wizard_id"
    },
    "sendgrid.suppression.sync": {
        ADMINISTRATORS: """account_id acted_count asked_groups cleared_count current_last current_list current_offset
            ended error failed_count gap_message gaps idle_count is_whole kept_count known_count new_count
            odoo_only_count progress rejected_count seen_count since started state until waits_until""",
    },
    "sendgrid.reduction": {ADMINISTRATORS: "addresses email_count email_numbers error last_id reason state"},
    "sendgrid.rejection": {ADMINISTRATORS: "account_id count hint"},
    # Which ones: his own, see `test_reminders`.
    "sendgrid.reminder": {EMPLOYEES: "activity_id date email_id state user_id"},
    "sendgrid.retention": {ADMINISTRATORS: "account_id documents_date last_event_id"},
    "sendgrid.wording": {EMPLOYEES: "active is_used name text version"},
}
# What whoever has it can act with: not to be copied, tracked or logged. See also `test_secrets_are_named`.
SECRETS = {
    "sendgrid.account": {"api_key", "previous_webhook_token", "webhook_token", "webhook_url"},
    "sendgrid.account.connect": {"api_key"},
}
# How each operation is tried: methods that a web client calls, and their arguments.
WAYS = {
    "read": (
        ("search", []),
        ("search_count", []),
        ("search_read", [], ["id"]),
        ("read", ["display_name"]),
        ("web_read", {"display_name": {}}),
        ("name_search", ""),
        ("formatted_read_group", [], ["create_uid"], ["__count"]),
        ("export_data", ["id"]),
    ),
    "write": (("write", {"create_date": False}), ("web_save", {}, {})),
    "create": (("create", {}), ("copy",), ("load", ["id"], [["x"]])),
    "unlink": (("unlink",),),
}
# Who may call which of the addon's public methods on a record that he may see.
METHODS = {
    "crm.lead": dict.fromkeys(
        (
            "action_clear_at_sendgrid",
            "action_email_is_valid",
            "action_emails_are_valid",
            "action_set_email_tracking",
            "action_view_sendgrid_emails",
        ),
        SALESPEOPLE,
    ),
    "res.config.settings": {"action_open_sendgrid_countries": ADMINISTRATORS},
    "res.partner": {
        **dict.fromkeys(
            (
                # For whoever may change a contact.
                "action_clear_at_sendgrid",
                "action_dismiss_sendgrid_resend",
                "action_email_is_valid",
                "action_emails_are_valid",
                "action_set_email_tracking",
                # For whoever may see documents.
                "action_view_sendgrid_resend",
                # For whoever may see the record that he writes about.
                "get_sendgrid_unmeasured",
            ),
            EMPLOYEES,
        ),
        # It is the address of a list: what is in it, the list decides.
        "action_view_sendgrid_emails": EVERYBODY,
    },
    "sendgrid.account": dict.fromkeys(
        (
            "action_check_health",
            "action_ask_for_missed",
            "action_choose_retention",
            "action_choose_measured",
            "action_claim",
            "action_connect",
            "action_disconnect",
            "action_forget_previous_key",
            "action_new_webhook_token",
            "action_read_tracking_settings",
            "action_rotate_key",
            "action_switch_click_tracking",
            "action_switch_open_tracking",
            "action_sync_suppressions",
        ),
        ADMINISTRATORS,
    ),
    "sendgrid.account.connect": dict.fromkeys(
        ("action_back", "action_open_account", "action_start", "run_next"), ADMINISTRATORS
    ),
    "sendgrid.account.check": {"action_open": ADMINISTRATORS},
    "sendgrid.account.connect.step": dict.fromkeys(
        (
            "action_claim",
            "action_connect_beside",
            "action_measure",
            "action_move",
            "action_open_countries",
            "action_open_email",
            "action_repeat",
            "action_use_key",
        ),
        ADMINISTRATORS,
    ),
    "sendgrid.account.disconnect": {"action_disconnect": ADMINISTRATORS},
    "sendgrid.address": {"action_set_email_tracking": ADMINISTRATORS, "set_email_tracking": ADMINISTRATORS},
    "sendgrid.consent.ask": {"action_set": EMPLOYEES},
    "sendgrid.backfill": {"action_start": ADMINISTRATORS, "action_view_events": ADMINISTRATORS},
    "sendgrid.email": {
        "action_ask_sendgrid": ADMINISTRATORS,
        "action_follow_up": EMPLOYEES,
        "action_no_reminder": EMPLOYEES,
        # For its author, see `test_interactions`.
        "action_mute": NOBODY,
        "action_unmute": NOBODY,
        "action_open_record": EMPLOYEES,
        "action_run_again": ADMINISTRATORS,
        "action_send_again": EMPLOYEES,
        "action_take_back_unsubscription": ADMINISTRATORS,
        "action_view_again": EMPLOYEES,
    },
    "sendgrid.erasure": {"action_start": ADMINISTRATORS},
    "sendgrid.event": {"action_match_again": ADMINISTRATORS},
    "sendgrid.event.attach": {"action_attach": ADMINISTRATORS},
    "sendgrid.event.batch": dict.fromkeys(
        ("action_process_again", "action_set_aside", "action_take_back"), ADMINISTRATORS
    ),
    "sendgrid.export": dict.fromkeys(("action_download", "action_start"), ADMINISTRATORS),
    "sendgrid.follow.up": {"action_remind": EMPLOYEES},
    "sendgrid.forget": dict.fromkeys(("action_forget", "action_view_erasures", "action_view_progress"), ADMINISTRATORS),
    "sendgrid.interaction": dict.fromkeys(
        ("action_mark_all_seen", "action_open", "get_feed", "mark_line_seen", "mark_seen"), EMPLOYEES
    ),
    "sendgrid.suppression": {"action_clear": ADMINISTRATORS, "action_apply_again": ADMINISTRATORS},
    "sendgrid.suppression.clear": {"action_clear": EMPLOYEES},
    "sendgrid.suppression.sync": {
        "action_view_entries": ADMINISTRATORS,
        "action_view_only_in_odoo": ADMINISTRATORS,
    },
    "sendgrid.wording": {"action_new_version": ADMINISTRATORS},
}
# What those of them are called with that cannot be called without.
ARGUMENTS = {
    "get_sendgrid_unmeasured": ("res.partner", 1, []),
    "set_email_tracking": (["ada@example.org"], "declined", "form"),
}
# Address, type, who, methods, protection against forged forms. Without a session there is nothing to forge. What the
# page that tells how an e-mail is measured does, its token allows: see `test_notice_page`. And who asked for an
# export may download it: see `test_export`.
ROUTES = {
    ("/sendgrid/export/<int:export_id>", "http", "user", ("GET",), True),
    ("/sendgrid/measuring", "http", "none", ("GET",), True),
    ("/sendgrid/measuring/<path:measuring_token>", "http", "none", ("GET",), True),
    ("/sendgrid/measuring/<path:measuring_token>", "http", "none", ("POST",), False),
    ("/sendgrid/measuring/<string:measuring_token>", "http", "none", ("GET",), True),
    ("/sendgrid/measuring/<string:measuring_token>", "http", "none", ("POST",), False),
    ("/sendgrid/webhook/<string:webhook_token>", "http", "public", ("POST",), False),
}
# The name of each bus message, and the channel that it goes to.
MESSAGES = {"sendgrid.email/changed": "base.group_user"}
# The messages that go to one user himself, and say what happened to his e-mails.
OWN_MESSAGES = {"sendgrid.interaction/told"}
# Core's notices, which the addon sends only to the user whose click they answer.
NOTICES = {"simple_notification"}
# Who sees the documents about which record. Nobody outside the company sees any. In the chatter but for the last.
DOCUMENTS = {
    "own lead": {"salesperson", "own leads only"},
    "colleague's lead": {"salesperson"},
    "nobody's lead": {"salesperson", "own leads only"},
    "other company's lead": {"other company"},
    "shared contact": {"salesperson", "own leads only", "other company", "administrator"},
    "other company's contact": {"other company"},
    "nothing": {"administrator"},
    "colleague's private meeting": set(),
    "note on a shared contact": {"administrator"},
}


def names(table, user):
    """The names in a table of audiences that a user is meant by."""
    return {name for audience, text in table.items() if user in audience for name in text.split()}


class Outsiders:
    """The users of the table, each of a kind."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.other_company = cls.env["res.company"].create({"name": "Another"})
        cls.users = {
            name: new_test_user(cls.env, f"sendgrid_{name.replace(' ', '_')}", groups=groups, email="x@example.org")
            for name, groups in USERS.items()
        }
        cls.users["other company"].write(
            {"company_ids": [Command.set(cls.other_company.ids)], "company_id": cls.other_company.id}
        )


def own_fields(Model):
    """The names of the fields of a model that the addon has a hand in."""
    return {
        name
        for name, field in Model._fields.items()
        if MODULE in field._modules and name not in (*models.MAGIC_COLUMNS, "display_name")
    }


def own_methods(Model):
    """The public methods of a model that nobody else but the addon defines."""
    ours, others = set(), set()
    for cls in type(Model).mro():
        where = ours if cls.__module__.startswith(f"odoo.addons.{MODULE}.") else others
        where.update(name for name, value in vars(cls).items() if inspect.isfunction(value))
    return {name for name in ours - others if not name.startswith("_")}


@tagged("post_install", "-at_install")
class TestDoors(Outsiders, SendgridCase):
    """The tables above, compared with the registry and tried out, door by door."""

    maxDiff = None

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        lead = cls.env["crm.lead"].create({"name": "Nobody's", "user_id": False})
        cls.email = cls.create_email(cls, partner_id=cls.contact.id, model="res.partner", res_id=cls.contact.id)
        event = {"account_id": cls.account.id, "match": "odoo_id", "event": "open", "timestamp": "2026-11-24 06:01:00"}
        cls.batch = cls.store(cls, [{}])
        cls.event = cls.Event.create(
            {**event, "email_id": cls.email.id, "fingerprint": "security", "batch_id": cls.batch.id}
        )
        # A record of each model for whoever may see one; but people see themselves.
        cls.records = {
            "crm.lead": lead,
            "digest.digest": cls.env["digest.digest"].create({"name": "Our week"}),
            "ir.actions.server": cls.env.ref("sendgrid_tracking.ir_actions_server_click"),
            "ir.cron": cls.env.ref("sendgrid_tracking.ir_cron_drain"),
            "ir.mail_server": cls.server,
            "mail.mail": cls.env["mail.mail"].create({"subject": "Mail"}),
            "mail.message": cls.contact.message_post(
                body="Hello", message_type="comment", subtype_xmlid="mail.mt_comment"
            ),
            "mail.scheduled.message": cls.env["mail.scheduled.message"].create(
                {
                    "model": "res.partner",
                    "res_id": cls.contact.id,
                    "author_id": cls.env.user.partner_id.id,
                    "scheduled_date": "2100-01-01 00:00:00",
                }
            ),
            "mail.template": cls.env["mail.template"].create(
                {"name": "Offer", "model_id": cls.env["ir.model"]._get_id("res.partner")}
            ),
            "res.company": cls.env.company,
            "res.partner": cls.contact,
            "sendgrid.account": cls.account,
            "sendgrid.account.check": cls.env["sendgrid.account.check"].create(
                {
                    "account_id": cls.account.id,
                    "subject": "key",
                    "state": "ok",
                    "finding": "key_valid",
                    "date": "2026-11-24",
                    "since": "2026-11-24",
                }
            ),
            "sendgrid.account.day": cls.env["sendgrid.account.day"].create(
                {"account_id": cls.account.id, "date": "2026-11-24"}
            ),
            "sendgrid.account.foreign": cls.env["sendgrid.account.foreign"].create(
                {"account_id": cls.account.id, "date": "2026-11-24", "event": "open"}
            ),
            "sendgrid.content": cls.env["sendgrid.content"].create({"text": "<p>Hello</p>"}),
            "sendgrid.email": cls.email,
            "sendgrid.event": cls.event,
            "sendgrid.event.batch": cls.batch,
            "sendgrid.interaction": cls.env["sendgrid.interaction"].create(
                [
                    {
                        "user_id": cls.users[user].id,
                        "email_id": cls.create_email(cls, author_id=cls.users[user].partner_id.id).id,
                        "kind": "opened",
                        "date": "2026-11-24",
                    }
                    for user in EMPLOYEES
                ]
            ),
            "sendgrid.reduction": cls.env["sendgrid.reduction"].create({"reason": "wish"}),
            "sendgrid.reminder": cls.env["sendgrid.reminder"].create(
                [{"user_id": cls.users[user].id, "email_id": cls.email.id, "date": "2100-01-01"} for user in EMPLOYEES]
            ),
            "sendgrid.rejection": cls.env["sendgrid.rejection"].create({"account_id": cls.account.id, "hint": "key"}),
            "sendgrid.retention": cls.env["sendgrid.retention"].create({"account_id": cls.account.id}),
            "mail.blacklist": cls.env["mail.blacklist"].create({"email": "security@example.org"}),
            "sendgrid.address": cls.env["sendgrid.address"].create({"email": "ada@example.org"}),
            "sendgrid.consent": cls.env["sendgrid.address"]
            .set_email_tracking(["bob@example.org"], "agreed", "form")
            .consent_ids,
            "sendgrid.backfill": cls.env["sendgrid.backfill"].create({"account_id": cls.account.id}),
            "sendgrid.erasure": cls.env["sendgrid.erasure"].create({"account_id": cls.account.id}),
            "sendgrid.export": (
                export := cls.env["sendgrid.export"].with_user(cls.users["administrator"]).sudo().create({})
            ),
            "sendgrid.export.part": cls.env["sendgrid.export.part"].create({"export_id": export.id}),
            "sendgrid.suppression": cls.env["sendgrid.suppression"].create(
                {
                    "account_id": cls.account.id,
                    "list": "bounces",
                    "email": "security@example.org",
                    "created": "2026-11-24 06:01:00",
                }
            ),
            "sendgrid.suppression.sync": cls.env["sendgrid.suppression.sync"].create(
                {"account_id": cls.account.id, "until": "2026-11-24 06:01:00"}
            ),
            "sendgrid.wording": cls.env["sendgrid.wording"].create({"name": "Newsletter", "text": "May we?"}),
        }

    def _models(self):
        return {name: Model for name, Model in self.env.items() if Model._original_module == MODULE}

    def _as(self, user, model):
        """A record of a model, as a user has it before him."""
        person = self.users[user]
        Model = self.env[model]
        if Model._transient:
            creator = person if Model.with_user(person).has_access("create") else self.env.user
            record = Model.with_user(creator).create(self._wizard_values(model, creator))
        elif model in ("res.partner", "res.users") and user in ("portal", "public"):
            record = person if model == "res.users" else person.partner_id
        elif model in ("sendgrid.interaction", "sendgrid.reminder"):
            record = self.records[model].filtered(lambda one: one.user_id == person) or self.records[model][:1]
        else:
            record = person if model == "res.users" else self.records[model]
        self.env.flush_all()
        self.env.invalidate_all()
        return record.with_user(person).with_context(allowed_company_ids=person.company_ids.ids)

    def _wizard_values(self, model, creator):
        if model == "sendgrid.account.connect.step":
            connect = self.env["sendgrid.account.connect"].with_user(creator).create({})
            return {"connect_id": connect.id, "name": "key"}
        if model == "sendgrid.suppression.clear.line":
            clear = self.env["sendgrid.suppression.clear"].with_user(creator).create({"email": "security@example.org"})
            return {"wizard_id": clear.id, "list": "bounces", "email": clear.email}
        return {
            "sendgrid.account.disconnect": {"account_id": self.account.id},
            "sendgrid.suppression.clear": {"email": "security@example.org"},
            "sendgrid.consent.ask": {"res_model": "res.partner", "res_ids": self.contact.ids, "word": "agreed"},
            "sendgrid.follow.up": {"email_id": self.email.id},
            "sendgrid.event.attach": {"email_id": self.email.id, "event_ids": [Command.set(self.event.ids)]},
        }.get(model, {})

    def test_nothing_is_forgotten(self):
        """Test that each model, field and method of the addon is in its table, and nothing else."""
        self.assertEqual(set(self._models()), set(MODELS))
        # What a mixin has is in the table of each model that inherits it.
        mixins = ("mail.thread.blacklist", "sendgrid.switch.mixin", "utm.source.mixin")
        concrete = {name: Model for name, Model in self.env.items() if name not in mixins}
        fields = {name: found for name, Model in concrete.items() if (found := own_fields(Model))}
        self.assertEqual(
            fields, {model: set(" ".join(table.values()).split()) for model, table in FIELDS.items()}, "fields"
        )
        methods = {name: found for name, Model in concrete.items() if (found := own_methods(Model))}
        self.assertEqual(methods, {model: set(table) for model, table in METHODS.items()}, "methods")

    def test_secrets_are_named(self):
        """Test that what sounds like a secret is one, for administrators only, and neither copied nor tracked."""
        for model, table in FIELDS.items():
            for name in set(" ".join(table.values()).split()):
                field = self.env[model]._fields[name]
                if field.type in ("char", "text") and re.search("api_key|token|secret|passw", name):
                    self.assertIn(name, SECRETS.get(model, ()), f"{model}.{name}")
        for model, secrets in SECRETS.items():
            for name in secrets:
                field = self.env[model]._fields[name]
                with self.subTest(model=model, name=name):
                    self.assertEqual(field.groups, "base.group_system")
                    self.assertFalse(field.copy)
                    self.assertFalse(getattr(field, "tracking", None))
                    self.assertFalse(field.compute_sudo)

    def test_models(self):
        """Test what each user may do with each model, by its rights and by trying."""
        for (model, table), user in itertools.product(MODELS.items(), USERS):
            Model = self.env[model].with_user(self.users[user])
            for operation in OPERATIONS:
                with self.subTest(model=model, user=user, operation=operation):
                    self.assertEqual(Model.has_access(operation), user in table.get(operation, ()))
            if Model._abstract:
                continue
            record = self._as(user, model)
            for operation, ways in WAYS.items():
                if user in table.get(operation, ()):
                    continue
                for method, *arguments in ways:
                    with self.subTest(model=model, user=user, operation=operation, method=method):
                        self.assertDenied(getattr(record, method), *arguments)

    @mute_logger("odoo.addons.base.models.ir_rule", "odoo.addons.base.models.ir_model", "odoo.models")
    def assertDenied(self, method, *arguments):
        """Assert that a call is refused, or finds nothing."""
        with self.env.cr.savepoint(flush=False) as savepoint:
            try:
                result = method(*arguments)
            except UserError:  # what denies access is one
                result = None
            savepoint.rollback()
        self.env.invalidate_all()
        if isinstance(result, dict):  # the import tells in its answer what it refused
            result = result["ids"]
        if isinstance(result, list):  # messages that one may not read are not refused, but there are none to count
            result = [one for one in result if not isinstance(one, dict) or any({**one, "__extra_domain": 0}.values())]
        self.assertFalse(result)

    def test_fields(self):
        """Test which field each user reads; one that he may not read he neither finds, sorts, groups nor exports by."""
        for (model, table), user in itertools.product(FIELDS.items(), USERS):
            readable = names(table, user)
            record = self._as(user, model)
            for name in set(" ".join(table.values()).split()):
                field = record._fields[name]
                with self.subTest(model=model, user=user, field=name):
                    if name in readable:
                        record.read([name])
                        if record.has_access("read") and field.store and field.type != "binary":
                            record.search([(name, "!=", False)], limit=1)
                        continue
                    ways = [("read", [name]), ("web_read", {name: {}}), ("__getitem__", name), ("export_data", [name])]
                    if field.store:
                        probe = {"char": ("=like", "%"), "text": ("=like", "%"), "many2one": ("in", [1])}
                        ways += [
                            ("search", [(name, *probe.get(field.type, ("!=", False)))]),
                            ("search", [], 0, None, name),
                            ("formatted_read_group", [], [name], ["__count"]),
                            ("formatted_read_group", [], [], [f"{name}:count_distinct"]),
                        ]
                    for method, *arguments in ways:
                        with self.subTest(method=method, arguments=arguments):
                            self.assertDenied(getattr(record, method), *arguments)
                    if self.env[model].with_user(self.users[user]).has_access("read"):
                        self.assertNotIn(name, record.fields_get())

    def test_no_way_around(self):
        """Test that nobody finds out a secret along relations, from whatever model he may read."""
        accounts = [
            (name, field_name)
            for name, Model in self.env.items()
            if not Model._abstract
            for field_name, field in Model._fields.items()
            if field.relational and field.comodel_name == "sendgrid.account" and field._description_searchable
        ]
        self.assertGreater(len(accounts), 3)
        paths = list(accounts)
        for name, Model in self.env.items():
            if Model._abstract:
                continue
            for field_name, field in Model._fields.items():
                if field.relational and field._description_searchable:
                    paths += [(name, f"{field_name}.{rest}") for via, rest in accounts if field.comodel_name == via]
        self.assertIn(("mail.template", "mail_server_id.sendgrid_account_id"), paths)
        for user in set(USERS) - set(ADMINISTRATORS):
            for model, path in paths:
                Model = self.env[model].with_user(self.users[user])
                for secret in ("api_key", "webhook_token"):
                    with self.subTest(user=user, model=model, path=path, secret=secret):
                        self.assertDenied(Model.search, [(f"{path}.{secret}", "=like", "%")])
                        self.assertDenied(Model.search, [(path, "any", [(secret, "=like", "%")])])
                        self.assertDenied(self._export_all, Model, f"{path}.{secret}".replace(".", "/"))

    def _export_all(self, Model, column):
        return [cell for row in Model.search([]).export_data([column])["datas"] for cell in row if cell]

    def test_methods(self):
        """Test who may call which public method: others are refused, whatever they may see."""
        self.account.api_key = False  # so that none of them calls SendGrid
        for (model, table), user in itertools.product(METHODS.items(), USERS):
            for name, audience in table.items():
                with self.subTest(model=model, user=user, method=name):
                    record = self._as(user, model)
                    if user not in audience:
                        with self.assertRaises(AccessError), mute_logger("odoo.addons.base.models.ir_model"):
                            getattr(record, name)(*ARGUMENTS.get(name, ()))
                        continue
                    with self.env.cr.savepoint(flush=False) as savepoint:
                        try:
                            getattr(record, name)(*ARGUMENTS.get(name, ()))
                        except UserError as error:  # there is nothing to do, or it is the wrong case for it
                            self.assertNotIsInstance(error, AccessError)
                        savepoint.rollback()
                    self.env.invalidate_all()

    @mute_logger("odoo.addons.base.models.ir_rule")
    def test_own_dialogs(self):
        """Test that nobody opens another's dialog: while an account is being connected it holds the key."""
        colleague = new_test_user(self.env, "sendgrid_colleague", groups="base.group_system")
        for model in MODELS:
            if not self.env[model]._transient or model == "sendgrid.event.attach":
                continue
            theirs = self._as("administrator", model).with_user(colleague)
            with self.subTest(model=model):
                self.assertDenied(theirs.read, ["display_name"])
                self.assertDenied(theirs.search, [("id", "=", theirs.id)])

    def test_documents(self):
        """Test who sees which documents and events, by every way in which records are read."""
        person = self.users
        leads = {
            "own lead": {"user_id": person["own leads only"].id},
            "colleague's lead": {"user_id": person["salesperson"].id},
            "nobody's lead": {"user_id": False, "company_id": self.env.company.id},
            "other company's lead": {"user_id": False, "team_id": False, "company_id": self.other_company.id},
        }
        about = {name: self.env["crm.lead"].create({"name": name, **values}) for name, values in leads.items()}
        about["shared contact"] = self.contact
        about["other company's contact"] = self.contact.create({"name": "O", "company_id": self.other_company.id})
        about["nothing"] = self.env["res.partner"]
        about["colleague's private meeting"] = self.env["calendar.event"].create(
            {"name": "O", "privacy": "private", "start": "2026-11-24 06:00:00", "stop": "2026-11-24 07:00:00"}
        )
        about["note on a shared contact"] = self.contact
        emails = {
            name: self.create_email(
                subject=f"security {name}",
                author_id=False,
                model=record._name if record else False,
                res_id=record.id,
                is_in_chatter=bool(record) and not name.startswith("note"),
            )
            for name, record in about.items()
        }
        self.assertEqual(set(emails), set(DOCUMENTS))
        for name, email in emails.items():
            self.event.copy({"email_id": email.id, "fingerprint": f"security {name}", "reason": f"security {name}"})
        self.env.flush_all()
        self.env.invalidate_all()
        for user in USERS:
            expected = {f"security {name}" for name, seen_by in DOCUMENTS.items() if user in seen_by}
            for model, field in (("sendgrid.email", "subject"), ("sendgrid.event", "reason")):
                with self.subTest(user=user, model=model):
                    Model = self.env[model].with_user(person[user])
                    domain = [(field, "=like", "security %")]
                    if user not in EMPLOYEES:
                        self.assertDenied(Model.search, domain)
                        continue
                    found = Model.search(domain)
                    self.assertEqual(set(found.mapped(field)), expected, "search")
                    self.assertEqual(Model.search_count(domain), len(expected), "count")
                    groups = Model.formatted_read_group(domain, [field], ["__count"])
                    self.assertEqual({group[field] for group in groups}, expected, "groups")
                    everything = Model.sudo().search(domain).sudo(False).with_user(person[user])
                    for record in everything:
                        name = record.sudo()[field]
                        self.assertEqual(record.has_access("read"), name in expected, name)
                        if name not in expected:
                            self.assertDenied(record.read, [field])
                            self.assertDenied(record.export_data, [field])
                            self.assertDenied(record.web_read, {field: {}})

    def test_bus(self):
        """Test that each message that the addon sends is known, says ids only, and to employees only."""
        sent = set()
        root = Path(__file__).parents[1]
        for folder in ("controllers", "models", "wizard"):
            for path in (root / folder).glob("*.py"):
                for node in ast.walk(ast.parse(path.read_text())):
                    if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("_bus_send", "_sendone"):
                        sent.add(ast.literal_eval(node.args[0 if node.func.attr == "_bus_send" else 1]))
        self.assertEqual(sent, MESSAGES.keys() | OWN_MESSAGES | NOTICES)
        for user, person in self.users.items():
            # What the websocket subscribes a user to: his groups.
            groups = person.all_group_ids
            for name, channel in MESSAGES.items():
                with self.subTest(user=user, message=name):
                    self.assertEqual(self.env.ref(channel) in groups, user in EMPLOYEES)
        with patch.object(type(self.env["bus.bus"]), "_sendone") as send:
            self.receive(self.relay(self.email).event("open", reason="<b>reason</b>"))
        [message] = [call.args for call in send.call_args_list if call.args[1] in MESSAGES]
        about = {"res.partner": self.email.partner_id.ids} if self.email.partner_id else {}
        if self.email.model == "crm.lead":
            about["crm.lead"] = [self.email.res_id]
        ids_only = {"ids": self.email.ids, "about": about, "is_new": False}
        self.assertEqual(message, (self.env.ref("base.group_user"), "sendgrid.email/changed", ids_only))


@tagged("post_install", "-at_install")
class TestRoutes(Outsiders, SendgridMixin, HttpCase):
    """The routes, by the routing map."""

    def test_nothing_is_forgotten(self):
        """Test that each route of the addon is in its table, as it is there."""
        IrHttp = self.env["ir.http"]
        found = {
            (url, routing["type"], routing["auth"], tuple(routing["methods"] or ()), routing.get("csrf", True))
            for url, endpoint in IrHttp._generate_routing_rules(
                sorted(self.env.registry._init_modules), IrHttp._get_converters()
            )
            if endpoint.original_endpoint.__module__.startswith(f"odoo.addons.{MODULE}.")
            for routing in [endpoint.routing]
        }
        self.assertEqual(found, ROUTES)

    @mute_logger("odoo.http", "odoo.addons.sendgrid_tracking.models.sendgrid_rejection")
    def test_logged_in_makes_no_difference(self):
        """Test that the webhook asks for the signature whoever is logged in, and that only POST is answered."""
        body = to_wire([Relayed(["ada@example.org"]).event("open")])
        url = f"{self.base_url()}/sendgrid/webhook/{self.account.webhook_token}"
        for user, person in self.users.items():
            with self.subTest(user):
                if user != "public":
                    self.authenticate(person.login, person.login)
                before = self.Batch.search_count([])
                self.assertEqual(self.opener.post(url, data=body, timeout=20).status_code, 403)
                for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE"):
                    self.assertEqual(self.opener.request(method, url, data=body, timeout=20).status_code, 405, method)
                self.assertEqual(self.post(body).status_code, 204)
                self.assertEqual(self.Batch.search_count([]), before + 1)


@tagged("post_install", "-at_install")
class TestSignatures(SendgridCase):
    """Forged, swapped and replayed. What HTTP adds to it: see `test_webhook`."""

    def test_only_its_own(self):
        """Test every mixture of two accounts, bodies and times: what belongs together is believed, and only that."""
        signers = self.signer, Signer()
        accounts = self.account, self.account.create({"name": "B", "verification_key": signers[1].public_key})
        bodies, times = (b"[]", b"[] "), ("1795500000", "1795500001")
        choices = list(itertools.product((0, 1), repeat=3))
        believed = 0
        for signed, sent in itertools.product(choices, repeat=2):
            headers = signers[signed[0]].sign(bodies[signed[1]], times[signed[2]])
            signature = headers["X-Twilio-Email-Event-Webhook-Signature"]
            account, body, timestamp = accounts[sent[0]], bodies[sent[1]], times[sent[2]]
            with self.subTest(signed=signed, sent=sent):
                self.assertEqual(account._verify_webhook(signature, timestamp, body), signed == sent)
            believed += signed == sent
        self.assertEqual(believed, len(choices))

    def test_replay(self):
        """Test that the same POST once more, as SendGrid repeats it, adds nothing: neither events nor consequences."""
        email = self.create_email()
        body = to_wire([self.relay(email).event(kind) for kind in ("delivered", "open", "click", "bounce")])
        self.store(body)
        self.drain()

        def state():
            self.env.invalidate_all()
            return (
                email.read(["status", "open_count", "click_count", "status_reason", "facts"]),
                self.Event.search_count([]),
                self.contact.message_bounce,
                self.contact.message_ids.ids,
            )

        once = state()
        for _ in range(3):
            batch = self.store(body)
            self.drain()
            self.assertBatch(batch, state="done", event_count=4, duplicate_count=4)
            self.assertEqual(state(), once)

    def test_nothing_to_time(self):
        """Test that no check on the webhook's path takes a time that says something about a secret.

        The token is looked up by its digest in a table: what is compared, a guesser cannot choose bit by bit. The
        signature is verified with a public key over what the caller sent himself: there is no secret in it.
        """
        known = self.account._get_ids_by_webhook_token()
        for digest in known:
            self.assertIsInstance(digest, bytes)
            self.assertEqual(len(digest), 32)
            self.assertNotIn(digest, self.account.webhook_token.encode())
        self.assertIn(self.account.id, known.values())
        trust = self.account._get_webhook_trust()
        self.assertEqual(trust, (((self.account.verification_key, float("inf")),), self.account.signature_max_age))
        guesses = [self.account.webhook_token[:length] for length in (0, 1, 20, 42)] + ["é\ud800", "x" * 10_000]
        with self.assertQueryCount(0):
            for guess in guesses:
                self.assertFalse(self.account._get_by_webhook_token(guess))
            self.assertEqual(self.account._get_by_webhook_token(self.account.webhook_token), self.account)


@tagged("post_install", "-at_install")
class TestSecrets(SendgridMixin, HttpCase):
    """Logs and error pages."""

    def setUp(self):
        super().setUp()
        self.enterContext(patch.dict(sendgrid_drain._last_wake, clear=True))
        self.account.api_key = "SG.never-to-be-seen"
        self.body = to_wire([Relayed(["ada@example.org"]).event("open")])

    def _answers(self):
        """Answers of all kinds: taken, refused, too large, another method, a failure of our own."""
        token = self.account.webhook_token
        url = f"{self.base_url()}/sendgrid/webhook/{token}"
        yield 204, self.post(self.body)
        yield 403, self.post(self.body, headers={})
        yield 404, self.opener.post(f"{url}x", data=self.body, timeout=20)
        yield 404, self.opener.post(f"{url}/{token}", data=self.body, timeout=20)
        yield 405, self.opener.get(url, timeout=20)
        yield 413, self.post(b" " * (5 * 1024 * 1024))
        for error in (ValueError(token), UserError(f"{token} {self.account.api_key}")):
            with patch.object(type(self.Batch), "_receive", side_effect=type(error)("failed")):
                answer = self.post(self.body)
            self.assertGreaterEqual(answer.status_code, 400)
            yield answer.status_code, answer

    def test_error_pages_and_logs(self):
        """Test that neither an answer nor a line of the log has the API key or the webhook's token in it."""
        secrets = self.account.api_key, self.account.webhook_token
        with self.assertLogs(level=logging.INFO) as logs, self.assertLogs("werkzeug", logging.INFO) as access:
            for status, answer in self._answers():
                with self.subTest(status):
                    self.assertEqual(answer.status_code, status)
                    for secret in secrets:
                        self.assertNotIn(secret, answer.text)
                        self.assertNotIn(secret, str(answer.headers))
        self.assertEqual(len(access.output), 8)
        self.assertTrue(all("/sendgrid/webhook/" in line for line in access.output))
        said = "\n".join(logs.output + access.output)
        for secret in secrets:
            self.assertNotIn(secret, said)

    def test_bad_signatures_are_cheap(self):
        """Test that a POST with a bad signature or to a wrong address costs less of the database than a good one."""
        self.enterContext(patch.object(sendgrid_drain, "WAKE_INTERVAL", 3600))
        self.enterContext(patch.object(sendgrid_account_webhook, "MEMORY_LASTS", 1e9))
        self.post(self.body)  # fills the caches, and wakes the drain
        self.enterContext(mute_logger("odoo.addons.sendgrid_tracking.models.sendgrid_rejection"))
        execute = type(self.env.cr).execute
        url = f"{self.base_url()}/sendgrid/webhook/x"
        queries = {}
        for name, post in {
            "first bad": lambda: self.post(self.body, signer=Signer()),
            "bad": lambda: self.post(self.body, signer=Signer()),
            "unsigned": lambda: self.post(self.body, headers={}),
            "large": lambda: self.post(b" " * 4_000_000, headers={}),
            "nowhere": lambda: self.opener.post(url, data=self.body, timeout=20),
            "good": lambda: self.post(self.body),
        }.items():
            with patch.object(type(self.env.cr), "execute", autospec=True, side_effect=execute) as watch:
                post()
            statements = (str(getattr(call.args[1], "code", call.args[1])) for call in watch.call_args_list)
            queries[name] = [statement.split()[0] for statement in statements]
        for name in ("bad", "unsigned", "large", "nowhere"):
            with self.subTest(name):
                self.assertLess(len(queries[name]), len(queries["good"]), queries)
                self.assertFalse({"INSERT", "UPDATE", "DELETE"} & set(queries[name]))
