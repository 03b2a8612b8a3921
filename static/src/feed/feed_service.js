import { browser } from "@web/core/browser/browser";
import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";

// Milliseconds. What is told within this time counts together.
const BURST = 60_000;
// If more than this is told within a burst, one line with the number tells it.
const ONE_BY_ONE = 3;

/**
 * Tells the user what happens to his e-mails, by quiet notifications. It hears of it by the bus, and asks for nothing.
 *
 * A window that nobody looks at shows nothing: the number in its top bar tells it later.
 */
export const feedService = {
    dependencies: ["action", "bus_service", "mail.store", "notification", "orm"],
    start(env, { action, bus_service: bus, "mail.store": store, notification, orm }) {
        let told = 0;
        let closeFlood = () => {};
        const open = async ({ ids, email_id: emailId }) => {
            await orm.silent.call("sendgrid.interaction", "mark_seen", [ids]);
            const views = [[false, "form"]];
            action.doAction({ type: "ir.actions.act_window", res_model: "sendgrid.email", res_id: emailId, views });
        };
        const openPage = () => action.doAction("sendgrid_tracking.sendgrid_interaction_action");
        const show = (notice) => {
            const { title, body, count } = notice;
            told += count;
            browser.setTimeout(() => (told -= count), BURST);
            const isFlood = told > ONE_BY_ONE;
            closeFlood();
            const close = notification.add(isFlood ? _t("Interactions with your e-mails: %s", told) : body || title, {
                title: isFlood || !body ? undefined : title,
                type: "info",
                buttons: [
                    {
                        name: _t("Open"),
                        primary: true,
                        onClick: () => {
                            close();
                            return isFlood || count > 1 ? openPage() : open(notice);
                        },
                    },
                ],
            });
            closeFlood = isFlood ? close : () => {};
        };
        bus.subscribe("sendgrid.interaction/told", ({ unseen, notice }) => {
            store.sendgridUnseen = unseen;
            if (notice && document.visibilityState !== "hidden") {
                show(notice);
            }
        });
        bus.start();
    },
};

registry.category("services").add("sendgrid_feed", feedService);
