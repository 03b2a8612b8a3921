import { registry } from "@web/core/registry";

const tours = registry.category("web_tour.tours");
const EVENT = ".o_sendgrid_event";

function check(condition, message) {
    if (!condition) {
        throw new Error(message);
    }
}

/** The test's document shows its Tracking page in full: newest event first, an opening by a machine marked as such. */
const seesTracking = () => [
    {
        content: "the document is open in full, not in a dialog",
        trigger: ".o_breadcrumb:contains(Your quotation)",
        run: () => check(!document.querySelector(".modal"), "the document opened in a dialog"),
    },
    {
        content: "the way the e-mail went",
        trigger: ".o_sendgrid_step_done[data-status=clicked]:contains(Clicked)",
    },
    {
        content: "opens and clicks in words",
        trigger: ".o_field_widget[name=engagement_summary]:contains(Opened 2×, once by a machine. Clicked once.)",
    },
    {
        content: "newest first, each with its name, its delay and its details",
        trigger: `${EVENT}:first-child[data-event=click]:contains(Clicked):contains(After sending: 1 h 5 min)`,
    },
    {
        trigger: `${EVENT}:last-child[data-event=processed]:contains(After sending: 1 s)`,
    },
    {
        trigger: `${EVENT}[data-event=click] dd[data-name=url] a[href='https://www.example.com/quotation'][rel~=noopener]`,
    },
    {
        trigger: `${EVENT}[data-event=open] dd[data-name=device]:contains(Outlook on Windows)`,
    },
    {
        content: "machines are muted, with the reason",
        trigger: `${EVENT}.o_sendgrid_event_machine:contains(Opened by a machine) .o_sendgrid_event_why:contains(Apple)`,
    },
    {
        content: "to the second, in the time zone of the user's preferences",
        trigger: `${EVENT}[data-event=processed] time:contains(9:00:01)`,
    },
    {
        content: "what does it mean?",
        trigger: `${EVENT}[data-event=delivered] .o_sendgrid_event_explain`,
        run: "click",
    },
    {
        trigger: `${EVENT}[data-event=delivered] .o_sendgrid_event_explanation:contains(has accepted the e-mail)`,
    },
];

tours.add("sendgrid_contact_button", {
    steps: () => [
        {
            content: "the count is on the button",
            trigger: "button[name=action_view_sendgrid_emails]:contains(Documents):contains(1)",
            run: "click",
        },
        {
            trigger: ".o_list_view .o_data_row:contains(Your quotation):contains(Clicked) td[name=subject]",
            run: "click",
        },
        ...seesTracking(),
    ],
});

tours.add("sendgrid_contact_page", {
    steps: () => [
        { trigger: ".o_notebook .nav-link:contains(Documents)", run: "click" },
        {
            trigger: ".o_field_widget[name=sendgrid_email_ids] .o_data_row:contains(Your quotation) td[name=status]",
            run: "click",
        },
        ...seesTracking(),
    ],
});

tours.add("sendgrid_contact_without", {
    steps: () => [
        { trigger: ".o_notebook .nav-link:contains(Documents)", run: "click" },
        {
            content: "what to do next, instead of an empty list",
            trigger: ".o_notebook .o_sendgrid_empty:contains(Send message)",
            run: () =>
                check(
                    !document.querySelector(".o_field_widget[name=sendgrid_email_ids]"),
                    "an empty list is shown beside the advice"
                ),
        },
    ],
});

tours.add("sendgrid_lead_button", {
    steps: () => [
        {
            trigger: "button[name=action_view_sendgrid_emails]:contains(Documents):contains(1)",
            run: "click",
        },
        { trigger: ".o_list_view .o_data_row:contains(About the lead) td[name=subject]", run: "click" },
        { trigger: ".o_sendgrid_step_failed[data-status=bounced]" },
        { trigger: ".alert-danger:contains(550 5.1.1 no such user)" },
        { trigger: `${EVENT}[data-event=bounce]:contains(Bounced)` },
        { content: "the record as a link", trigger: ".o_field_widget[name=resource_ref]:contains(The lead)" },
    ],
});

tours.add("sendgrid_mail_page", {
    steps: () => [
        { trigger: ".o_notebook .nav-link:contains(Tracking)", run: "click" },
        { trigger: `${EVENT}[data-event=delivered] dd[data-name=recipient]:contains(customer@example.com)` },
    ],
});

tours.add("sendgrid_same_second", {
    steps: () => [
        {
            content: "what happened within one second stands in its natural order, the last on top",
            trigger: EVENT,
            run: () => {
                const events = [...document.querySelectorAll(".o_sendgrid_event")].map((one) => one.dataset.event);
                check(
                    events.join() === "spamreport,something_new,bounce,click,open,delivered,deferred,processed",
                    `the order is ${events}`
                );
            },
        },
        {
            content: "a field that could not be read is named",
            trigger: `${EVENT}[data-event=deferred]:contains(Could not be read: attempt, ip)`,
        },
    ],
});

