import { onMounted, onWillUnmount } from "@odoo/owl";
import { browser } from "@web/core/browser/browser";

// Milliseconds between two reloads.
const INTERVAL = 2000;

// The states of records with which a scheduled action has still to do something. The last four are of a reduction.
const AT_WORK = ["pending", "running", "documents", "lane", "events", "bodies"];

/** Tell whether a scheduled action has still to do something with a record, or is doing it. */
export function isAtWork(record) {
    return AT_WORK.includes(record.data.state);
}

/**
 * Reload a view's model by and by, while there is something to wait for.
 *
 * @param {Object} model the view's model
 * @param {Function} isNeeded tells whether to reload now: the work goes on, and the reload would disturb nobody
 */
export function useReloading(model, isNeeded) {
    let timer;
    let isLeft = false;
    const look = async () => {
        try {
            if (isNeeded()) {
                await model.load();
            }
        } finally {
            // A reload that failed, such as while the server restarts, is no reason never to look again.
            if (!isLeft) {
                timer = browser.setTimeout(look, INTERVAL);
            }
        }
    };
    onMounted(() => {
        timer = browser.setTimeout(look, INTERVAL);
    });
    onWillUnmount(() => {
        isLeft = true;
        browser.clearTimeout(timer);
    });
}
