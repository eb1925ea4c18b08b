"""Stability: what is measured on a model and its runs."""

from .sharpness import hessian_vector_product, sharpness

__all__ = ["hessian_vector_product", "sharpness"]
