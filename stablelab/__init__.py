"""Stablelab: why training a pre-trained model is stable or not, and what to do about it.

    import stablelab as lab

    task = lab.reviews("movies")
    model = lab.bert(task.classes)
    run = lab.fine_tune(model, task, learning_rate=5e-5, epochs=1)
    lab.dashboard(run)

This is the front desk: the only place that knows all rooms. Each room opens when something in it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_ROOMS = {
    "stablelab.training": (
        "Control",
        "History",
        "Run",
        "Settings",
        "Step",
        "Evaluation",
        "diagnose",
        "evaluate",
        "predict",
        "range_test",
        "steps",
    ),
    "stablelab.stability": ("Results", "Subsets", "Sweep", "hessian_vector_product", "sharpness"),
    "stablelab.zoo": (
        "as_dataset",
        "attention_maps",
        "attributions",
        "bert",
        "corrupted",
        "digits",
        "fetch_corpora",
        "images",
        "negation_pairs",
        "resnet",
        "reviews",
        "texts",
        "tokenizer_for",
    ),
    "stablelab.studio": (
        "Dashboard",
        "dashboard",
        "show_attention",
        "show_attributions",
        "show_confusion",
        "show_mistakes",
        "show_pictures",
        "show_robustness",
        "show_sweep",
        "stability_map_view",
        "stability_report",
    ),
    "stablelab.workbook": ("check", "hints", "progress"),
    "stablelab.corrupting": ("robustness", "show_corruptions"),
    "stablelab.exporting": ("export",),
    "stablelab.sweeping": ("sweep",),
    "stablelab.desk": ("fine_tune", "load", "reopen", "replay"),
}
_WHERE = {name: room for room, names in _ROOMS.items() for name in names}
_MODULES = ("formulas", "training", "zoo", "stability", "studio", "workbook")

__all__ = [*sorted(_WHERE), *_MODULES]

if TYPE_CHECKING:
    from . import formulas, stability, studio, training, workbook, zoo
    from .corrupting import robustness, show_corruptions
    from .desk import fine_tune, load, reopen, replay
    from .exporting import export
    from .stability import Results, Subsets, Sweep, hessian_vector_product, sharpness
    from .studio import (
        Dashboard,
        dashboard,
        show_attention,
        show_attributions,
        show_confusion,
        show_mistakes,
        show_pictures,
        show_robustness,
        show_sweep,
        stability_map_view,
        stability_report,
    )
    from .sweeping import sweep
    from .training import (
        Control,
        Evaluation,
        History,
        Run,
        Settings,
        Step,
        diagnose,
        evaluate,
        predict,
        range_test,
        steps,
    )
    from .workbook import check, hints, progress
    from .zoo import (
        as_dataset,
        attention_maps,
        attributions,
        bert,
        corrupted,
        digits,
        fetch_corpora,
        images,
        negation_pairs,
        resnet,
        reviews,
        texts,
        tokenizer_for,
    )


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"stablelab has no {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
