"""Trainers of other packages, steered as they are; each module needs the package that it is called after."""
