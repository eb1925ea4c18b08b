"""A notebook open in JupyterLab in a browser: its cells, and the dashboards in it. Waits on states, never on times."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeAlias

import nbformat
from playwright.sync_api import Locator, Page

from .server import LabServer

# More steps than any test waits for: a run ends because it is stopped. A small network that sleeps leaves the
# processor to the page.
RUN = """
import time, torch, stablelab as lab
class Net(torch.nn.Sequential):
    def forward(self, x):
        time.sleep(0.02)
        return super().forward(x)
task = lab.digits(train=100, validation=20, test=20)
torch.manual_seed(0)
net = Net(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 16), torch.nn.ReLU(), torch.nn.Linear(16, 10))
run = lab.fine_tune(net, task, learning_rate=1e-3, batch_size=4, steps=100_000)
board = lab.dashboard(run)
run.start();
"""
# A loop of the learner's, and what it is watched with; ``used`` is what each step really took.
OWN_LOOP = """
import math, time, torch, stablelab as lab
model = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
used = []
def train(live):
    while True:
        loss = torch.nn.functional.cross_entropy(model(torch.randn(8, 4)), torch.randint(2, (8,)))
        optimizer.zero_grad(); loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), live.max_norm or math.inf)
        for group in optimizer.param_groups: group["lr"] = live.learning_rate
        optimizer.step()
        used.append((optimizer.param_groups[0]["lr"], live.max_norm))
        live.record(loss=loss, gradient_norm=norm, share=0.5)
        time.sleep(0.005)
