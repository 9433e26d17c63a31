"""Translating over the machines of a cluster."""
