import { Failure } from "@mail/core/common/failure_model";
import { _t } from "@web/core/l10n/translation";
import { patch } from "@web/core/utils/patch";
import { describeState } from "./state";

patch(Failure.prototype, {
    /** Say why one e-mail of ours did not arrive, instead of that there was an error. */
    get body() {
        const [notification] = this.notifications;
        const state = this.notifications.length === 1 && notification.sendgridState;
        if (!state || !this.lastMessage?.thread) {
            return super.body;
        }
        return _t("%(state)s, on “%(record)s”", {
            state: describeState(state),
            record: this.lastMessage.thread.display_name,
        });
    },
});
