"""A learner who does anything at any time: random actions on a real page, and everything still agrees afterwards.

The seed is printed; with STABLELAB_STORM_SEED=… in the environment the same actions are drawn again, with
STABLELAB_STORM=1000 so many of them.
"""

from __future__ import annotations

import os
import random
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import ConsoleMessage, Error, Locator

from stablelab._formatting import format_number

from .page import OWN_LOOP, Board, Notebook, Open
from .server import LabServer

ACTIONS = int(os.environ.get("STABLELAB_STORM", "45"))
SEED = int(os.environ.get("STABLELAB_STORM_SEED", 3))
AGREE = 2.5  # seconds after the last action in which page and kernel have to agree
EVERY = 15  # actions after which that is looked at
PATIENCE = 1500  # milliseconds for one touch; what cannot be touched by then is let be

TESTS = str(Path(__file__).parents[1])
WITNESS = f"""
import sys
sys.path.insert(0, {TESTS!r})
from support.witness import Witness, board_of
import stablelab as lab
witness = Witness()
"""
FINE_TUNE = """
import time, torch
class Net(torch.nn.Sequential):
    def forward(self, x):
        time.sleep(0.01)
        return super().forward(x)
task = lab.digits(train=100, validation=20, test=20)
torch.manual_seed(0)
net = Net(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 16), torch.nn.ReLU(), torch.nn.Linear(16, 10))
run = lab.fine_tune(net, task, learning_rate=1e-3, batch_size=4, steps=100_000, evaluate_every=50)
board = lab.dashboard(run)
run.start();
"""
CELLS = (WITNESS, FINE_TUNE, OWN_LOOP + "watched.start();")
BOARDS = {1: "board", 2: "board_of(watched)"}  # by cell, as an expression in the kernel
LEFT = "run, board, watched, net, task, model, optimizer, train, used"
ERRORS = """() => {
  window.stormErrors = [];
  const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
  kernel.iopubMessage.connect((_, { header, content }) => {
    if (header.msg_type === "error") window.stormErrors.push(content.traceback.join("\\n"));
    if (header.msg_type === "stream" && content.name === "stderr") window.stormErrors.push(content.text);
  });
}"""
SHOWN = r"""(root, names) => {  // what the inputs of these classes show
  const shown = {};
  for (const name of names) {
    const all = root.getElementsByClassName(name);
    const [input, list] = [all[0]?.querySelector("input"), all[0]?.querySelector("select")];
    if (all.length !== 1) shown[name] = `${all.length} of them`;
    else if (list) shown[name] = list.selectedOptions[0]?.textContent.replaceAll("\u00a0", " ");
    else shown[name] = input.type === "checkbox" ? input.checked : input.value;
  }
  return shown;
}"""
STANDS = "handle => Number(handle.closest('.noUi-target').noUiSlider.get(true))"  # where a slider stands
THEME = "theme => window.jupyterapp.commands.execute('apputils:change-theme', { theme })"
IN_FLIGHT = "No such comm"  # what the page sends to a dashboard whose cell is run again at that moment
HANGING_UP = re.compile(  # what Jupyter's server says of a message that was on its way when the page was loaded anew
    r"Task exception was never retrieved\nfuture: [^\n]*WebSocketClosedError\(\)>\n"
    r"Traceback(?:(?!\n\[).)*?\ntornado\.websocket\.WebSocketClosedError\n",
    re.DOTALL,
)
TROUBLES = ("Traceback", "Exception in", "Error:")  # in what the kernels say


