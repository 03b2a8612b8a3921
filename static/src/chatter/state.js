import { _t } from "@web/core/l10n/translation";
import { describeExactTime, formatTime } from "../exact_time/exact_time";
import { getLook } from "../status/status_field";

/**
 * @param {string} status of a document
 * @returns {string} the classes of its icon
 */
export function getIconClass(status) {
    const { icon, tone } = getLook(status);
    return `fa ${icon} text-${tone}`;
}

/**
 * @param {Object} state what the server says of a recipient, see `_get_notification_states`
 * @returns {string} the state in words
 */
export function describeState({ label, note }) {
    return note ? _t("%(status)s: %(reason)s", { status: label, reason: note }) : label;
}

/**
 * @param {Object} state
 * @returns {string} when it got so, or nothing
 */
export function describeTime({ date }) {
    return date ? formatTime(date) : "";
}

/**
 * @param {Object} state
 * @returns {string} the time to the second, with the name of the time zone, or nothing
 */
export function describeTimeExactly({ date }) {
    return date ? describeExactTime(date) : "";
}
