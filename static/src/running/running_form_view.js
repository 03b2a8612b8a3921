import { onMounted, onWillUnmount } from "@odoo/owl";
import { browser } from "@web/core/browser/browser";
import { registry } from "@web/core/registry";
import { FormController } from "@web/views/form/form_controller";
import { formView } from "@web/views/form/form_view";

// Milliseconds between two reloads.
const INTERVAL = 2000;

/** The form of a record of background work. It reloads while the record's state is "running". */
export class RunningFormController extends FormController {
    setup() {
        super.setup();
        let timer;
        const look = async () => {
            const record = this.model.root;
            if (record.data.state === "running" && !record.dirty) {
                await this.model.load();
            }
            timer = browser.setTimeout(look, INTERVAL);
        };
        onMounted(() => {
            timer = browser.setTimeout(look, INTERVAL);
        });
        onWillUnmount(() => browser.clearTimeout(timer));
    }
}

registry.category("views").add("sendgrid_running_form", { ...formView, Controller: RunningFormController });
