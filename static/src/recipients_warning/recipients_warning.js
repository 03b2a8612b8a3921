import { RecipientsInput } from "@mail/core/web/recipients_input";
import { Component, onWillStart, onWillUpdateProps, useState } from "@odoo/owl";
import { useService } from "@web/core/utils/hooks";
import { patch } from "@web/core/utils/patch";

/** Warns before a message is written: names the recipients whom it will not reach, or who do not want it. */
export class RecipientsWarning extends Component {
    static template = "sendgrid_tracking.RecipientsWarning";
    static props = { partnerIds: { type: Array, element: Number } };

    setup() {
        this.orm = useService("orm");
        this.state = useState({ lines: [] });
        onWillStart(() => this.load(this.props.partnerIds));
        onWillUpdateProps(({ partnerIds }) => {
            if (String(partnerIds) !== String(this.props.partnerIds)) {
                return this.load(partnerIds);
            }
        });
    }

    async load(partnerIds) {
        const partners = partnerIds.length
            ? await this.orm.read("res.partner", partnerIds, ["sendgrid_warning"])
            : [];
        this.state.lines = partners
            .filter((partner) => partner.sendgrid_warning)
            .map((partner) => ({ id: partner.id, text: partner.sendgrid_warning }));
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
});
