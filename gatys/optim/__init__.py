"""Optimizing a picture until its losses are small.

`loop` is the algorithm, `methods` are Adam and L-BFGS, and `iterates` defines what watchers
receive.
"""
