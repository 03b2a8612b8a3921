import { Component, useRef } from "@odoo/owl";
import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { standardFieldProps } from "@web/views/fields/standard_field_props";

// Remove the pixels that report an opening, since the reader here is not the recipient.
const PIXELS = ["/mail/track/", "/wf/open", "/trk/"];
// No script, form or frame of the mail may run. Its styles may, since they reach nothing outside of the frame.
const POLICY = "default-src 'none'; img-src http: https: data:; style-src 'unsafe-inline' http: https:; font-src http: https: data:";
const STYLE = "body { margin: 0; padding: 16px; font-family: sans-serif; overflow-wrap: anywhere; } img { max-width: 100%; }";

// The mail's own styles do not reach the number, and it has its contrast whatever the mail's colours are.
const CLICKS =
    "all: initial !important; display: inline-block !important; margin: 0 4px !important; padding: 0 6px !important;" +
    "border-radius: 8px !important; background: #d1e7dd !important; color: #0a3622 !important;" +
    "font: 12px/18px sans-serif !important; white-space: nowrap !important;";

/**
 * Write beside each link how often it was followed.
 *
 * @param {Document} mail
 * @param {Object[]} clicks as `sendgrid.email` has them in `link_clicks`
 */
function tellClicks(mail, clicks) {
    const texts = new Map(clicks.map(({ href, place, text }) => [`${place} ${href}`, text]));
    const seen = new Map();
    for (const link of [...mail.querySelectorAll("a[href]")]) {
        const href = link.getAttribute("href");
        const place = seen.get(href) || 0;
        seen.set(href, place + 1);
        const text = texts.get(`${place} ${href}`);
        if (text) {
            const told = Object.assign(mail.createElement("span"), { className: "o_sendgrid_clicks", textContent: text });
            told.style.cssText = CLICKS;
            link.after(told);
        }
    }
}

/**
 * @param {string} content the HTML of a mail
 * @param {Object[]} [clicks] see `tellClicks`
 * @returns {string} an HTML document that shows the mail without telling anybody
 */
export function makeMailDocument(content, clicks = []) {
    // A parsed document that is not part of the page loads nothing.
    const mail = new DOMParser().parseFromString(content, "text/html");
    for (const image of mail.querySelectorAll("img")) {
        const source = image.getAttribute("src") || "";
        if (PIXELS.some((pixel) => source.includes(pixel))) {
            image.remove();
        }
    }
    tellClicks(mail, clicks);
    for (const link of mail.querySelectorAll("a, area")) {
        link.removeAttribute("xlink:href");
        if (/^\s*(https?|mailto|tel):/i.test(link.getAttribute("href") || "")) {
            link.setAttribute("target", "_blank");
            link.setAttribute("rel", "noopener noreferrer");
        } else {
            link.removeAttribute("href");
        }
    }
    mail.querySelectorAll("script, base, meta, link[rel~='preload'], link[rel~='prefetch']").forEach((el) => el.remove());
    const head = mail.createElement("div");
    head.append(
        Object.assign(mail.createElement("meta"), { httpEquiv: "Content-Security-Policy", content: POLICY }),
        Object.assign(mail.createElement("meta"), { name: "referrer", content: "no-referrer" }),
        Object.assign(mail.createElement("style"), { textContent: STYLE })
    );
    mail.head.prepend(...head.childNodes);
    return `<!DOCTYPE html>${mail.documentElement.outerHTML}`;
}

/** Shows a mail as it was sent, in a frame of its own: its styles do not reach the page, and none of its code runs. */
export class ContentField extends Component {
    static template = "sendgrid_tracking.ContentField";
    static props = { ...standardFieldProps };

    setup() {
        this.frame = useRef("frame");
    }

    get document() {
        const content = this.props.record.data[this.props.name];
        return content && makeMailDocument(content.toString(), this.props.record.data.link_clicks || []);
    }

    fitHeight() {
        const frame = this.frame.el;
        frame.style.height = `${frame.contentDocument.documentElement.scrollHeight}px`;
    }
}

registry.category("fields").add("sendgrid_content", {
    component: ContentField,
    displayName: _t("Content of an E-mail"),
    supportedTypes: ["html"],
    fieldDependencies: [{ name: "link_clicks", type: "json", readonly: true }],
});
