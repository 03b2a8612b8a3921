import { Composer } from "@mail/core/common/composer";
import { registerComposerAction } from "@mail/core/common/composer_actions";
import { Composer as ComposerModel } from "@mail/core/common/composer_model";
import { Store } from "@mail/core/common/store_service";
import { browser } from "@web/core/browser/browser";
import { patch } from "@web/core/utils/patch";
import { Reminder } from "../reminder/reminder";
import { Switch } from "./switch";

const CLASS = "o-mail-ActionList-button btn-secondary btn-group-item rounded-circle o-px-1_5 py-1 border-0";

/**
 * What is being written knows whether its opens and links shall not be tracked, and in how many days without an answer
 * its author is reminded (0: not at all), until it is sent or discarded.
 */
patch(ComposerModel.prototype, {
    setup() {
        super.setup(...arguments);
        this.isSendgridUnmeasured = false;
        this.sendgridReminderDays = 0;
    },

    clear() {
        super.clear(...arguments);
        this.isSendgridUnmeasured = false;
        this.sendgridReminderDays = 0;
    },
});

const isShown = ({ composer, owner, store }) =>
    store.hasSendgridAccount && owner.env.inChatter && owner.props.type !== "note" && !composer.message;

registerComposerAction("sendgrid-switch", {
    component: Switch,
    componentProps: ({ composer }) => ({
        isOn: !composer.isSendgridUnmeasured,
        onToggle: () => (composer.isSendgridUnmeasured = !composer.isSendgridUnmeasured),
        class: CLASS,
    }),
    condition: isShown,
    sequence: 25,
});

registerComposerAction("sendgrid-reminder", {
    component: Reminder,
    componentProps: ({ composer }) => ({
        days: composer.sendgridReminderDays,
        onChoose: (days) => (composer.sendgridReminderDays = days),
        class: CLASS,
    }),
    condition: isShown,
    sequence: 26,
});

patch(Composer.prototype, {
    get postData() {
        const { isSendgridUnmeasured, sendgridReminderDays } = this.props.composer;
        return { ...super.postData, isSendgridUnmeasured, sendgridReminderDays };
    },

    get fullComposerAdditionalContext() {
        const context = { ...super.fullComposerAdditionalContext };
        const { isSendgridUnmeasured, sendgridReminderDays } = this.props.composer;
        if (this.props.type !== "note" && isSendgridUnmeasured) {
            context.default_sendgrid_is_tracked = false;
        }
        if (this.props.type !== "note" && sendgridReminderDays) {
            context.default_sendgrid_reminder_days = sendgridReminderDays;
        }
        return context;
    },

    /** Keep both with the draft. Core keeps no draft without a text. */
    saveContent() {
        super.saveContent(...arguments);
        const { isSendgridUnmeasured, localId, sendgridReminderDays } = this.props.composer;
        const draft = JSON.parse(browser.localStorage.getItem(localId) || "null");
        if (draft) {
            browser.localStorage.setItem(
                localId,
                JSON.stringify({ ...draft, isSendgridUnmeasured, sendgridReminderDays })
            );
        }
    },

    restoreContent() {
        super.restoreContent(...arguments);
        // Core has removed the draft if it cannot be read.
        const draft = JSON.parse(browser.localStorage.getItem(this.props.composer.localId) || "null");
        if (draft) {
            this.props.composer.isSendgridUnmeasured = Boolean(draft.isSendgridUnmeasured);
            this.props.composer.sendgridReminderDays = Number(draft.sendgridReminderDays) || 0;
        }
    },
});

patch(Store.prototype, {
    async getMessagePostParams({ postData }) {
        const params = await super.getMessagePostParams(...arguments);
        if (postData.isSendgridUnmeasured && !postData.isNote) {
            params.post_data.sendgrid_is_unmeasured = true;
        }
        if (postData.sendgridReminderDays && !postData.isNote) {
            params.post_data.sendgrid_reminder_days = postData.sendgridReminderDays;
        }
        return params;
    },
});
