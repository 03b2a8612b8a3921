import { Notification } from "@mail/core/common/notification_model";
import { fields } from "@mail/core/common/record";
import { patch } from "@web/core/utils/patch";
import { describeState, getIconClass } from "./state";

/** A notification with a document of ours says what became of it. Without one, it is core's. */
patch(Notification.prototype, {
    setup() {
        super.setup(...arguments);
        // Empty, or as the server's `_get_chatter_state` has it.
        this.sendgridState = fields.Attr();
    },

    get statusIcon() {
        const state = this.sendgridState;
        return state ? getIconClass(state.status, state.needs_somebody) : super.statusIcon;
    },

    get statusTitle() {
        return this.sendgridState ? describeState(this.sendgridState) : super.statusTitle;
    },
});
