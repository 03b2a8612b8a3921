import { Component, onMounted, status, useState } from "@odoo/owl";
import { ConfirmationDialog } from "@web/core/confirmation_dialog/confirmation_dialog";
import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { delay } from "@web/core/utils/concurrency";
import { useService } from "@web/core/utils/hooks";
import { standardFieldProps } from "@web/views/fields/standard_field_props";

const MODEL = "sendgrid.account.connect.step";

const STATES = {
    offered: { title: _t("If you like"), icon: "fa-paper-plane-o text-muted" },
    waiting: { title: _t("Waiting"), icon: "fa-circle-o text-muted" },
    running: { title: _t("Running"), icon: "fa-circle-o-notch fa-spin text-info" },
    done: { title: _t("Done"), icon: "fa-check-circle text-success" },
    warning: { title: _t("Done, with a remark"), icon: "fa-exclamation-circle text-warning" },
    skipped: { title: _t("Skipped"), icon: "fa-minus-circle text-muted" },
    failed: { title: _t("Failed"), icon: "fa-times-circle text-danger" },
};

// What the user may answer to the question of a step:
// {question: [method of the step, label, whether to ask again, the method's arguments]}.
const CLAIM = ["action_claim", _t("This is the production database: connect from here")];
const BESIDE = ["action_connect_beside", _t("This is a copy: connect it beside")];
const ANSWERS = {
    place: [CLAIM, BESIDE],
    address: [["action_move", _t("Move the Webhook")], BESIDE],
    unreachable: [["action_move", _t("Move It All the Same"), true], BESIDE],
    password: [["action_use_key", _t("Use the Account's Key")]],
    measuring: [
        ["action_measure", _t("By Country"), false, ["country"]],
        ["action_measure", _t("Nobody"), false, ["nobody"]],
        ["action_measure", _t("Everybody"), false, ["everybody"]],
    ],
};

/** The steps of connecting an account. The field has the server run one after the other, and shows the progress. */
export class ConnectStepsField extends Component {
    static template = "sendgrid_tracking.ConnectStepsField";
    static props = { ...standardFieldProps };

    setup() {
        this.orm = useService("orm");
        this.action = useService("action");
        this.dialog = useService("dialog");
        this.state = useState({ isBusy: false });
        this.states = STATES;
        onMounted(() => this.run());
    }

    get steps() {
        return this.props.record.data[this.props.name].records.map(({ resId, data }) => ({ id: resId, ...data }));
    }

    /**
     * Tell whether a step can be repeated. One that is running while this page runs none was interrupted. One that only
     * asks would ask the same again.
     */
    canRepeat(step) {
        return !this.state.isBusy && !["waiting", "offered"].includes(step.state) && step.question !== "measuring";
    }

    /** Tell whether the user can have the test e-mail sent: a mail server has to be there. */
    canSend(step) {
        const server = this.steps.find(({ name }) => name === "server");
        return !this.state.isBusy && step.state === "offered" && ["done", "warning"].includes(server?.state);
    }

    /** Return what the user may answer to the step's question. */
    getAnswers(step) {
        return (!this.state.isBusy && ANSWERS[step.question]) || [];
    }

    answer(step, [method, , isAskedAgain, args]) {
        if (!isAskedAgain) {
            this.run(step, method, args);
            return;
        }
        this.dialog.add(ConfirmationDialog, {
            title: _t("SendGrid can hardly reach this address"),
            body: _t("If it cannot, no event arrives any more, until the webhook is moved back. Move it all the same?"),
            confirmLabel: _t("Move It"),
            confirm: () => this.run(step, method, [true]),
            cancel: () => {},
        });
    }

    async open(step, method, options) {
        this.action.doAction(await this.orm.call(MODEL, method, [step.id]), options);
    }

    /** Tell whether the user should look at this step; the buttons of the others are less prominent. */
    isUrgent(step) {
        return ["failed", "running"].includes(step.state);
    }

    /** Run the steps that wait. First call a method of the step `repeated`, if given, that sets it back to waiting. */
    async run(repeated, method = "action_repeat", args = []) {
        const { resModel, resId } = this.props.record;
        this.state.isBusy = true;
        try {
            if (repeated) {
                await this.orm.call(MODEL, method, [repeated.id, ...args]);
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
        { name: "question", type: "char" },
        { name: "email_id", type: "many2one", relation: "sendgrid.email" },
    ],
});
