import { registry } from "@web/core/registry";
import { FormController } from "@web/views/form/form_controller";
import { formView } from "@web/views/form/form_view";
import { LiveModel } from "../live_model/live_model";
import { isAtWork, useReloading } from "./reloading";

/** The form of a record of background work. It reloads while the record's state says that the work goes on. */
export class RunningFormController extends FormController {
    setup() {
        super.setup();
        useReloading(this.model, () => isAtWork(this.model.root) && !this.model.root.dirty);
    }
}

registry.category("views").add("sendgrid_running_form", { ...formView, Model: LiveModel, Controller: RunningFormController });
