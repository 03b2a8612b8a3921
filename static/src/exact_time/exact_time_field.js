import { Component, xml } from "@odoo/owl";
import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { user } from "@web/core/user";
import { standardFieldProps } from "@web/views/fields/standard_field_props";
import { formatExactTime } from "./exact_time";

export class ExactTimeField extends Component {
    static template = xml`<time t-att-title="timeZone" t-out="text"/>`;
    static props = { ...standardFieldProps };

    get text() {
        const date = this.props.record.data[this.props.name];
        return date ? formatExactTime(date) : "";
    }

    get timeZone() {
        return user.tz;
    }
}

registry.category("fields").add("sendgrid_exact_time", {
    component: ExactTimeField,
    displayName: _t("Exact Time"),
    supportedTypes: ["datetime"],
});
