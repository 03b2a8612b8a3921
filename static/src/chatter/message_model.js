import { Message } from "@mail/core/common/message_model";
import { patch } from "@web/core/utils/patch";

patch(Message.prototype, {
    /**
     * @returns {import("models").Notification|undefined} the one whose document the envelope tells of: what needs
     *  somebody, else the strongest news. None, if core's own envelope is to be shown: no recipient has a document, or
     *  one without has a failure.
     */
    get sendgridNews() {
        const tracked = this.notification_ids.filter(({ sendgridState }) => sendgridState);
        const weight = ({ sendgridState: { needs_somebody: needs, strength } }) => (needs ? 1000 : 0) + strength;
        const news = tracked.sort((one, other) => weight(other) - weight(one))[0];
        const hasFailure = this.notification_ids.some((one) => !one.sendgridState && one.isFailure);
        return hasFailure && !news?.sendgridState.needs_somebody ? undefined : news;
    },
});
