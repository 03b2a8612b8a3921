import { MessageNotificationPopover } from "@mail/core/common/message_notification_popover";
import { patch } from "@web/core/utils/patch";
import { describeState, describeTime, describeTimeExactly } from "./state";

patch(MessageNotificationPopover.prototype, {
    describeState,
    describeTime,
    describeTimeExactly,

    /** Open the Tracking page of a recipient's document. */
    openSendgridEmail({ sendgridState: { id } }) {
        this.props.close?.();
        this.env.services.action.doAction({
            type: "ir.actions.act_window",
            res_model: "sendgrid.email",
            res_id: id,
            views: [[false, "form"]],
        });
    },
});
