"use strict";

// The server renders the page. After a change this script fetches it again and swaps the parts marked "live".
const POLL_MILLISECONDS = 700;
let version = null;

async function refresh() {
    const response = await fetch(location.href);
    if (!response.ok) {
        location.href = "/";
        return;
    }
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    for (const part of document.querySelectorAll(".live")) {
        const other = fresh.getElementById(part.id);
        if (other && other.innerHTML !== part.innerHTML) {
            const folds = new Map([...part.querySelectorAll("details[id]")].map((fold) => [fold.id, fold.open]));
            part.innerHTML = other.innerHTML;
            for (const fold of part.querySelectorAll("details[id]")) {
                fold.open = folds.get(fold.id) ?? fold.open;
            }
        }
    }
    // Show a copy again once it has arrived: it now has its pixel and tracked links.
    const frame = document.querySelector("iframe");
    const freshFrame = fresh.querySelector("iframe");
    if (frame && freshFrame && frame.dataset.arrived !== freshFrame.dataset.arrived) {
        frame.dataset.arrived = freshFrame.dataset.arrived;
        frame.src = frame.getAttribute("src");
    }
}

async function poll() {
    try {
        if (!document.hidden) {
            const response = await fetch("/inbox/version");
            const now = await response.text();
            document.body.classList.remove("gone");
            if (now !== version) {
                version = now;
                await refresh();
            }
        }
    } catch {
        document.body.classList.add("gone");
    }
    setTimeout(poll, POLL_MILLISECONDS);
}

document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-url]");
    if (!button) {
        return;
    }
    button.disabled = true;
    const { method, url, body, then } = button.dataset;
    try {
        const response = await fetch(url, { method, body });
        if (!response.ok) {
            alert(await response.text());
        } else if (then) {
            location.href = then;
            return;
        }
        await refresh();
    } finally {
        button.disabled = false;
    }
});

poll();
