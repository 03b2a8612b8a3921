import { Component, onMounted, status, useState } from "@odoo/owl";
import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { delay } from "@web/core/utils/concurrency";
import { useService } from "@web/core/utils/hooks";
import { standardFieldProps } from "@web/views/fields/standard_field_props";

const STATES = {
    waiting: { title: _t("Waiting"), icon: "fa-circle-o text-muted" },
    running: { title: _t("Running"), icon: "fa-circle-o-notch fa-spin text-info" },
    done: { title: _t("Done"), icon: "fa-check-circle text-success" },
    warning: { title: _t("Done, with a remark"), icon: "fa-exclamation-circle text-warning" },
    skipped: { title: _t("Skipped"), icon: "fa-minus-circle text-muted" },
    failed: { title: _t("Failed"), icon: "fa-times-circle text-danger" },
};

/** The steps of connecting an account. The field has the server run one after the other, and shows the progress. */
export class ConnectStepsField extends Component {
    static template = "sendgrid_tracking.ConnectStepsField";
    static props = { ...standardFieldProps };

    setup() {
        this.orm = useService("orm");
        this.state = useState({ isBusy: false });
        this.states = STATES;
        onMounted(() => this.run());
    }

    get steps() {
        return this.props.record.data[this.props.name].records.map(({ resId, data }) => ({ id: resId, ...data }));
    }

    /** Tell whether a step can be repeated. One that is running while this page runs none was interrupted. */
    canRepeat(step) {
        return !this.state.isBusy && step.state !== "waiting";
    }

    /** Tell whether the user should look at this step; the buttons of the others are less prominent. */
    isUrgent(step) {
        return ["failed", "running"].includes(step.state);
    }

    /** Run the steps that wait. First set the step `repeated`, if given, back to waiting. */
    async run(repeated) {
        const { resModel, resId } = this.props.record;
        this.state.isBusy = true;
        try {
            if (repeated) {
                await this.orm.call("sendgrid.account.connect.step", "action_repeat", [repeated.id]);
                await this.props.record.load();
            }
            while (status(this) !== "destroyed") {
                const pause = await this.orm.call(resModel, "run_next", [resId]);
                await this.props.record.load();
                if (pause === false) {
                    return;
                }
                await delay(pause * 1000);
            }
        } finally {
            this.state.isBusy = false;
        }
    }
}

registry.category("fields").add("sendgrid_connect_steps", {
    component: ConnectStepsField,
    displayName: _t("Steps of Connecting"),
    supportedTypes: ["one2many"],
    relatedFields: [
        { name: "display_name", type: "char" },
        { name: "name", type: "char" },
        { name: "state", type: "char" },
        { name: "message", type: "text" },
    ],
});
