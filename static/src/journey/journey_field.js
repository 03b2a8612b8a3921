import { Component } from "@odoo/owl";
import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { standardFieldProps } from "@web/views/fields/standard_field_props";
import { describeExactTime, formatExactTime } from "../exact_time/exact_time";

export const ICONS = {
    failed: "fa-times",
    sent: "fa-paper-plane",
    processed: "fa-cogs",
    deferred: "fa-clock-o",
    delivered: "fa-check",
    opened: "fa-envelope-open-o",
    clicked: "fa-mouse-pointer",
    blocked: "fa-ban",
    dropped: "fa-trash-o",
    bounced: "fa-times",
    replied: "fa-reply",
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
