"""axe-core in the pages of the browser tests: it finds what keeps people out who use a keyboard, a screen reader, or
see little."""

from pathlib import Path

import axe_playwright_python

# The Python package brings axe-core's own file. So it is installed like every other package, in one exact version whose
# hash is checked, and Node.js is not needed.
SOURCE = Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text()

# The levels A and AA of the Web Content Accessibility Guidelines, which law asks for in many countries.
STANDARDS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]

# What Odoo's own widgets do wrong wherever they stand: no view or widget of ours can mend it.
# {axe-core's rule: [selector of the element, ...]}
CORES_OWN = {
    # Notebooks: their tabs stand in list items without a role.
    "aria-required-parent": [".o_notebook .nav-link[role=tab]"],
    # Lists: the button for optional columns, and those that copy a text, have no name.
    "button-name": [
        ".o_optional_columns_dropdown button, button:has(.o_optional_columns_dropdown_toggle)",
        ".o_clipboard_button",
    ],
    # Lists: the boxes by which rows are chosen, and those that show a yes or no, have no label.
    "label": [".o_list_record_selector input", ".o_data_cell input[type=checkbox]"],
    # Tags, drop-down lists and progress bars say something that their elements cannot be.
    "aria-allowed-attr": [".o_tag", ".o-dropdown", ".o-autocomplete--input", ".o_progress"],
    "autocomplete-valid": [".o_select_menu_input"],
    # Lists: where they are wider than the screen, they scroll. Their rows are reached by the arrow keys.
    "scrollable-region-focusable": [".o_list_renderer"],
}


def find_violations(page, *include):
    """Run axe-core in the parts of a page that the CSS selectors name; return a line for each fault.

    :param page: Playwright's page, which shows all that shall be looked at
    :param include: the selectors of the parts. Each has to be there: a part that is missing would have no fault
    :return: a list of "rule: element (how to mend it)"
    """
    for selector in include:
        # It may just be drawn anew.
        page.locator(selector).first.wait_for(state="attached")
    if not page.evaluate("Boolean(window.axe)"):
        page.evaluate(SOURCE)
    return page.evaluate(
        """async ([include, standards, cores]) => {
            // While something fades in, its texts are paler than they are. Some animations never end.
            const ending = document.getAnimations().filter(one => one.effect.getComputedTiming().endTime < Infinity);
            await Promise.allSettled(ending.map(one => one.finished));
            // The elements themselves: a page that reloads meanwhile has others in their places.
            const options = {runOnly: standards, resultTypes: ["violations"], elementRef: true};
            const {violations} = await window.axe.run({include: include.map(one => [one])}, options);
            const isCores = (rule, element) => cores[rule] && element.matches(cores[rule]);
            return violations.flatMap(({id, nodes}) => nodes
                .filter(node => !isCores(id, node.element))
                .map(node => `${id}: ${node.html.slice(0, 200)} (${node.failureSummary.replace(/\\s+/g, " ")})`));
        }""",
        [list(include), STANDARDS, {rule: ", ".join(selectors) for rule, selectors in CORES_OWN.items()}],
    )
