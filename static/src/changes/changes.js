import { onMounted, onWillUnmount } from "@odoo/owl";
import { browser } from "@web/core/browser/browser";
import { useService } from "@web/core/utils/hooks";

// Milliseconds. Changes within this time cause one reload.
const BURST = 300;

/**
 * Reload a part of a page when documents that it shows are changed, or new.
 *
 * A page that nobody looks at asks for nothing. It reloads once when somebody looks at it again.
 *
 * @param {Object} params
 * @param {({ ids: number[], about: Object<string, number[]>, is_new: boolean }) => boolean} params.concerns tells
 *  whether the page shows what the server's message is about; see `_send_to_pages`
 * @param {() => Promise|void} params.reload
 */
export function useDocumentChanges({ concerns, reload }) {
    const bus = useService("bus_service");
    let timer;
    let isWaiting = false;
    const reloadNow = () => {
        timer = undefined;
        if (document.visibilityState === "hidden") {
            isWaiting = true;
            return;
        }
        isWaiting = false;
        return reload();
    };
    const onChanged = (message) => {
        if (concerns(message)) {
            timer ??= browser.setTimeout(reloadNow, BURST);
        }
    };
    const onVisible = () => {
        if (isWaiting && document.visibilityState !== "hidden") {
            timer ??= browser.setTimeout(reloadNow, BURST);
        }
    };
    onMounted(() => {
        bus.subscribe("sendgrid.email/changed", onChanged);
        bus.start();
        document.addEventListener("visibilitychange", onVisible);
    });
    onWillUnmount(() => {
        bus.unsubscribe("sendgrid.email/changed", onChanged);
        document.removeEventListener("visibilitychange", onVisible);
        browser.clearTimeout(timer);
    });
}
