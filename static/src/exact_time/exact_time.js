import { deserializeDateTime, toLocaleDateTimeString } from "@web/core/l10n/dates";
import { user } from "@web/core/user";

/**
 * @param {string|luxon.DateTime} date a time as the server writes it (UTC), or as a record holds it
 * @returns {string} the time to the second, in the time zone of the user's preferences
 */
export function formatExactTime(date) {
    const dateTime = typeof date === "string" ? deserializeDateTime(date) : date;
    return toLocaleDateTimeString(dateTime, { showSeconds: true, tz: user.tz });
}
