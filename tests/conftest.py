"""The fixtures that more than one room uses, and what is said at the end of a run."""

pytest_plugins = ["support.clouds", "support.models", "support.order", "support.summary", "support.views"]
