import { onMounted, onWillUnmount } from "@odoo/owl";
import { browser } from "@web/core/browser/browser";
import { useService } from "@web/core/utils/hooks";

// Milliseconds. Changes within this time cause one reload.
const BURST = 300;
// Milliseconds between two reloads because of new documents, such as while many mails leave one after the other.
const PAUSE = 3000;

/**
 * Reload what is shown of documents when they are changed, or new.
 *
 * One reload waits for the other.
 *
 * A page that nobody looks at asks for nothing. It reloads once when somebody looks at it again.
 *
 * @param {Object} bus the service
 * @param {Object} params
 * @param {({ ids: number[], about: Object<string, number[]>, is_new: boolean }) => boolean} params.concerns tells
 *  whether the page shows what the server's message is about; see `_send_to_pages`
 * @param {() => Promise|void} params.reload
 * @param {string} [params.type] the name of the server's message
 * @returns {() => void} a function that ends it
 */
export function watchDocuments(bus, { concerns, reload, type = "sendgrid.email/changed" }) {
    let timer;
    let due;
    let pauseEnd = 0;
    let isNew = false;
    let isRunning = false;
    let isWaiting = false;
    let isLeft = false;
    const plan = (delay) => {
        const time = Date.now() + delay;
        if (isLeft || (timer && due <= time)) {
            return;
        }
        browser.clearTimeout(timer);
        due = time;
        timer = browser.setTimeout(reloadNow, delay);
    };
    const reloadNow = async () => {
        timer = undefined;
        isWaiting = isRunning || document.visibilityState === "hidden";
        if (isWaiting) {
            return;
        }
        isRunning = true;
        if (isNew) {
            isNew = false;
            pauseEnd = Date.now() + PAUSE;
        }
        try {
            await reload();
        } finally {
            isRunning = false;
            lookAgain();
        }
    };
    const lookAgain = () => {
        if (isWaiting && document.visibilityState !== "hidden") {
            plan(BURST);
        }
    };
    const onChanged = (message) => {
        if (concerns(message)) {
            isNew ||= message.is_new;
            plan(message.is_new ? Math.max(BURST, pauseEnd - Date.now()) : BURST);
        }
    };
    bus.subscribe(type, onChanged);
    bus.start();
    document.addEventListener("visibilitychange", lookAgain);
    return () => {
        bus.unsubscribe(type, onChanged);
        document.removeEventListener("visibilitychange", lookAgain);
        isLeft = true;
        browser.clearTimeout(timer);
    };
}

/**
 * Do the same for a component, as long as it is there.
 *
 * @param {Object} params those of `watchDocuments`
 */
export function useDocumentChanges(params) {
    const bus = useService("bus_service");
    let leave;
    onMounted(() => (leave = watchDocuments(bus, params)));
    onWillUnmount(() => leave());
}
