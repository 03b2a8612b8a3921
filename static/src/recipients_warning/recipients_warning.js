import { RecipientsInput } from "@mail/core/web/recipients_input";
import { Component, onWillStart, onWillUpdateProps, useState } from "@odoo/owl";
import { _t } from "@web/core/l10n/translation";
import { useService } from "@web/core/utils/hooks";
import { patch } from "@web/core/utils/patch";

const FIELDS = ["display_name", "sendgrid_warning", "sendgrid_unmeasured_reason"];
const REASONS = { wish: _t("declined"), company: _t("not asked") };

/**
 * Warns before a message is written: names the recipients whom it will not reach, or who do not want it. And it says
 * whose opens and clicks will not be measured, unless the message is not tracked anyway.
 */
export class RecipientsWarning extends Component {
    static template = "sendgrid_tracking.RecipientsWarning";
    static props = { partnerIds: { type: Array, element: Number }, isTracked: { type: Boolean, optional: true } };
    static defaultProps = { isTracked: true };

    setup() {
        this.orm = useService("orm");
        this.state = useState({ lines: [], unmeasured: "" });
        onWillStart(() => this.load(this.props.partnerIds));
        onWillUpdateProps(({ partnerIds }) => {
            if (String(partnerIds) !== String(this.props.partnerIds)) {
                return this.load(partnerIds);
            }
        });
    }

    async load(partnerIds) {
        const partners = partnerIds.length
            ? await this.orm.read("res.partner", partnerIds, FIELDS)
            : [];
        this.state.lines = partners
            .filter((partner) => partner.sendgrid_warning)
            .map((partner) => ({ id: partner.id, text: partner.sendgrid_warning }));
        this.state.unmeasured = partners
            .filter((partner) => partner.sendgrid_unmeasured_reason)
            .map((partner) =>
                _t("%(name)s (%(reason)s)", {
                    name: partner.display_name,
                    reason: REASONS[partner.sendgrid_unmeasured_reason],
                })
            )
            .join(", ");
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
