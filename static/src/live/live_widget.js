import { Component, status, useComponent, useState, xml } from "@odoo/owl";
import { _t } from "@web/core/l10n/translation";
import { getFieldsSpec } from "@web/model/relational_model/utils";
import { registry } from "@web/core/registry";
import { pick } from "@web/core/utils/objects";
import { useBus, useService } from "@web/core/utils/hooks";
import { standardWidgetProps } from "@web/views/widgets/standard_widget_props";
import { useDocumentChanges } from "../changes/changes";

// What a form shows of the documents of its contact or lead, and what it says of the address.
const DOCUMENTS = ["sendgrid_email_count", "sendgrid_email_ids"];
const ADDRESS = ["sendgrid_warning", "sendgrid_resend_offer", "email_bounced", "may_clear_at_sendgrid"];

/**
 * Keeps the documents in the form of a contact or lead up to date, and the warning of its address.
 *
 * It reads only these fields again. So it takes away nothing that is being typed.
 */
export class LiveWidget extends Component {
    // Whoever does not see the count hears that it has changed.
    static template = xml`<div class="visually-hidden" role="status" t-out="state.news"/>`;
    static props = { ...standardWidgetProps };

    setup() {
        this.orm = useService("orm");
        this.state = useState({ news: "" });
        const component = useComponent();
        // Asking the record whether it is dirty would put a half-typed value into it. So listen to the fields, as the
        // form's own save button does.
        this.isTyping = false;
        useBus(this.record.model.bus, "FIELD_IS_DIRTY", ({ detail }) => (this.isTyping = detail));
        this.isDestroyed = () => status(component) === "destroyed";
        useDocumentChanges({
            concerns: (message) => this.concerns(message),
            reload: () => this.reload(),
        });
    }

    get record() {
        return this.props.record;
    }

    concerns({ ids, about }) {
        const { resId, resModel, data } = this.record;
        if (!resId) {
            return false;
        }
        const shown = data.sendgrid_email_ids?.currentIds || [];
        const contactId = resModel !== "res.partner" && data.partner_id?.id;
        return Boolean(
            about[resModel]?.includes(resId) ||
                (contactId && about["res.partner"]?.includes(contactId)) ||
                ids.some((id) => shown.includes(id))
        );
    }

    async reload() {
        const record = this.record;
        const { resId, resModel, fields, evalContext, context } = record;
        // While another address is being typed, the warning is about that one.
        const names = record.dirty || this.isTyping ? DOCUMENTS : [...DOCUMENTS, ...ADDRESS];
        const activeFields = pick(record.activeFields, ...names.filter((name) => name in record.activeFields));
        const specification = getFieldsSpec(activeFields, fields, evalContext);
        const [values] = await this.orm.call(resModel, "web_read", [[resId]], { specification, context });
        if (values && !this.isDestroyed() && record.resId === resId && this.record === record) {
            const before = record.data.sendgrid_email_count;
            record._applyValues(values);
            if (record.data.sendgrid_email_count !== before) {
                this.state.news = _t("Documents: %s", record.data.sendgrid_email_count);
            }
        }
    }
}

registry.category("view_widgets").add("sendgrid_live", { component: LiveWidget });
