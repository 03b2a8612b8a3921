import { Notification } from "@mail/core/common/notification_model";
import { fields } from "@mail/core/common/record";
import { patch } from "@web/core/utils/patch";
import { describeState, describeTime, describeTimeExactly, getIconClass } from "./state";

/**
 * A notification with a document of ours says what became of it. Without one, it is core's.
 *
 * What the popover needs stands here, because not all popovers that have core's template are core's component.
 */
patch(Notification.prototype, {
    setup() {
        super.setup(...arguments);
        // Empty, or as the server's `_get_notification_states` has it.
        this.sendgridState = fields.Attr();
    },

    get statusIcon() {
        const state = this.sendgridState;
        return state ? getIconClass(state.status) : super.statusIcon;
    },

    get statusTitle() {
        return this.sendgridState ? describeState(this.sendgridState) : super.statusTitle;
    },

    get sendgridTime() {
        return describeTime(this.sendgridState);
    },

    get sendgridExactTime() {
        return describeTimeExactly(this.sendgridState);
    },

    /**
     * Open the Tracking page of the recipient's document.
     *
     * @param {() => void} [close] the popover
     */
    openSendgridEmail(close) {
        close?.();
        this.store.env.services.action.doAction({
            type: "ir.actions.act_window",
            res_model: "sendgrid.email",
            res_id: this.sendgridState.id,
            views: [[false, "form"]],
        });
    },
});
