"""What a reader finds: the picture that stays when the kernel is gone, and the chart in the dark theme."""

from __future__ import annotations

from playwright.sync_api import expect

from .page import RUN, Notebook, Open

# WCAG 2.2, "relative luminance" and "contrast ratio", of an element's ink on its ground.
CONTRAST = """element => {
  const luminance = (colour) => {
    const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255);
    const [r, g, b] = parts.map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const style = getComputedStyle(element);
  const [ink, ground] = [luminance(style.color), luminance(style.backgroundColor)];
  return { ratio: (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05), dark: ground < ink };
}"""
THEME = "theme => window.jupyterapp.commands.execute('apputils:change-theme', { theme })"


def test_a_picture_stays_when_the_kernel_is_gone(open_notebook: Open) -> None:
    notebook = open_notebook(RUN)
    notebook.run(0)
    board = notebook.board()
    board.until("Number(data.n) > 3")
    board.press("stop")
    expect(board.state).to_have_text("stopped")
    picture = notebook.cell(0).locator(".jp-OutputArea img")
    picture.wait_for(state="attached")
    expect(picture).to_be_hidden()  # the live chart shows the same
    expect(board.canvas).to_be_visible()
    assert any("image/png" in output.get("data", {}) for output in notebook.outputs(0))
    notebook.save()
    notebook.open_without_kernel()
    expect(picture).to_be_visible()
    expect(board.root).to_have_count(0)
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 800


def test_readable_in_the_dark_theme(open_notebook: Open) -> None:
    notebook = open_notebook(RUN)
    notebook.run(0)
    board = notebook.board()
    board.until("Number(data.n) > 3")
    board.press("stop")
    expect(board.state).to_have_text("stopped")
    light = board.picture()
    change_theme(notebook, "JupyterLab Dark")
    try:
        board.until("canvas.toDataURL() !== value", light)
        for part in (".stablelab-chart", ".stablelab-progress"):
            seen = board.root.locator(part).evaluate(CONTRAST)
            assert seen["dark"] and seen["ratio"] > 7, (part, seen)
    finally:
        change_theme(notebook, "JupyterLab Light")


def change_theme(notebook: Notebook, theme: str) -> None:
    notebook.page.evaluate(THEME, theme)
    notebook.page.wait_for_function("theme => document.body.dataset.jpThemeName === theme", arg=theme)
