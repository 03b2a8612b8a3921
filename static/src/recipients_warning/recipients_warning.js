import { RecipientsInput } from "@mail/core/web/recipients_input";
import { Component, onWillStart, onWillUpdateProps, useState } from "@odoo/owl";
import { useService } from "@web/core/utils/hooks";
import { patch } from "@web/core/utils/patch";

const FIELDS = ["sendgrid_warning"];

/**
 * Warns before a message is written: names the recipients whom it will not reach, or who do not want it. And it says
 * whose opens and clicks will not be measured, unless the message is not tracked anyway.
 */
export class RecipientsWarning extends Component {
    static template = "sendgrid_tracking.RecipientsWarning";
    static props = {
        model: String,
        recordId: { type: [Number, Boolean] },
        partnerIds: { type: Array, element: Number },
        emails: { type: Array, element: String },
        isTracked: { type: Boolean, optional: true },
    };
    static defaultProps = { isTracked: true };

    setup() {
        this.orm = useService("orm");
        this.state = useState({ lines: [], unmeasured: "" });
        onWillStart(() => this.load(this.props));
        onWillUpdateProps((props) => {
            if (this.getRecipients(props) !== this.getRecipients(this.props)) {
                return this.load(props);
            }
        });
    }

    getRecipients({ model, recordId, partnerIds, emails }) {
        return JSON.stringify([model, recordId, partnerIds, emails]);
    }

    async load({ model, recordId, partnerIds, emails }) {
        const [partners, unmeasured] = await Promise.all([
            partnerIds.length ? this.orm.read("res.partner", partnerIds, FIELDS) : [],
            recordId && (partnerIds.length || emails.length)
                ? this.orm.call("res.partner", "get_sendgrid_unmeasured", [partnerIds, model, recordId, emails])
                : "",
        ]);
        this.state.lines = partners
            .filter((partner) => partner.sendgrid_warning)
            .map((partner) => ({ id: partner.id, text: partner.sendgrid_warning }));
        this.state.unmeasured = unmeasured;
    }
}

patch(RecipientsInput, {
    components: { ...RecipientsInput.components, RecipientsWarning },
});

patch(RecipientsInput.prototype, {
    get recipientPartnerIds() {
        return this.getAllMailThreadRecipients()
            .map((recipient) => recipient.partner_id)
            .filter(Boolean);
    },

    /** The addresses of the recipients who have no contact yet. */
    get recipientEmails() {
        return this.getAllMailThreadRecipients()
            .filter((recipient) => !recipient.partner_id && recipient.email)
            .map((recipient) => recipient.email);
    },
});
