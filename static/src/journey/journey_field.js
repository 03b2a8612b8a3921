import { Component } from "@odoo/owl";
import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { standardFieldProps } from "@web/views/fields/standard_field_props";
import { describeExactTime, formatExactTime } from "../exact_time/exact_time";
import { getLook } from "../status/status_field";

/** Shows the way of an e-mail step by step, with a failure at the step where it happened. */
export class JourneyField extends Component {
    static template = "sendgrid_tracking.JourneyField";
    static props = { ...standardFieldProps };

    get steps() {
        return (this.props.record.data[this.props.name] || []).map((step) => ({
            ...step,
            ...getLook(step.status),
            time: step.date ? formatExactTime(step.date) : "",
            title: step.date ? describeExactTime(step.date) : "",
            // Colours and icons say it to those who see them.
            stateName: this.stateNames[step.state],
        }));
    }

    get stateNames() {
        return { done: _t("done"), open: _t("not yet"), waiting: _t("waiting"), failed: _t("failed") };
    }
}

registry.category("fields").add("sendgrid_journey", {
    component: JourneyField,
    displayName: _t("Way of an E-mail"),
    supportedTypes: ["json"],
});
