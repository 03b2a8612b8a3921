import { onMounted, onWillUnmount } from "@odoo/owl";
import { browser } from "@web/core/browser/browser";
import { registry } from "@web/core/registry";
import { useService } from "@web/core/utils/hooks";
import { FormController } from "@web/views/form/form_controller";
import { formView } from "@web/views/form/form_view";

// Milliseconds. Changes within this time cause one reload.
const BURST = 300;

/** The form of an e-mail. It reloads when an event changes the e-mail. */
export class EmailFormController extends FormController {
    setup() {
        super.setup();
        const bus = useService("bus_service");
        let timer;
        const reload = () => {
            timer = undefined;
            this.model.load();
        };
        const onChanged = ({ ids }) => {
            if (ids.includes(this.model.root.resId)) {
                timer ??= browser.setTimeout(reload, BURST);
            }
        };
        onMounted(() => {
            bus.subscribe("sendgrid.email/changed", onChanged);
            bus.start();
        });
        onWillUnmount(() => {
            bus.unsubscribe("sendgrid.email/changed", onChanged);
            browser.clearTimeout(timer);
        });
    }
}

registry.category("views").add("sendgrid_email_form", { ...formView, Controller: EmailFormController });
