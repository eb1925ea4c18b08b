"""Which notebook cell made what, so that running a cell again first ends what it had started before."""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from ..training.run import Run


@runtime_checkable
class Closable(Protocol):
    """What can be shown of a run, and closed."""

    run: Any

    def close(self) -> None:
        """End its threads and take it off the page."""


Owned: TypeAlias = "Run | Closable"

_lock = threading.Lock()
_owned: dict[str, tuple[str, list[weakref.ref[Owned]]]] = {}  # cell -> (execution, what that execution made)
_shown: weakref.WeakSet[Closable] = weakref.WeakSet()


def claim(thing: Owned) -> None:
    """Note that the cell being executed made this run or dashboard, after ``release_earlier()``."""
    release_earlier()
    where = here()
    with _lock:
        if isinstance(thing, Closable):
            _shown.add(thing)
        if where is not None:
            _owned.setdefault(where[0], (where[1], []))[1].append(weakref.ref(thing))


def release_earlier() -> None:
    """Stop, join and close what the cell being executed had made when it was executed before.

    What was made in this execution, or by other cells, is left alone.
    """
    where = here()
    if where is None:
        return
    cell, execution = where
    with _lock:
        before, made = _owned.get(cell, (execution, []))
        if before == execution:
            return
        del _owned[cell]
    for reference in made:
        _release(reference())


def here() -> tuple[str, str] | None:
    """(cell, execution) of the request this kernel is busy with; None outside a notebook, and in a button's thread."""
    if threading.current_thread() is not threading.main_thread():
        return None
    shell = sys.modules.get("IPython.core.interactiveshell")  # a plain script never imports it
    if shell is None or not shell.InteractiveShell.initialized():
        return None
    kernel = getattr(shell.InteractiveShell.instance(), "kernel", None)
    parent = kernel.get_parent() if kernel is not None else {}
    cell = (parent.get("metadata") or {}).get("cellId")
    execution = (parent.get("header") or {}).get("msg_id")
    return (cell, execution) if cell and execution else None


def shown(run: Run) -> Iterable[Closable]:
    """The open dashboards of a run."""
    with _lock:
        return [each for each in _shown if each.run is run]


def family(run: Run) -> list[Run]:
    """The run that this one comes from in the end, and all branches of it: parents before their branches."""
    while run.parent is not None:
        run = run.parent
    return descent(run)


def descent(run: Run) -> list[Run]:
    """The run and all branches of it, parents before their branches."""
    found = [run]
    for each in found:  # grows as it goes
        found += each.branches
    return found


def hide(thing: Closable) -> None:
    """Called by what has closed itself."""
    with _lock:
        _shown.discard(thing)


def _release(thing: Owned | None) -> None:
    if thing is None:
        return
    if isinstance(thing, Closable):
        thing.close()
        return
    runs = descent(thing)
    for run in runs:
        run.control.stop()  # all of them before the first is waited for
        for dashboard in shown(run):
            dashboard.close()
    from ..plots.earlier_runs import remember  # only here, so that making a run imports no arrays

    for run in runs:
        run.stop()
        remember(run)
    if thing.parent is not None and thing in thing.parent.branches:
        thing.parent.branches.remove(thing)  # with its model and its checkpoints
