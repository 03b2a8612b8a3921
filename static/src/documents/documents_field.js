import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { X2ManyField, x2ManyField } from "@web/views/fields/x2many/x2many_field";

/** A list of documents whose rows open in full, not in a dialog. */
export class DocumentsField extends X2ManyField {
    openRecord(record, { newWindow } = {}) {
        return this.switchToForm(record, { newWindow });
    }
}

registry.category("fields").add("sendgrid_documents", {
    ...x2ManyField,
    component: DocumentsField,
    displayName: _t("Documents"),
});
