import { MailComposerFormRenderer } from "@mail/chatter/web/mail_composer_form";
import { useEffect } from "@odoo/owl";
import { patch } from "@web/core/utils/patch";

patch(MailComposerFormRenderer.prototype, {
    /** Tell the chatter's composer what was chosen, because it goes on with the draft if this one is closed. */
    setup() {
        super.setup(...arguments);
        useEffect(
            (isTracked, reminderDays) => {
                const { record } = this.props;
                if (record.context.clicked_on_full_composer && isTracked !== undefined) {
                    const [id] = JSON.parse(record.data.res_ids);
                    const thread = this.mailStore.Thread.insert({ model: record.data.model, id });
                    thread.composer.isSendgridUnmeasured = !isTracked;
                    thread.composer.sendgridReminderDays = reminderDays || 0;
                }
            },
            () => [this.props.record.data.sendgrid_is_tracked, this.props.record.data.sendgrid_reminder_days]
        );
    },
});
