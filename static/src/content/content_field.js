import { Component, useRef } from "@odoo/owl";
import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { standardFieldProps } from "@web/views/fields/standard_field_props";

// Remove the pixels that report an opening, since the reader here is not the recipient.
const PIXELS = ["/mail/track/", "/wf/open", "/trk/"];
// No script, form or frame of the mail may run. Its styles may, since they reach nothing outside of the frame.
const POLICY = "default-src 'none'; img-src http: https: data:; style-src 'unsafe-inline' http: https:; font-src http: https: data:";
const STYLE = "body { margin: 0; padding: 16px; font-family: sans-serif; overflow-wrap: anywhere; } img { max-width: 100%; }";

/**
 * @param {string} content the HTML of a mail
 * @returns {string} an HTML document that shows the mail without telling anybody
 */
export function makeMailDocument(content) {
    // A parsed document that is not part of the page loads nothing.
    const mail = new DOMParser().parseFromString(content, "text/html");
    for (const image of mail.querySelectorAll("img")) {
        const source = image.getAttribute("src") || "";
        if (PIXELS.some((pixel) => source.includes(pixel))) {
            image.remove();
        }
    }
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
        return content && makeMailDocument(content.toString());
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
});
