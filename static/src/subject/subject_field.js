import { Component } from "@odoo/owl";
import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { standardFieldProps } from "@web/views/fields/standard_field_props";

/**
 * The subject of an e-mail in a list, and below it the beginning of its content, because e-mails from one record's
 * chatter often have the same subject.
 *
 * The subject is a link, so that the keyboard reaches it: core's rows of a form cannot be reached.
 */
export class SubjectField extends Component {
    static template = "sendgrid_tracking.SubjectField";
    static props = { ...standardFieldProps };

    get subject() {
        const { data } = this.props.record;
        return data[this.props.name] || data.display_name || _t("No subject");
    }

    get preview() {
        return this.props.record.data.preview;
    }

    get url() {
        return `/odoo/sendgrid-documents/${this.props.record.resId}`;
    }

    /** The row opens the e-mail. Only who asks for another tab or window gets the link itself. */
    onClick(ev) {
        if (ev.ctrlKey || ev.metaKey || ev.shiftKey) {
            ev.stopPropagation();
        } else {
            ev.preventDefault();
        }
    }
}

registry.category("fields").add("sendgrid_subject", {
    component: SubjectField,
    displayName: _t("Subject and Beginning of an E-mail"),
    supportedTypes: ["char"],
    fieldDependencies: [
        { name: "preview", type: "char", readonly: true },
        { name: "display_name", type: "char", readonly: true },
    ],
});
