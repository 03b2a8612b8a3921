import { registry } from "@web/core/registry";
import { FormController } from "@web/views/form/form_controller";
import { formView } from "@web/views/form/form_view";
import { useDocumentChanges } from "../changes/changes";
import { LiveModel } from "../live_model/live_model";

/** The form of an e-mail. It reloads when an event changes the e-mail. */
export class EmailFormController extends FormController {
    setup() {
        super.setup();
        useDocumentChanges({
            concerns: ({ ids }) => ids.includes(this.model.root.resId),
            reload: () => this.model.load(),
        });
    }
}

registry.category("views").add("sendgrid_email_form", { ...formView, Model: LiveModel, Controller: EmailFormController });
