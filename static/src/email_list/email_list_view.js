import { registry } from "@web/core/registry";
import { kanbanView } from "@web/views/kanban/kanban_view";
import { listView } from "@web/views/list/list_view";
import { useDocumentChanges } from "../changes/changes";
import { LiveModel } from "../live_model/live_model";

/**
 * @param {typeof import("@web/views/view").Controller} Controller of a list of e-mails
 * @returns {typeof Controller} one that reloads when an e-mail of the list changes, and when there are new ones
 */
const makeLive = (Controller) =>
    class extends Controller {
        setup() {
            super.setup();
            useDocumentChanges({
                concerns: (message) => this.concerns(message),
                reload: () => this.reload(),
            });
        }

        /** @returns {import("@web/model/relational_model/record").Record[]} what is shown, also within groups */
        get shownRecords() {
            return this.model.root.records || [];
        }

        concerns({ ids, about, is_new: isNew }) {
            const { active_id: activeId, active_model: activeModel } = this.props.context;
            if (isNew) {
                // The list of one contact or lead does not look for the e-mails of others.
                return !activeModel || !(activeModel in about) || about[activeModel].includes(activeId);
            }
            const changed = new Set(ids);
            return this.shownRecords.some((record) => changed.has(record.resId));
        }

        reload() {
            // Do not take away what somebody has just ticked.
            if (!this.model.root.selection?.length) {
                return this.model.load();
            }
        }
    };

registry
    .category("views")
    .add("sendgrid_email_list", { ...listView, Model: LiveModel, Controller: makeLive(listView.Controller) })
    .add("sendgrid_email_kanban", { ...kanbanView, Model: LiveModel, Controller: makeLive(kanbanView.Controller) });
