import { registry } from "@web/core/registry";
import { ListController } from "@web/views/list/list_controller";
import { listView } from "@web/views/list/list_view";
import { LiveModel } from "../live_model/live_model";
import { isAtWork, useReloading } from "./reloading";

/** A list with background work. It reloads while one of its records is being worked on, unless some are ticked. */
export class RunningListController extends ListController {
    setup() {
        super.setup();
        useReloading(this.model, () => {
            const { records, selection } = this.model.root;
            return !selection.length && records.some(isAtWork);
        });
    }
}

registry.category("views").add("sendgrid_running_list", { ...listView, Model: LiveModel, Controller: RunningListController });
