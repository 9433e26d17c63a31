"""Data sets, published models and weights that others host: what there is, and how to get it."""
