import { Chatter } from "@mail/chatter/web_portal/chatter";
import { _t } from "@web/core/l10n/translation";
import { patch } from "@web/core/utils/patch";
import { getLook } from "../status/status_field";

/** The top bar has the number of documents about the record, which opens their list. */
patch(Chatter.prototype, {
    get requestList() {
        return [...super.requestList, "sendgridEmails"];
    },

    /** Return what the button shows, or undefined if there are no documents. */
    get sendgridEmails() {
        const summary = this.state.thread?.sendgridEmails;
        if (!summary?.count) {
            return undefined;
        }
        const { count, has_more: hasMore, status, needs_somebody: needsSomebody, text } = summary;
        const number = hasMore ? `${count}+` : String(count);
        return {
            number,
            icon: needsSomebody ? "fa-envelope" : "fa-envelope-o",
            tone: `text-${getLook(status).tone}`,
            title: _t("E-mails about this record: %(number)s (%(states)s)", { number, states: text }),
        };
    },

    async openSendgridEmails() {
        const { id, model, display_name: name } = this.state.thread;
        const service = this.env.services.action;
        const action = await service.loadAction("sendgrid_tracking.sendgrid_email_action");
        await service.doAction({
            ...action,
            display_name: name ? _t("Documents about %s", name) : action.display_name,
            domain: [
                ["model", "=", model],
                ["res_id", "=", id],
            ],
            // By this the list knows which new documents are its own.
            context: { active_id: id, active_ids: [id], active_model: model },
        });
    },
});
