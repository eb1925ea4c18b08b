"""The order of the files in a run of everything: what takes long begins first.

So the two workers end with many short files and at about the same time; a browser test of a minute that begins last
would leave one of them idle. Files for the browser and others take turns, since a browser test alone keeps more than
one core busy. Within a file nothing changes. The scheduler has to keep this order: --no-loadscope-reorder.
"""

from __future__ import annotations

from itertools import chain, zip_longest

import pytest


@pytest.hookimpl(trylast=True)  # after pytest's own order by fixtures
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    files: dict[str, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.nodeid.partition("::")[0], []).append(item)
    browser = [name for name in files if "/browser/" in name]
    slow = [
        name
        for name, own in files.items()
        if name not in browser and (name.endswith(".ipynb") or any(item.get_closest_marker("slow") for item in own))
    ]
    slow.sort(key=lambda name: name.endswith(".ipynb"), reverse=True)
    first = [name for pair in zip_longest(browser, slow) for name in pair if name]
    ordered = first + [name for name in files if name not in {*first}]
    items[:] = chain.from_iterable(files[name] for name in ordered)
