import { Component } from "@odoo/owl";
import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { standardFieldProps } from "@web/views/fields/standard_field_props";
import { formatExactTime } from "../exact_time/exact_time";

const ICONS = {
    sent: "fa-paper-plane",
    processed: "fa-cogs",
    deferred: "fa-clock-o",
    delivered: "fa-check",
    opened: "fa-envelope-open-o",
    clicked: "fa-mouse-pointer",
    blocked: "fa-ban",
    dropped: "fa-trash-o",
    bounced: "fa-times",
    unsubscribed: "fa-bell-slash-o",
    spam: "fa-thumbs-down",
};

/** Shows the way of an e-mail step by step, with a failure at the step where it happened. */
export class JourneyField extends Component {
    static template = "sendgrid_tracking.JourneyField";
    static props = { ...standardFieldProps };

    get steps() {
        return (this.props.record.data[this.props.name] || []).map((step) => ({
            ...step,
            icon: ICONS[step.status] || "fa-circle-o",
            time: step.date ? formatExactTime(step.date) : "",
        }));
    }
}

registry.category("fields").add("sendgrid_journey", {
    component: JourneyField,
    displayName: _t("Way of an E-mail"),
    supportedTypes: ["json"],
});
