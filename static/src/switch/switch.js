import { Component } from "@odoo/owl";
import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { standardFieldProps } from "@web/views/fields/standard_field_props";

/** The switch *Track opens and links* of a message that is being written: a button that is pressed while it is on. */
export class Switch extends Component {
    static template = "sendgrid_tracking.Switch";
    static props = { isOn: Boolean, onToggle: Function, class: { type: String, optional: true } };

    get name() {
        return _t("Track opens and links");
    }

    get title() {
        return this.props.isOn
            ? _t("Opens and links are tracked. Switch it off for this e-mail.")
            : _t("Opens and links are not tracked. Switch it on for this e-mail.");
    }
}

/** The same for a boolean field. */
export class SwitchField extends Component {
    static template = "sendgrid_tracking.SwitchField";
    static components = { Switch };
    static props = { ...standardFieldProps };

    get isOn() {
        return this.props.record.data[this.props.name];
    }

    toggle() {
        return this.props.record.update({ [this.props.name]: !this.isOn });
    }
}

registry.category("fields").add("sendgrid_switch", {
    component: SwitchField,
    supportedTypes: ["boolean"],
});
