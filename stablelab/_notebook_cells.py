"""Which notebook cell made what, so that running a cell again first releases what it had made before.

Nothing is imported here: in a plain script, where there are no cells, this costs nothing.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
_Made = tuple["weakref.ref[Any]", Callable[[Any], object]]  # a thing, and what releases it

_lock = threading.Lock()
_made: dict[str, tuple[str, list[_Made]]] = {}  # cell -> (execution, what that execution made)


def claim(thing: T, release: Callable[[T], object]) -> None:
    """Note that the cell being executed made this thing, after ``release_earlier()``.

    Args:
        thing: held weakly.
        release: called with the thing, if it is still there, when the cell is executed again.
    """
    release_earlier()
    where = current_cell()
    if where is not None:
        cell, execution = where
        with _lock:
            _made.setdefault(cell, (execution, []))[1].append((weakref.ref(thing), release))


def release_earlier() -> None:
    """Release what the cell being executed had made when it was executed before.

    What was made in this execution, or by other cells, is left alone.
    """
    where = current_cell()
    if where is None:
        return
    cell, execution = where
    with _lock:
        before, made = _made.get(cell, (execution, []))
        if before == execution:
            return
        del _made[cell]
    for reference, release in made:
        thing = reference()
        if thing is not None:
            release(thing)


def current_cell() -> tuple[str, str] | None:
    """(cell, execution) of the request this kernel is busy with; None outside a notebook, and in a button's thread."""
    if threading.current_thread() is not threading.main_thread():
        return None
    kernel = _kernel()
    parent = kernel.get_parent() if kernel is not None else {}
    cell = (parent.get("metadata") or {}).get("cellId")
    execution = (parent.get("header") or {}).get("msg_id")
    return (cell, execution) if cell and execution else None


def in_notebook() -> bool:
    """Whether there is a cell to show something in."""
    return _kernel() is not None


def before_next_cell(call: Callable[[], object]) -> None:
    """Call once, when the next cell is about to be executed. Only in a notebook."""
    events = _shell().events

    def once(_info: Any) -> None:
        events.unregister("pre_run_cell", once)
        call()

    events.register("pre_run_cell", once)


def keep_figures_until_cells_end() -> None:
    """Let matplotlib show and close pyplot's figures when a cell has ended, and at no message of a widget.

    Whoever answers such a message tells IPython that something was executed. A kernel with subshells answers in another
    thread while a cell may be drawing, whose figure would be closed half drawn. Only in a notebook.

    Source: comm 0.2.3, ``BaseComm.handle_msg`` (triggers post_execute); matplotlib-inline 0.2, ``flush_figures``.
    """
    if "matplotlib_inline" not in os.environ.get("MPLBACKEND", ""):
        return
    from matplotlib_inline.backend_inline import flush_figures  # registers itself when it is imported

    shown = _shell().events.callbacks["post_execute"]
    if flush_figures in shown:
        shown[shown.index(flush_figures)] = _flush_figures


def _flush_figures() -> None:
    if threading.current_thread() is threading.main_thread():
        from matplotlib_inline.backend_inline import flush_figures

        flush_figures()


def release_memory() -> None:
    """Look for what is held by circles alone, and give memory that is free back to the system.

    The C library of Linux keeps a pool of free memory for each thread that ever trained; over twenty runs of BERT they
    grow by gigabytes.
    """
    import ctypes

    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def _kernel() -> Any:
    """The Jupyter kernel that this process is, None where it is none."""
    return getattr(_shell(), "kernel", None)


def _shell() -> Any:
    """IPython's shell, None where there is none."""
    module = sys.modules.get("IPython.core.interactiveshell")  # a plain script never imports it
    if module is None or not module.InteractiveShell.initialized():
        return None
    return module.InteractiveShell.instance()
