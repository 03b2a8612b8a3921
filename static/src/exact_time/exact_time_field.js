import { Component, xml } from "@odoo/owl";
import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { FIELD_WIDTHS } from "@web/views/list/column_width_hook";
import { standardFieldProps } from "@web/views/fields/standard_field_props";
import { describeExactTime, formatTime } from "./exact_time";

/**
 * A time in the time zone of the user's preferences, as on the Tracking page. Core's own field goes by the browser's
 * zone, so that one page would show two clocks.
 */
export class TimeField extends Component {
    static template = xml`<time t-att-title="title" t-out="text"/>`;
    static props = { ...standardFieldProps, showSeconds: { type: Boolean, optional: true } };

    get date() {
        return this.props.record.data[this.props.name];
    }

    get text() {
        return this.date ? formatTime(this.date, { showSeconds: this.props.showSeconds }) : "";
    }

    get title() {
        return this.date ? describeExactTime(this.date) : "";
    }
}

const timeField = {
    component: TimeField,
    displayName: _t("Time in the User's Zone"),
    supportedTypes: ["datetime"],
    listViewWidth: () => FIELD_WIDTHS.datetime,
};

registry
    .category("fields")
    .add("sendgrid_time", timeField)
    .add("sendgrid_exact_time", {
        ...timeField,
        displayName: _t("Exact Time"),
        extractProps: () => ({ showSeconds: true }),
    });
