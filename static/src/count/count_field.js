import { Component } from "@odoo/owl";
import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { formatInteger } from "@web/views/fields/formatters";
import { standardFieldProps } from "@web/views/fields/standard_field_props";

/** How often an e-mail was opened or clicked. Where that was not measured, a mark stands instead of a 0. */
export class CountField extends Component {
    static template = "sendgrid_tracking.CountField";
    static props = { ...standardFieldProps };

    get isUnmeasured() {
        return this.props.record.data.measured === "none";
    }

    get text() {
        return formatInteger(this.props.record.data[this.props.name]);
    }
}

registry.category("fields").add("sendgrid_count", {
    component: CountField,
    displayName: _t("Opens or Clicks"),
    supportedTypes: ["integer"],
    fieldDependencies: [
        { name: "measured", type: "selection", selection: [], readonly: true },
        { name: "unmeasured_note", type: "char", readonly: true },
    ],
});
