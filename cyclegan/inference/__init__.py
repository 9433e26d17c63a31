"""Translating with a trained generator.

Read in this order: `translator` (pictures of any size), `strips` (how a processor computes a
ResNet), `maps` (where its values are meanwhile), `row_convolutions` (its convolutions) and `memory`
(what a picture takes).
"""
