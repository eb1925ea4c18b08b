"""Sweeps that really train, in place of the invented ones that the views are tested on."""

from support.tiny import make_sweep, tiny_task

__all__ = ["make_sweep", "tiny_task"]
