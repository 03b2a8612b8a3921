import { Component, onMounted, useRef, useState } from "@odoo/owl";
import { _t } from "@web/core/l10n/translation";
import { usePopover } from "@web/core/popover/popover_hook";
import { registry } from "@web/core/registry";
import { standardFieldProps } from "@web/views/fields/standard_field_props";

// In days. The server takes no more.
const LONGEST = 365;
const USUAL = 3;

/** Asks in how many days. */
export class ReminderQuestion extends Component {
    static template = "sendgrid_tracking.ReminderQuestion";
    static props = { days: Number, onChoose: Function, close: Function };

    setup() {
        this.longest = LONGEST;
        this.state = useState({ days: this.props.days || USUAL });
        this.input = useRef("days");
        // A number can be selected as a whole only, which `useAutofocus` does not do.
        onMounted(() => {
            this.input.el.focus();
            this.input.el.select();
        });
    }

    choose(days) {
        this.props.onChoose(days);
        this.props.close();
    }

    remind() {
        // The browser has checked the number, but for an input that it does not know.
        const days = Math.round(Number(this.state.days));
        if (days >= 1 && days <= LONGEST) {
            this.choose(days);
        }
    }
}

/** The reminder of a message that is being written: a button that is pressed while one is wanted. */
export class Reminder extends Component {
    static template = "sendgrid_tracking.Reminder";
    static props = { days: Number, onChoose: Function, class: { type: String, optional: true } };

    setup() {
        this.popover = usePopover(ReminderQuestion, { position: "top-start" });
    }

    get name() {
        return _t("Remind me if there is no answer");
    }

    get title() {
        const { days } = this.props;
        return days
            ? _t("You are reminded if there is no answer. Days to wait: %s", days)
            : this.name;
    }

    ask(ev) {
        const { days, onChoose } = this.props;
        this.popover.open(ev.currentTarget, { days, onChoose });
    }
}

/** The same for a field that has the number of days. */
export class ReminderField extends Component {
    static template = "sendgrid_tracking.ReminderField";
    static components = { Reminder };
    static props = { ...standardFieldProps };

    get days() {
        return this.props.record.data[this.props.name] || 0;
    }

    choose(days) {
        return this.props.record.update({ [this.props.name]: days });
    }
}

registry.category("fields").add("sendgrid_reminder", {
    component: ReminderField,
    supportedTypes: ["integer"],
});