class Storm:
    """Does random things to the dashboards of a notebook, and knows what it asked for.

    Attributes:
        asked: (name of a setting, value, actions by then) of what was typed and dragged, as the page had it.
        done: how often each action was done; missed: how often it could not be.
        trace: all of them, in order.
    """

    def __init__(self, notebook: Notebook, seed: int) -> None:
        self.notebook, self.page, self.random = notebook, notebook.page, random.Random(seed)
        self.asked: list[tuple[str, float, int]] = []
        self.done: Counter[str] = Counter()
        self.missed: Counter[str] = Counter()
        self.trace: list[str] = []
        self.cell = 1
        self.actions: dict[Callable[[], bool], int] = {
            self.drag: 16,
            self.type: 12,
            self.type_nonsense: 3,
            self.switch: 6,
            self.choose: 8,
            self.preset: 4,
            self.undo: 7,
            self.button: 14,
            self.pick: 8,
            self.branch: 6,
            self.what_if: 3,
            self.another_run: 6,
            self.zoom: 8,
            self.smooth: 4,
            self.axis: 2,
            self.fold: 3,
            self.theme: 1,
            self.reload: 1,
            self.run_again: 2,
        }

    @property
    def board(self) -> Board:
        return self.notebook.board(self.cell)

    def act(self) -> None:
        """One action."""
        self.cell = self.random.choices((1, 2), (7, 3))[0]
        action = self.random.choices(list(self.actions), list(self.actions.values()))[0]
        name = action.__name__
        self.trace.append(f"{self.cell}: {name}")
        try:
            (self.done if action() else self.missed)[name] += 1
        except Error as error:  # it went away, or was greyed, between the look and the touch
            self.missed[f"{name}: {str(error).splitlines()[0]}"] += 1

    def one_of(self, selector: str) -> Locator | None:
        """One that can be touched."""
        all_ = self.board.root.locator(selector)
        there = all_.evaluate_all(
            "es => es.map((e, i) => [i, e.offsetWidth > 0 && !e.disabled]).filter((e) => e[1]).map((e) => e[0])"
        )
        return all_.nth(self.random.choice(there)) if there else None

    # -- the actions; each says whether it was done --------------------------------------------------------------------

    def drag(self) -> bool:
        name, setting = self.random.choice(
            [("lr", "learning_rate"), ("clip", "max_norm"), ("decay", "weight_decay"), ("knob-dropout", "dropout")]
        )
        handle = self.one_of(f".{name}-slider .noUi-target:not([disabled]) .noUi-handle")
        if handle is None:
            return False
        handle.focus(timeout=PATIENCE)
        before = handle.evaluate(STANDS)
        times = self.random.choice((-1, 1)) * self.random.randint(1, 6)
        for _ in range(abs(times)):
            self.page.keyboard.press("ArrowRight" if times > 0 else "ArrowLeft")
        after = handle.evaluate(STANDS, timeout=PATIENCE)
        step = 0.005 if name == "knob-dropout" else 0.05
        if after == pytest.approx(before + times * step, abs=1e-6):  # else it is at its end, or was set meanwhile
            self.ask_for(setting, after if name == "knob-dropout" else 10**after)
        return True

    def type(self) -> bool:
        name, setting = self.random.choice((("lr", "learning_rate"), ("clip", "max_norm"), ("decay", "weight_decay")))
        field = self.one_of(f".{name}-entry input")
        if field is None:
            return False
        value = float(f"{10 ** self.random.uniform(-5, -1):.2e}")
        field.fill(str(value), timeout=PATIENCE)
        field.press("Enter", timeout=PATIENCE)
        if field.input_value() in (str(value), format_number(value)):
            self.ask_for(setting, value)  # else another run was taken up while it was being typed
        return True

    def type_nonsense(self) -> bool:
        field = self.one_of(".widget-text input")
        if field is None:
            return False
        field.fill(self.random.choice(("fast", "-1", "nan", "1e999", "", "<b>1</b>", "0x10", "½")), timeout=PATIENCE)
        field.press(self.random.choice(("Enter", "Tab")), timeout=PATIENCE)
        return True

    def switch(self) -> bool:
        return self.click(".stablelab-side input[type=checkbox]")

    def choose(self) -> bool:
        return self.select(".stablelab-steering select")

    def preset(self) -> bool:
        return self.select(".preset-choice select")

    def another_run(self) -> bool:
        return self.select(".lab-run select")

    def undo(self) -> bool:
        return self.click(".lab-undo")

    def button(self) -> bool:
        # "stop" is final, so it is pressed less often than the others
        rare = self.random.random() < 0.15
        kinds = ("stop", "reset") if rare else ("start", "pause", "pause", "step", "resume", "resume")
        return self.click(f".lab-{self.random.choice(kinds)}") or self.click(".lab-resume, .lab-start")

    def branch(self) -> bool:
        if self.cell == 2:  # an own loop cannot go back
            return False
        if self.random.random() < 0.7:
            self.pick()
        self.board.root.locator(".lab-branch").click(timeout=PATIENCE)
        return True

    def what_if(self) -> bool:
        return self.click(".lab-untouched")

    def axis(self) -> bool:
        return self.click(".stablelab-axis button")

    def fold(self) -> bool:
        return self.click(".lab-more")

    def pick(self) -> bool:
        x, y = self.spot()
        self.page.mouse.click(x, y)
        return True

    def zoom(self) -> bool:
        kind = self.random.choice(("drag", "move", "wheel", "keys", "all"))
        (x, y), (x2, y2) = self.spot(), self.spot()
        self.page.mouse.move(x, y)
        if kind in ("drag", "move"):
            if kind == "move":
                self.page.keyboard.down("Shift")
            self.page.mouse.down()
            self.page.mouse.move(x2, y2, steps=3)
            self.page.mouse.up()
            self.page.keyboard.up("Shift")
        elif kind == "wheel":
            self.page.keyboard.down("Control")
            self.page.mouse.wheel(0, self.random.choice((-300, 300)))
            self.page.keyboard.up("Control")
        elif kind == "keys":
            self.board.canvas.focus(timeout=PATIENCE)
            for _ in range(3):
                keys = ("ArrowLeft", "ArrowRight", "Home", "End", "Enter", "Escape", "+", "-", "0")
                self.page.keyboard.press(self.random.choice(keys))
        else:
            self.page.mouse.dblclick(x, y)
        return True

    def smooth(self) -> bool:
        self.board.root.locator(".stablelab-smoothing input").fill(str(self.random.randint(0, 60)), timeout=PATIENCE)
        return True

    def theme(self) -> bool:
        now = self.page.evaluate("document.body.dataset.jpThemeName")
        self.page.evaluate(THEME, "JupyterLab Light" if "Dark" in (now or "") else "JupyterLab Dark")
        return True

    def reload(self) -> bool:
        self.notebook.save()
        self.notebook.open()
        self.notebook.ready()
        self.page.evaluate(ERRORS)
        self.notebook.board(1).canvas.wait_for()
        self.notebook.board(2).canvas.wait_for()
        return True

    def run_again(self) -> bool:
        self.check_history()
        self.notebook.run(self.cell)
        self.board.canvas.wait_for()
        return True

    def ask_for(self, setting: str, value: float) -> None:
        self.asked.append((setting, value, len(self.trace)))

    # -- pieces of them ------------------------------------------------------------------------------------------------

    def click(self, selector: str) -> bool:
        found = self.one_of(selector)
        if found is not None:
            found.click(timeout=PATIENCE)
        return found is not None

    def select(self, selector: str) -> bool:
        found = self.one_of(selector)
        if found is not None:
            options = found.locator("option").count()
            found.select_option(index=self.random.randrange(options), timeout=PATIENCE)
        return found is not None

    def spot(self) -> tuple[float, float]:
        """Somewhere on the first panel's curve."""
        self.board.canvas.scroll_into_view_if_needed(timeout=PATIENCE)
        box = self.board.canvas.bounding_box()
        assert box is not None
        return box["x"] + self.random.uniform(60, box["width"] - 20), box["y"] + self.random.uniform(60, 110)

    # -- what has to be ------------------------------------------------------------------------------------------------

    def check_history(self) -> None:
        """Every step used the latest settings, as the history says, and the history has every change."""
        for board in BOARDS.values():
            assert self.notebook.look(f"witness.differences({board})") == []

    def check_agreement(self, since: float) -> float:
        """A look that begins ``AGREE`` seconds after ``since``, at last, finds page and kernel agree.

        Returns:
            After how many seconds they did.
        """
        earlier: dict[int, int] = {}
        while True:
            began = time.monotonic()
            wrong: list[tuple[object, ...]] = []
            for cell, expression in BOARDS.items():
                board = self.notebook.board(cell)
                kernel = self.notebook.look(f"witness.stand({expression})")
                inputs = kernel.pop("inputs")
                shown = board.root.evaluate(SHOWN, list(inputs))
                wrong += [(cell, name, inputs[name], shown[name]) for name in inputs if inputs[name] != shown[name]]
                page = {
                    "state": board.state.text_content(),
                    "marks": board.data("marks"),
                    "newest": (board.log.first.text_content() or "") if board.log.count() else "",
                }
                length = board.data("length")
                now = self.notebook.look(f"len({expression}.run.history)")
                if not earlier.setdefault(cell, kernel["length"]) <= length <= now:
                    wrong.append((cell, f"{length} points drawn, {earlier[cell]} to {now} are there"))
                page["newest"] = page["newest"].removesuffix(" (fresh optimizer state)")
                wrong += [(cell, name, kernel[name], page[name]) for name in page if kernel[name] != page[name]]
                assert kernel["trouble"] == [] and "failed" not in kernel["note"], kernel
            took = time.monotonic() - since
            if not wrong:
                return took
            assert began - since < AGREE, f"{took:.1f} s later kernel and page differ: {wrong}\n{self.trace[-20:]}"

    def check_asked(self) -> None:
        """Whatever was typed or dragged has reached the kernel."""
        published = self.notebook.look("witness.published")
        lost = [
            (name, value, self.trace[count - 4 : count + 4])
            for name, value, count in self.asked
            if not any(each is not None and each == pytest.approx(value, rel=1e-6) for each in published.get(name, ()))
        ]
        assert lost == [], f"of {len(self.asked)} asked for: {lost}"


