import { deserializeDateTime, toLocaleDateTimeString } from "@web/core/l10n/dates";
import { user } from "@web/core/user";

// Without a zone in his preferences the server writes times into texts in UTC.
const getZone = () => user.tz || "UTC";

/**
 * @param {string|luxon.DateTime} date a time as the server writes it (UTC), or as a record holds it
 * @param {Object} [options]
 * @param {boolean} [options.showSeconds]
 * @returns {string} the time in the time zone of the user's preferences, which all our pages go by
 */
export function formatTime(date, { showSeconds = false } = {}) {
    const dateTime = typeof date === "string" ? deserializeDateTime(date) : date;
    return toLocaleDateTimeString(dateTime, { showSeconds, tz: getZone() });
}

/**
 * @param {string|luxon.DateTime} date as for `formatTime`
 * @returns {string} the time to the second
 */
export function formatExactTime(date) {
    return formatTime(date, { showSeconds: true });
}

/**
 * @param {string|luxon.DateTime} date as for `formatTime`
 * @returns {string} the time to the second, with the name of the time zone
 */
export function describeExactTime(date) {
    return `${formatExactTime(date)} (${getZone()})`;
}
