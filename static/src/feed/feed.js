import { Component, onMounted, onWillUnmount, useState } from "@odoo/owl";
import { useDiscussSystray } from "@mail/utils/common/hooks";
import { Dropdown } from "@web/core/dropdown/dropdown";
import { useDropdownState } from "@web/core/dropdown/dropdown_hooks";
import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { useService } from "@web/core/utils/hooks";
import { describeExactTime, formatTime } from "../exact_time/exact_time";

// The server counts no further.
const COUNTED = 100;
const ICONS = {
    opened: "fa-envelope-open-o text-success",
    clicked: "fa-mouse-pointer text-success",
    replied: "fa-reply text-success",
    failed: "fa-exclamation-triangle text-danger",
    spam: "fa-ban text-danger",
};

/**
 * What happened to the user's e-mails, in the top bar: the number that he has not seen, and the newest when opened.
 *
 * The number comes with core's first load, and then by the bus. While the list is closed it asks for nothing.
 */
export class Feed extends Component {
    static components = { Dropdown };
    static props = [];
    static template = "sendgrid_tracking.Feed";

    setup() {
        this.discussSystray = useDiscussSystray();
        this.store = useState(useService("mail.store"));
        this.action = useService("action");
        this.orm = useService("orm");
        const bus = useService("bus_service");
        this.dropdown = useDropdownState();
        this.state = useState({ kind: false, lines: undefined });
        this.filters = [
            { kind: false, name: _t("All") },
            { kind: "opened", name: _t("Opens") },
            { kind: "clicked", name: _t("Clicks") },
            { kind: "replied", name: _t("Replies") },
            { kind: "failed", name: _t("Failures") },
        ];
        this.asked = 0;
        const onTold = () => this.dropdown.isOpen && this.load();
        onMounted(() => bus.subscribe("sendgrid.interaction/told", onTold));
        onWillUnmount(() => bus.unsubscribe("sendgrid.interaction/told", onTold));
    }

    get isShown() {
        return Boolean(this.store.hasSendgridAccount);
    }

    get counter() {
        const unseen = this.store.sendgridUnseen;
        return unseen >= COUNTED ? `${COUNTED - 1}+` : unseen;
    }

    get label() {
        return this.counter
            ? _t("What happened to my e-mails: %s unseen", this.counter)
            : _t("What happened to my e-mails");
    }

    describe({ kind, contact, count, has_more: hasMore }) {
        if (count > 1) {
            const others = hasMore ? `${count - 1}+` : count - 1;
            return {
                opened: _t("Opened by %(contact)s and others (%(count)s)", { contact, count: others }),
                clicked: _t("Clicked by %(contact)s and others (%(count)s)", { contact, count: others }),
                replied: _t("Replies from %(contact)s and others (%(count)s)", { contact, count: others }),
                failed: _t("Not delivered to %(contact)s and others (%(count)s)", { contact, count: others }),
                spam: _t("Reported as spam by %(contact)s and others (%(count)s)", { contact, count: others }),
            }[kind];
        }
        return {
            opened: _t("Opened by %s", contact),
            clicked: _t("Clicked by %s", contact),
            replied: _t("Reply from %s", contact),
            failed: _t("Not delivered to %s", contact),
            spam: _t("Reported as spam by %s", contact),
        }[kind];
    }

    getIcon({ kind }) {
        return ICONS[kind];
    }

    formatTime(line) {
        return formatTime(line.date);
    }

    describeTime(line) {
        return describeExactTime(line.date);
    }

    async load() {
        const number = ++this.asked;
        const lines = await this.orm.silent.call("sendgrid.interaction", "get_feed", [], { kind: this.state.kind });
        // A later answer may have come first.
        if (number === this.asked) {
            this.state.lines = lines;
        }
    }

    choose(kind) {
        this.state.kind = kind;
        return this.load();
    }

    async openLine(line) {
        this.dropdown.close();
        if (!line.is_seen) {
            await this.orm.silent.call("sendgrid.interaction", "mark_line_seen", [[line.id]]);
        }
        this.action.doAction({
            type: "ir.actions.act_window",
            res_model: "sendgrid.email",
            res_id: line.email_id,
            views: [[false, "form"]],
        });
    }

    async markAllSeen() {
        await this.orm.silent.call("sendgrid.interaction", "action_mark_all_seen", [[]]);
        this.store.sendgridUnseen = 0;
        await this.load();
    }

    openPage() {
        this.dropdown.close();
        this.action.doAction("sendgrid_tracking.sendgrid_interaction_action", { clearBreadcrumbs: true });
    }
}

// It stands beside core's activities.
registry.category("systray").add("sendgrid_tracking.feed", { Component: Feed }, { sequence: 21 });