tours.add("sendgrid_hostile", {
    steps: () => [
        {
            content: "hostile text is shown as text, wherever it comes from",
            trigger: EVENT,
            run: () => {
                const event = document.querySelector(".o_sendgrid_event");
                for (const name of ["reason", "response", "smtp_status", "url", "device", "ip"]) {
                    const detail = event.querySelector(`dd[data-name=${name}]`);
                    check(detail?.textContent.includes("<img src=x onerror="), `${name} is not shown as text`);
                    check(!detail.querySelector("a"), `${name} is a link`);
                }
                const name = event.querySelector(".o_sendgrid_event_name");
                check(name.textContent.includes("<img src=x onerror="), "the unknown event is not shown by its name");
                check(!event.querySelector("img, script"), "hostile text became an element");
                check(!window.sendgridHacked, "hostile text was run");
            },
        },
        {
            trigger: ".alert-danger:contains('<img src=x onerror=')",
        },
        {
            content: "neither javascript: nor data: can be followed",
            trigger: `${EVENT}[data-event=click] dd[data-name=url]`,
            run: () => {
                for (const link of document.querySelectorAll(".o_sendgrid_event a")) {
                    check(/^https?:/.test(link.href), `${link.href} can be followed`);
                }
                const shown = [...document.querySelectorAll(".o_sendgrid_event dd[data-name=url]")];
                for (const scheme of ["javascript:", "data:", "vbscript:"]) {
                    check(
                        shown.some((detail) => detail.textContent.includes(scheme)),
                        `the ${scheme} address is not shown`
                    );
                }
            },
        },
    ],
});

tours.add("sendgrid_content", {
    steps: () => [
        { trigger: ".o_notebook .nav-link:contains(Content)", run: "click" },
        {
            content: "the mail as it was sent, and nobody hears that it was opened here",
            trigger: "iframe.o_sendgrid_content[sandbox]:not([sandbox*=allow-scripts])",
            run: async ({ anchor }) => {
                const isLoaded = () => anchor.contentDocument?.body?.textContent.includes("Dear customer");
                for (let tries = 0; tries < 100 && !isLoaded(); tries++) {
                    await new Promise((resolve) => setTimeout(resolve, 50));
                }
                check(isLoaded(), "the mail is not shown");
                const sources = [...anchor.contentDocument.images].map((image) => image.getAttribute("src"));
                check(sources.length === 1 && sources[0].startsWith("data:"), `images: ${sources}`);
                check(!anchor.contentDocument.querySelector("a[href^='javascript']"), "a link runs a script");
                const link = anchor.contentDocument.querySelector("a[href='https://www.example.com/quotation']");
                check(link.target === "_blank" && link.rel.includes("noopener"), "the link opens in the frame");
                check(!window.sendgridHacked, "the mail ran a script");
            },
        },
    ],
});

tours.add("sendgrid_many_events", {
    steps: () => [
        {
            content: "not all at once",
            trigger: ".o_sendgrid_show_all:contains(Show all 200)",
            run: "click",
        },
        {
            trigger: `${EVENT}:nth-child(200)`,
        },
    ],
});

tours.add("sendgrid_recipients_warning", {
    steps: () => [
        {
            content: "the contact says so itself",
            trigger: ".o_form_view .alert:contains(bounced):contains(550 User unknown)",
        },
        {
            trigger: ".o-mail-Chatter-sendMessage",
            run: "click",
        },
        {
            content: "and so does the chatter, before anything is written",
            trigger: ".o_sendgrid_recipients_warning:contains(550 User unknown)",
        },
    ],
});

const BANNER = ".o_form_view .alert:contains(lead@example.com bounced on)";

/** A lead whose address bounced says so, not while another address is being typed, and can be confirmed. */
tours.add("sendgrid_lead_banner", {
    steps: () => [
        { content: "the banner names the address", trigger: `${BANNER}:contains(no such user)` },
        {
            content: "another address is being typed",
            trigger: ".o_field_widget[name=email_from] input",
            run: "edit corrected@example.com",
        },
        { trigger: ".o_field_widget[name=phone] input", run: "click" },
        { content: "nothing is said of the old one", trigger: `.o_form_view:not(:has(${BANNER.slice(13)}))` },
        { trigger: ".o_form_button_cancel", run: "click" },
        { trigger: BANNER },
        { trigger: "button[name=action_email_is_valid]", run: "click" },
        { content: "it is confirmed", trigger: ".o-mail-Message:contains(Valid again: lead@example.com)" },
        { trigger: ".o_form_view:not(:has(button[name=action_email_is_valid]))" },
    ],
});

/** Several contacts of a list are confirmed at once, and a notification says how many. */
tours.add("sendgrid_contacts_are_valid", {
    steps: () => [
        { trigger: ".o_list_view .o_data_row" },
        { trigger: "thead .o_list_record_selector input", run: "click" },
        { trigger: ".o_cp_action_menus button:contains(Actions)", run: "click" },
        { trigger: ".o-dropdown--menu .o_menu_item:contains(The addresses are valid again)", run: "click" },
        { trigger: ".o_notification:contains(Addresses that are valid again: 2.)" },
    ],
});