watched = lab.watch(train, learning_rate=1e-3, max_norm=1.0, dropout=lab.slider(0.1, 0, 0.5), nesterov=False)
"""
THREADS = "sum(each.name.startswith('stablelab run') for each in __import__('threading').enumerate())"
RELEASED = "pathlib.Path('released').exists()"  # in a cell that ``begin`` runs and ``release`` ends

PATIENCE = 120_000  # milliseconds; what a state may take at most, on a machine that is busy with other things
READY = """() => {
  const context = window.jupyterapp?.shell.currentWidget?.sessionContext;
  return Boolean(context?.isReady && (context.session?.kernel?.status === "idle" || context.hasNoKernel));
}"""
LEAVE = """() => {
  const app = window.jupyterapp;
  if (!app || document.querySelector(".jp-Dialog")) return false;
  for (const widget of [...app.shell.widgets("main")]) widget.dispose();
  return true;
}"""
OPEN = """async path => {
  if (!window.jupyterapp?.commands.hasCommand("docmanager:open")) return false;
  await window.jupyterapp.commands.execute("docmanager:open", { path });
  return true;
}"""
EXECUTE = """async ([index, awaited]) => {
  window.jupyterapp.shell.currentWidget.content.activeCellIndex = index;
  const done = window.jupyterapp.commands.execute("notebook:run-cell");
  if (awaited) await done;
}"""
ADD = """source => {
  const cells = window.jupyterapp.shell.currentWidget.content.model.sharedModel;
  cells.insertCell(cells.cells.length, { cell_type: "code", source, metadata: { trusted: true } });
  return cells.cells.length - 1;
}"""
LOOK = """async code => {
  const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
  const future = kernel.requestExecute({ code, store_history: false });
  let said = "";
  let error = null;
  future.onIOPub = ({ header, content }) => {
    if (header.msg_type === "stream" && content.name === "stdout") said += content.text;
    if (header.msg_type === "error") error = content.traceback.join("\\n");
  };
  await future.done;
  return [said, error];
}"""
OUTPUTS = """index => window.jupyterapp.shell.currentWidget.content.model.cells.get(index).outputs.toJSON()"""


def leave(page: Page) -> bool:
    """Close all that JupyterLab has open, without a question; returns whether the page can be used for more."""
    page.unroute_all()
    return page.evaluate(LEAVE)


class Board:
    """One dashboard on the page.

    Arguments:
        page: where it is.
        root: its outermost element.
    """

    def __init__(self, page: Page, root: Locator) -> None:
        self.page, self.root = page, root
        self.canvas = root.locator("canvas")
        self.log = root.locator(".lab-log .stablelab-change")
        self.note = root.locator(".stablelab-note")
        self.state = root.locator(".stablelab-state")

    def press(self, name: str) -> None:
        """Press a button, as soon as it can be pressed."""
        self.root.locator(f".lab-{name}").click()

    def move(self, name: str, key: str, times: int) -> None:
        """Move a slider with the keyboard."""
        handle = self.root.locator(f".{name}-slider .noUi-handle")
        handle.focus()
        for _ in range(times):
            handle.press(key)

    def field(self, name: str) -> Locator:
        """The field beside a slider."""
        return self.root.locator(f".{name}-entry input")

    def write(self, name: str, text: str) -> None:
        """Type into the field beside a slider, then Enter."""
        self.field(name).fill(text)
        self.field(name).press("Enter")

    def data(self, name: str) -> Any:
        """What the chart's script says it shows: n, first, length, last, marks, evaluations, earlier; parent (is one of
        these the parent), picked and born."""
        said = self.canvas.get_attribute(f"data-{name}") or "null"
        return json.loads(said)

    def until(self, condition: str, value: Any = None) -> None:
        """Wait until a condition in JavaScript on ``data`` (of the canvas), ``last`` and ``value`` is true."""
        test = f"""([canvas, value]) => {{
          const data = canvas.dataset;
          const last = JSON.parse(data.last ?? "null");
          return {condition};
        }}"""
        self.canvas.wait_for()
        self.page.wait_for_function(test, arg=[self.canvas.element_handle(), value], polling=50)

    def until_further(self, steps: int = 2) -> None:
        """Wait until the chart shows that many steps more than now."""
        self.until("Number(data.length) >= value", (self.data("length") or 0) + steps)

    def picture(self) -> str:
        """The canvas as it is painted now."""
        return self.canvas.evaluate("canvas => canvas.toDataURL()")


class Notebook:
    """A notebook of its own for one test.

    Arguments:
        page: an empty page.
        server: where the notebook is written.
        name: of its file, without the ending.
        cells: its code cells.
    """

    def __init__(self, page: Page, server: LabServer, name: str, *cells: str) -> None:
        self.page, self.server, self.name = page, server, name
        self.folder = server.notebooks
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, self.folder / f"{name}.ipynb")
        server.start_kernel(f"{name}.ipynb")
        if not page.evaluate(OPEN, f"{name}.ipynb"):
            self.open()

    def open(self) -> None:
        """Load the page, also again."""
        self.page.goto(f"{self.server.url}lab/tree/{self.name}.ipynb?reset&token={self.server.token}")
        self.page.locator("#jupyterlab-splash").wait_for(state="detached")

    def open_without_kernel(self) -> None:
        """Load the page again as a reader does who has only the file: no kernel runs, and none can be started."""
        self.server.shut_kernels()
        self.page.route("**/api/sessions*", lambda it: it.abort() if it.request.method == "POST" else it.continue_())
        self.open()

    def ready(self) -> Notebook:
        """Wait until cells can be run."""
        self.page.wait_for_function(READY, polling=50)
        return self

    def save(self) -> None:
        """Write it to its file."""
        self.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")

    def cell(self, index: int) -> Locator:
        """A cell's element."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(index)

    def board(self, index: int = 0) -> Board:
        """The dashboard in a cell."""
        return Board(self.page, self.cell(index).locator(".stablelab-live"))

    def run(self, index: int) -> list[dict[str, Any]]:
        """Run a cell and wait for its end; returns its outputs."""
        self.page.evaluate(EXECUTE, [index, True])
        outputs = self.outputs(index)
        errors = [output for output in outputs if output["output_type"] == "error"]
        assert not errors, "\n".join(errors[0]["traceback"])
        return outputs

    def outputs(self, index: int) -> list[dict[str, Any]]:
        """What would be saved of a cell's outputs."""
        return self.page.evaluate(OUTPUTS, index)

    def begin(self, source: str) -> Locator:
        """Run a new cell that takes long; returns its prompt as soon as the kernel is inside it."""
        inside = self.folder / f"{self.name}.inside"
        index = self.page.evaluate(ADD, f"import pathlib; pathlib.Path({str(inside)!r}).touch()\n{source}")
        (self.folder / "released").unlink(missing_ok=True)
        self.page.evaluate(EXECUTE, [index, False])
        while not inside.exists():
            self.page.wait_for_timeout(20)  # looks again; how long that takes does not matter
        inside.unlink()
        return self.cell(index).locator(".jp-InputPrompt")

    def release(self) -> None:
        """End a cell that waits for ``RELEASED``."""
        (self.folder / "released").touch()

    def ask(self, expression: str) -> Any:
        """The value of a Python expression in the kernel, by way of a new cell and its output."""
        index = self.page.evaluate(ADD, f"import json; print(json.dumps({expression}))")
        outputs = self.run(index)
        return json.loads("".join(outputs[0]["text"]))

    def look(self, expression: str) -> Any:
        """The value of a Python expression in the kernel, past the page: it gets no cell, and nothing scrolls."""
        said, error = self.page.evaluate(LOOK, f"import json; print(json.dumps({expression}))")
        assert error is None, error
        return json.loads(said)


Open: TypeAlias = Callable[..., Notebook]