def test_whatever_is_done_at_any_time_page_and_kernel_agree(open_notebook: Open, server: LabServer) -> None:
    print(f"STABLELAB_STORM={ACTIONS} STABLELAB_STORM_SEED={SEED}")
    notebook = open_notebook(*CELLS)
    said: list[str] = []
    notebook.page.on("pageerror", lambda error: said.append(f"{error}\n{error.stack}"))
    notebook.page.on("console", lambda message: said.append(text_of(message)) if message.type == "error" else None)
    for cell in range(len(CELLS)):
        notebook.run(cell)
    notebook.page.evaluate(ERRORS)
    logged = len(server.log.read_text(errors="replace"))
    storm = Storm(notebook, SEED)
    for cell in BOARDS:
        notebook.board(cell).until("Number(data.n) > 1")
    began = time.monotonic()
    for count in range(1, ACTIONS + 1):
        storm.act()
        if count % EVERY == 0 or count == ACTIONS:
            took = storm.check_agreement(time.monotonic())
            storm.check_history()
            print(f"{count} actions in {time.monotonic() - began:.0f} s; agreed after {took:.2f} s")
    print("done:", dict(storm.done), "\nnot done:", dict(storm.missed))
    storm.check_asked()
    assert [error for error in notebook.look("witness.errors") if IN_FLIGHT not in error] == []
    assert notebook.page.evaluate("window.stormErrors") == []
    assert said == []
    text = HANGING_UP.sub("", server.log.read_text(errors="replace")[logged:])
    assert not any(trouble in text for trouble in TROUBLES), text[-5000:]
    assert sum(storm.done.values()) > 0.6 * ACTIONS, "most of it could be done"
    notebook.look(f"[boards := [{', '.join(BOARDS.values())}]] and None")
    left = notebook.look(f"[exec('del {LEFT}'), witness.end(boards)][1]")
    assert left == {"runs": [], "widgets": [], "threads": []}


def text_of(message: ConsoleMessage) -> str:
    return f"{message.text} {message.location}"
