import { Message } from "@mail/core/common/message";
import { _t } from "@web/core/l10n/translation";
import { patch } from "@web/core/utils/patch";
import { describeState, getIconClass } from "./state";

patch(Message.prototype, {
    /** Return whether the envelope is shown. Discuss's inbox shows messages of many records, and core no envelope. */
    get hasEnvelope() {
        const { thread, sendgridNews } = this.message;
        return Boolean(thread?.eq(this.props.thread) || (sendgridNews && this.props.thread?.model === "mail.box"));
    },

    /** Return what the envelope shows, or undefined if it is core's own. */
    get sendgridEnvelope() {
        const news = this.message.sendgridNews;
        if (!news) {
            return undefined;
        }
        const state = news.sendgridState;
        const name = news.res_partner_id
            ? this.message.getPersonaName(news.res_partner_id)
            : news.mail_email_address;
        return {
            status: state.status,
            class: state.needs_somebody ? "text-danger" : "",
            envelope: state.needs_somebody ? "fa fa-envelope" : "fa fa-envelope-o",
            icon: getIconClass(state.status),
            title: _t("%(state)s (%(recipient)s)", { state: describeState(state), recipient: name }),
        };
    },
});
