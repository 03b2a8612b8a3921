import { registry } from "@web/core/registry";
import { BadgeField, badgeField } from "@web/views/fields/badge/badge_field";

/**
 * How the statuses of a document look, wherever they stand: the icon, and the colour. Red did not arrive, or was taken
 * for spam; amber asks for attention; blue arrived; green is a person's interest; grey says nothing yet.
 */
const LOOKS = {
    failed: ["fa-times", "danger"],
    sent: ["fa-paper-plane", "muted"],
    processed: ["fa-cogs", "muted"],
    deferred: ["fa-clock-o", "warning"],
    delivered: ["fa-check", "info"],
    opened: ["fa-envelope-open-o", "success"],
    clicked: ["fa-mouse-pointer", "success"],
    blocked: ["fa-ban", "danger"],
    dropped: ["fa-trash-o", "danger"],
    bounced: ["fa-times", "danger"],
    replied: ["fa-reply", "success"],
    unsubscribed: ["fa-bell-slash-o", "warning"],
    spam: ["fa-thumbs-down", "danger"],
};

/**
 * @param {string} status of a document
 * @returns {{ icon: string, tone: string }} the class of its icon, and the colour as Bootstrap names it
 */
export function getLook(status) {
    const [icon, tone] = LOOKS[status] || ["fa-circle-o", "muted"];
    return { icon, tone };
}

/** The status as a badge in lists and cards. */
class StatusField extends BadgeField {
    get badgeClass() {
        const { tone } = getLook(this.props.record.data[this.props.name]);
        // Core's badges name grey so.
        return tone === "muted" ? "text-bg-300" : `text-bg-${tone}`;
    }
}

registry.category("fields").add("sendgrid_status", { ...badgeField, component: StatusField });
