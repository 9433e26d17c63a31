"""Changing a picture until its losses are small.

`loop` is the algorithm, `methods` are Adam and L-BFGS, and `iterates` is what watchers are told.
"""
