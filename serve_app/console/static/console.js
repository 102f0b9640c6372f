// Keyboard, live notes and focus. Everything works without this; nothing here decides anything.
"use strict";
(() => {
  const KEYS = "acgs-console-keys";
  const byId = (id) => document.getElementById(id);
  const keysOn = () => localStorage.getItem(KEYS) !== "off";

  // -- help, and the switch for single-key shortcuts (WCAG 2.1.4)
  const help = byId("help");
  const button = byId("help-button");
  if (button) {
    button.hidden = false;
    button.addEventListener("click", () => help.showModal());
  }
  const toggle = byId("keys-on");
  toggle.checked = keysOn();
  toggle.addEventListener("change", () => localStorage.setItem(KEYS, toggle.checked ? "on" : "off"));

  // -- what was just done, or refused, is where reading goes on
  // (after a decision that is the way to the next one, which says what became of this one)
  (byId("problem") || byId("go-on") || byId("outcome"))?.focus();

  // -- shortcuts
  const links = () => [...document.querySelectorAll("a.open")];
  const step = (by) => {
    const all = links();
    if (!all.length) return;
    const at = all.indexOf(document.activeElement);
    const next = at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(Math.max(at + by, 0), all.length - 1);
    all[next].focus();
  };
  const prepare = (choice) => {
    const radio = byId(choice);
    if (!radio) return;
    radio.checked = true;
    radio.dispatchEvent(new Event("change", { bubbles: true }));
    byId("reason").focus();
  };
  const SHORTCUTS = {
    j: () => step(1),
    k: () => step(-1),
    a: () => prepare("approve"),
    r: () => prepare("reject"),
    e: () => {
      if (!byId("escalate")) return;
      byId("escalate").open = true;
      byId("why").focus();
    },
    n: () => byId("next")?.click(),
    q: () => byId("back")?.click(),
    "?": () => button && help.showModal(),
  };
  document.addEventListener("keydown", (event) => {
    const at = event.target;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && at.id === "reason") {
      event.preventDefault();
      at.form.requestSubmit();
      return;
    }
    if (!keysOn() || event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    if (at.closest("input:not([type=radio]):not([type=checkbox]), textarea, select")) return;
    const act = SHORTCUTS[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });

  // -- the button says what it will record, and records it once
  const NAMES = { approve: "Approve it", reject: "Reject it", abstain: "Abstain" };
  const vote = byId("vote");
  if (vote) {
    const name = () => {
      const chosen = vote.querySelector("[name=choice]:checked");
      byId("record").textContent = chosen ? NAMES[chosen.value] : "Record my decision";
    };
    vote.addEventListener("change", name);
    vote.addEventListener("submit", () => { byId("record").disabled = true; });
    name();
  }

  // -- the queue: htmx brings it, this says how that goes
  const live = byId("live");
  if (live && window.htmx) {
    const say = (text, on) => {
      if (live.textContent !== text) live.textContent = text;
      live.className = `live muted ${on ? "on" : "off"}`;
    };
    say("Connecting", false);
    document.body.addEventListener("htmx:sseOpen", () => say("Live", true));
    document.body.addEventListener("htmx:sseError", () => say("Connection lost; trying again", false));
    document.body.addEventListener("htmx:sendError", () => say("Connection lost; trying again", false));
    document.body.addEventListener("htmx:responseError", (event) => {
      const status = event.detail.xhr.status;
      say(status === 401 ? "Your session has ended; reload to sign in" : `The bus answers ${status}; trying again`, false);
    });
    document.body.addEventListener("htmx:afterSwap", () => {
      const said = document.querySelector("#queue [data-count]").dataset.count;
      if (byId("count").textContent !== said) byId("count").textContent = said;
    });
  }

  // -- a review that somebody else moves says so; what is being written stays
  const { review, version, after } = document.body.dataset;
  if (review) {
    let last = after;
    let source = null;
    const follow = () => {
      source?.close();
      source = null;
      if (document.hidden) return; // browsers keep few connections to one server; tabs share them
      source = new EventSource(`/console/stream?after=${encodeURIComponent(last)}`);
      source.addEventListener("review", (event) => {
        last = event.lastEventId;
        const [id, , at] = event.data.split(" ");
        if (id === review && Number(at) > Number(version)) byId("changed").hidden = false;
      });
    };
    document.addEventListener("visibilitychange", follow);
    follow();
  }
})();
