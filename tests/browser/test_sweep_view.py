"""A sweep and a stability map, on a real page: they fill in while runs end, and follow a slider."""

from __future__ import annotations

from playwright.sync_api import expect

from .page import Open

SWEEP = """
import asyncio
import stablelab as lab
task = lab.digits(train=60, validation=40, test=40, size=16)
sweep = lab.sweep(lab.resnet, task, {"learning_rate": [1e-3, 1e-2]}, seeds=range(2), steps=4, batch_size=10)
lab.show_sweep(sweep);
"""
MAP = """
from stablelab.models import cached_features
features = cached_features(task, lab.resnet(task))
view = lab.stability_map_view(features, learning_rates=[1e-3, 1e-2, 1e-1], max_norms=[None, 1.0], seeds=2, steps=10)
view
"""


def test_a_sweep_fills_in_and_a_map_follows_its_slider(open_notebook: Open) -> None:
    notebook = open_notebook(SWEEP, "results = await asyncio.to_thread(sweep.run, bar=False)", MAP)
    notebook.run(0)
    shown = notebook.cell(0).locator(".stablelab-sweep")
    expect(shown).to_contain_text("0 of 4")
    notebook.run(1)
    expect(shown).to_contain_text("4 of 4")
    expect(shown.locator(".latest")).to_contain_text("init 1, order 1")
    assert notebook.ask("len(results)") == 4
    notebook.run(2)
    view = notebook.cell(2)
    expect(view).to_contain_text("validation loss")
    assert notebook.ask("view.wait(60).full") is True
    before = notebook.ask("float(view.cells.mean[0, 0])")
    handle = view.locator(".noUi-handle").first
    handle.focus()
    for _ in range(20):
        handle.press("ArrowRight")
    assert notebook.ask("view.wait(60).values['weight_decay'] > 0") is True
    assert notebook.ask("float(view.cells.mean[0, 0])") != before
