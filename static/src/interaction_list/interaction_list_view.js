import { registry } from "@web/core/registry";
import { kanbanView } from "@web/views/kanban/kanban_view";
import { listView } from "@web/views/list/list_view";
import { useDocumentChanges } from "../changes/changes";
import { LiveModel } from "../live_model/live_model";

/**
 * @param {typeof import("@web/views/view").Controller} Controller of a list of interactions
 * @returns {typeof Controller} one that reloads when the user's feed changes
 */
const makeLive = (Controller) =>
    class extends Controller {
        setup() {
            super.setup();
            useDocumentChanges({
                type: "sendgrid.interaction/told",
                concerns: () => true,
                reload: () => this.reload(),
            });
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
    .add("sendgrid_interaction_list", { ...listView, Model: LiveModel, Controller: makeLive(listView.Controller) })
    .add("sendgrid_interaction_kanban", {
        ...kanbanView,
        Model: LiveModel,
        Controller: makeLive(kanbanView.Controller),
    });
