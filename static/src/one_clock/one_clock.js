import { patch } from "@web/core/utils/patch";
import { DateTimeField } from "@web/views/fields/datetime/datetime_field";
import { ListRenderer } from "@web/views/list/list_renderer";
import { describeExactTime, formatTime } from "../exact_time/exact_time";

/**
 * Core shows times in the browser's zone, the server writes them into texts in the zone of the user's preferences. A
 * page that has both shows two clocks. So all times of the addon's records go by the preferences.
 *
 * A time that a person can enter is left to core's picker, which goes by the browser's zone.
 *
 * @param {import("@web/model/relational_model/record").Record} record one that core made of plain fields has no model
 * @param {string} name of a field
 * @returns {boolean}
 */
function isOurTime(record, name) {
    const field = record.fields[name];
    return record.resModel?.startsWith("sendgrid.") && field.type === "datetime" && field.readonly;
}

patch(ListRenderer.prototype, {
    getFormattedValue(column, record) {
        const value = record.data[column.name];
        if (value && isOurTime(record, column.name)) {
            return formatTime(value, { showSeconds: Boolean(column.options.show_seconds) });
        }
        return super.getFormattedValue(column, record);
    },
});

patch(DateTimeField.prototype, {
    getFormattedValue(valueIndex, numeric) {
        const { record, name, readonly, showSeconds } = this.props;
        const value = this.values[valueIndex];
        if (value && readonly && isOurTime(record, name)) {
            // Core asks for the numeric form where it shows a tooltip.
            return numeric ? describeExactTime(value) : formatTime(value, { showSeconds });
        }
        return super.getFormattedValue(...arguments);
    },
});
