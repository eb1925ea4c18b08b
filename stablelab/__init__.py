"""Stablelab: why training a pre-trained model is stable or not, and what to do about it.

    import stablelab as lab

    task = lab.reviews("movies")
    model = lab.bert(task.classes)
    run = lab.fine_tune(model, task, learning_rate=5e-5, epochs=1)
    lab.dashboard(run)

This is the front desk: the only place that knows all rooms. Each room opens when something in it is first asked for.
"""

import lazy_loader

__version__ = "0.2.0"

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"stablelab has no {name!r}; it has {', '.join(__all__)}")
    return _load(name)
