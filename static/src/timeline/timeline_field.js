import { Component, useState } from "@odoo/owl";
import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { standardFieldProps } from "@web/views/fields/standard_field_props";
import { describeExactTime, formatExactTime } from "../exact_time/exact_time";

const SHOWN_AT_FIRST = 50;
// Reported by servers: the IP address is that of SendGrid's own server, and says nothing about the recipient.
const REPORTED_BY_SERVERS = ["processed", "deferred", "delivered", "bounce", "dropped"];

/**
 * @param {string} url any text, since it comes from outside
 * @returns {string|false} an address that is safe to follow, or false
 */
export function getSafeUrl(url) {
    try {
        const { protocol, href } = new URL(url);
        return ["http:", "https:"].includes(protocol) && href;
    } catch {
        return false;
    }
}

/**
 * @param {string} link as `sendgrid.event` has it
 * @returns {boolean} whether a secret was cut off it, which leaves nothing to follow
 */
function isCut(link) {
    return Boolean(link) && link.endsWith("…");
}

/**
 * @param {string} userAgent any text
 * @returns {string} the same, or nothing if it says no more than that it is a browser, as "Mozilla/5.0" does
 */
function getTelling(userAgent) {
    return /^\s*Mozilla\/[\d.]+\s*$/i.test(userAgent || "") ? "" : userAgent;
}

/** The interactions with an e-mail, newest first. Texts from outside are hostile: show them, never run them. */
export class TimelineField extends Component {
    static template = "sendgrid_tracking.TimelineField";
    static props = {
        ...standardFieldProps,
        showRecipient: { type: Boolean, optional: true },
    };

    setup() {
        this.state = useState({ isAllShown: false, explained: {} });
        this.formatExactTime = formatExactTime;
        this.describeExactTime = describeExactTime;
        this.getSafeUrl = getSafeUrl;
    }

    get records() {
        const { records } = this.props.record.data[this.props.name];
        const time = ({ data }) => data.timestamp.toMillis();
        return [...records].sort(
            (one, other) =>
                time(other) - time(one) || other.data.rank - one.data.rank || other.resId - one.resId
        );
    }

    get shown() {
        return this.state.isAllShown ? this.records : this.records.slice(0, SHOWN_AT_FIRST);
    }

    /** Tell whether an event is a refusal. Its explanation is shown at once, since it says what to do. */
    isRefusal({ data }) {
        return ["bounce", "dropped"].includes(data.event);
    }

    /** Name the button that explains an event, so that each has a name of its own. */
    getQuestion({ data }) {
        return _t("What does this mean: %(event)s, %(time)s?", {
            event: data.name,
            time: formatExactTime(data.timestamp),
        });
    }

    toggleExplanation(id) {
        this.state.explained[id] = !this.state.explained[id];
    }

    showAll() {
        this.state.isAllShown = true;
    }

    /** Return the details of an event, one for each line. */
    getDetails({ data }) {
        const status = data.smtp_status || "";
        const isSaid = [data.reason, data.response].some((said) => said && said.includes(status));
        return [
            { name: "recipient", label: _t("To"), text: this.props.showRecipient && data.recipient },
            { name: "sender", label: _t("From"), text: data.answer && data.recipient },
            // The address is our own server's.
            { name: "answer", label: _t("Answer"), text: data.answer_url && _t("Open the answer"), href: data.answer_url },
            { name: "reason", label: _t("Reason"), text: data.reason },
            { name: "response", label: _t("Server"), text: data.response },
            { name: "smtp_status", label: _t("SMTP status"), text: !isSaid && status },
            { name: "attempt", label: _t("Attempts before"), text: data.attempt && String(data.attempt) },
            { name: "url", label: _t("Link"), text: data.link, href: !isCut(data.link) && getSafeUrl(data.link) },
            { name: "device", label: _t("Device"), text: data.device || getTelling(data.user_agent), title: data.user_agent },
            { name: "ip", label: _t("IP address"), text: !REPORTED_BY_SERVERS.includes(data.event) && data.ip },
        ].filter((detail) => detail.text);
    }
}

const text = (name) => ({ name, type: "char" });

registry.category("fields").add("sendgrid_timeline", {
    component: TimelineField,
    displayName: _t("Timeline of an E-mail"),
    supportedTypes: ["one2many", "many2many"],
    relatedFields: [
        { name: "timestamp", type: "datetime" },
        { name: "is_machine", type: "boolean" },
        { name: "is_colleague", type: "boolean" },
        { name: "attempt", type: "integer" },
        { name: "rank", type: "integer" },
        ...[
            "event",
            "answer",
            "answer_url",
            "name",
            "icon",
            "tone",
            "explanation",
            "machine_explanation",
            "unread_explanation",
            "delay",
            "match",
            "recipient",
            "reason",
            "response",
            "smtp_status",
            "link",
            "device",
            "user_agent",
            "ip",
        ].map(text),
    ],
    extractProps: ({ options }) => ({ showRecipient: Boolean(options.show_recipient) }),
});
