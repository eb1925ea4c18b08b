// Whether the kernel is still there; and what a screen reader is told.

const QUIET = 5000; // milliseconds without a message, after which the kernel is asked whether it is there
const PATIENCE = 15000; // milliseconds to answer
const TRIES = 5; // questions to a kernel that seems to be gone: it may only have been out of reach

// Calls `said` with whether the kernel is gone, whenever that changes. JupyterLab tells a model when it restarts a kernel
// on request; of one that died, or came back by itself, no model hears: it answers no more.
class Kernel {
  constructor(model, said) {
    Object.assign(this, { model, said, gone: false, heard: null, asked: null, tries: 0 });
    this.timer = setInterval(() => this.look(), QUIET / 2);
  }

  close() {
    clearInterval(this.timer);
  }

  // A message came.
  hear() {
    [this.heard, this.asked, this.tries] = [performance.now(), null, 0];
    this.tell(false);
  }

  look() {
    const now = performance.now();
    if (this.heard === null || document.hidden || this.lost) {
      this.asked = null; // timers of a hidden page sleep
      return;
    }
    if (this.asked !== null && now - this.asked > PATIENCE) {
      this.tell(true);
      this.asked = null;
    } else if (this.asked === null && now - this.heard > QUIET && this.tries < TRIES) {
      [this.asked, this.tries] = [now, this.tries + 1];
      this.send({ type: "ping" });
    }
  }

  // The front end has let go of the connection: there is nobody to ask any more.
  lose() {
    this.lost = true;
    this.tell(true);
  }

  send(content) {
    if (this.lost) return;
    try {
      this.model.send(content);
    } catch {
      this.lose();
    }
  }

  tell(gone) {
    if (gone === this.gone) return;
    this.gone = gone;
    this.said(gone);
  }
}

// The dashboard that a chart stands in; the chart itself where it stands alone.
function boardOf(root) {
  return root.closest(".stablelab-live") ?? root;
}

// ipywidgets gives a slider's handle no name, and neither a field beside it; a screen reader needs one.
function nameInputs(root) {
  for (const slider of boardOf(root).querySelectorAll(".widget-hslider")) {
    const name = slider.querySelector("label, .widget-label")?.textContent || "slider";
    const beside = slider.parentElement?.querySelectorAll(".widget-text input") ?? [];
    for (const element of [slider.querySelector(".noUi-handle"), ...beside]) {
      if (element && !element.hasAttribute("aria-label")) element.setAttribute("aria-label", name);
    }
  }
}

// Says the state of the run, and what went wrong, where one of them has changed; not each step.
class Announcer {
  constructor(root) {
    this.root = root;
    this.place = make("div", "stablelab-unseen", root, { role: "status", "aria-live": "polite" });
    this.watching = new MutationObserver(() => this.look());
  }

  // The status line may come after the chart.
  look() {
    const line = boardOf(this.root).querySelector(".lab-status");
    if (line && line !== this.line) {
      this.line = line;
      this.watching.observe(line, { childList: true, subtree: true, characterData: true });
    }
    const parts = line?.querySelectorAll(".stablelab-state, .stablelab-note") ?? [];
    this.say([...parts].map((part) => part.textContent).join(". "));
  }

  say(text) {
    if (this.place.textContent !== text) this.place.textContent = text;
  }

  close() {
    this.watching.disconnect();
  }
}
