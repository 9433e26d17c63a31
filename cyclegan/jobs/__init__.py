"""Whole jobs, options in and files out: `train`, `translate` and `convert`, `evaluate`, `tour`."""
