import { Composer } from "@mail/core/common/composer";
import { registerComposerAction } from "@mail/core/common/composer_actions";
import { Composer as ComposerModel } from "@mail/core/common/composer_model";
import { Store } from "@mail/core/common/store_service";
import { browser } from "@web/core/browser/browser";
import { patch } from "@web/core/utils/patch";
import { Switch } from "./switch";

/** What is being written knows whether its opens and links shall not be tracked, until it is sent or discarded. */
patch(ComposerModel.prototype, {
    setup() {
        super.setup(...arguments);
        this.isSendgridUnmeasured = false;
    },

    clear() {
        super.clear(...arguments);
        this.isSendgridUnmeasured = false;
    },
});

registerComposerAction("sendgrid-switch", {
    component: Switch,
    componentProps: ({ composer }) => ({
        isOn: !composer.isSendgridUnmeasured,
        onToggle: () => (composer.isSendgridUnmeasured = !composer.isSendgridUnmeasured),
        class: "o-mail-ActionList-button btn-secondary btn-group-item rounded-circle o-px-1_5 py-1 border-0",
    }),
    condition: ({ composer, owner, store }) =>
        store.hasSendgridAccount && owner.env.inChatter && owner.props.type !== "note" && !composer.message,
    sequence: 25,
});

patch(Composer.prototype, {
    get postData() {
        return { ...super.postData, isSendgridUnmeasured: this.props.composer.isSendgridUnmeasured };
    },

    get fullComposerAdditionalContext() {
        const context = super.fullComposerAdditionalContext;
        const isOff = this.props.type !== "note" && this.props.composer.isSendgridUnmeasured;
        return isOff ? { ...context, default_sendgrid_is_tracked: false } : context;
    },

    /** Keep the switch with the draft. Core keeps no draft without a text. */
    saveContent() {
        super.saveContent(...arguments);
        const { isSendgridUnmeasured, localId } = this.props.composer;
        const draft = JSON.parse(browser.localStorage.getItem(localId) || "null");
        if (draft) {
            browser.localStorage.setItem(localId, JSON.stringify({ ...draft, isSendgridUnmeasured }));
        }
    },

    restoreContent() {
        super.restoreContent(...arguments);
        // Core has removed the draft if it cannot be read.
        const draft = JSON.parse(browser.localStorage.getItem(this.props.composer.localId) || "null");
        if (draft) {
            this.props.composer.isSendgridUnmeasured = Boolean(draft.isSendgridUnmeasured);
        }
    },
});

patch(Store.prototype, {
    async getMessagePostParams({ postData }) {
        const params = await super.getMessagePostParams(...arguments);
        if (postData.isSendgridUnmeasured && !postData.isNote) {
            params.post_data.sendgrid_is_unmeasured = true;
        }
        return params;
    },
});
