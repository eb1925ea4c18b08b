"""The state that a kernel shares with all code that runs in it: set to a known one for a while, then put back."""

from __future__ import annotations

import contextlib
import os
import random
import warnings
from collections.abc import Iterator

import numpy as np
import torch

from ..training.reproducibility import one_step_at_a_time


@contextlib.contextmanager
def known_state(dtype: torch.dtype = torch.float64) -> Iterator[None]:
    """Run the body on the CPU, in one precision and with gradients, and put back afterwards what it changed.

    Most of this belongs to the whole process, so no step of a run that trains in the background begins meanwhile.

    Put back are torch's default device and dtype, whether gradients are recorded and algorithms deterministic, the
    number of threads, the random states of torch, numpy and Python, the print options of torch and numpy, numpy's
    handling of floating-point errors, the filters of warnings, and the working directory.

    Args:
        dtype: of the floating-point tensors that the body makes without saying one.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(one_step_at_a_time)
        stack.enter_context(_cpu_as_default())
        stack.callback(torch.set_default_dtype, torch.get_default_dtype())
        torch.set_default_dtype(dtype)
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.callback(torch.set_deterministic_debug_mode, torch.get_deterministic_debug_mode())
        stack.callback(_set_threads, torch.get_num_threads())
        devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
        stack.enter_context(torch.random.fork_rng(devices, device_type="cuda"))
        stack.callback(np.random.set_state, np.random.get_state())
        stack.callback(random.setstate, random.getstate())
        stack.enter_context(torch._tensor_str.printoptions())
        stack.enter_context(np.printoptions())
        stack.enter_context(np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"))
        stack.enter_context(warnings.catch_warnings())
        stack.enter_context(_working_directory())
        yield


@contextlib.contextmanager
def _cpu_as_default() -> Iterator[None]:
    # torch.get_default_device() does not tell a default that was set from one of an enclosing `with torch.device(…)`,
    # and only the former may be set again.
    context = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
    torch.set_default_device(None)
    if torch.get_default_device().type != "cpu":
        torch.set_default_device("cpu")
    try:
        yield
    finally:
        torch.set_default_device(context and context.device)


def _set_threads(number: int) -> None:
    if torch.get_num_threads() != number:
        torch.set_num_threads(number)


@contextlib.contextmanager
def _working_directory() -> Iterator[None]:
    try:
        folder = os.getcwd()
    except OSError:  # it has been deleted
        folder = None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if folder is not None:
                os.chdir(folder)
