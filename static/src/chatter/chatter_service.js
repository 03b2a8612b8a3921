import { useState } from "@odoo/owl";
import { Message } from "@mail/core/common/message";
import { registry } from "@web/core/registry";
import { patch } from "@web/core/utils/patch";
import { watchDocuments } from "../changes/changes";

let isPopoverLive = false;

/**
 * Let the popover of the envelope change while it is open: core hands it a message that tells nobody of changes.
 *
 * Another module may have put its own popover in the place of core's. Which one it is, is known when all are loaded.
 */
function makePopoverLive() {
    if (isPopoverLive) {
        return;
    }
    isPopoverLive = true;
    patch(Message.components.Popover.prototype, {
        setup() {
            super.setup(...arguments);
            this.liveMessage = useState(this.props.message);
        },
    });
}

/**
 * Keeps true what the store of core's chatter and Discuss knows of documents: messages and records that have been shown.
 *
 * Core's own updates reach the author only, and know no documents. The message of the server has ids only, so that
 * everybody asks for what he may see.
 */
export const chatterService = {
    dependencies: ["bus_service", "mail.store"],

    start(_env, { bus_service: bus, "mail.store": store }) {
        makePopoverLive();
        const messageIds = new Set();
        const threads = new Map();
        watchDocuments(bus, {
            concerns({ about }) {
                for (const id of about["mail.message"] || []) {
                    if (store["mail.message"].get(id)?.notification_ids.length) {
                        messageIds.add(id);
                    }
                }
                for (const [model, ids] of Object.entries(about)) {
                    for (const id of ids) {
                        const thread = store.Thread.get({ model, id });
                        if (thread?.sendgridEmails) {
                            threads.set(thread.localId, thread);
                        }
                    }
                }
                return Boolean(messageIds.size || threads.size);
            },
            async reload() {
                const requests = [...threads.values()].map((thread) => thread.fetchThreadData(["sendgridEmails"]));
                if (messageIds.size) {
                    requests.push(store.fetchStoreData("sendgrid_states", { message_ids: [...messageIds] }));
                }
                messageIds.clear();
                threads.clear();
                await Promise.all(requests);
            },
        });
    },
};

registry.category("services").add("sendgrid_tracking.chatter", chatterService);
