"""Measuring how close translations are to a domain.

Read in this order: `sets` (the measures of a set of pictures), `inception` (the network of
FID and KID), `table` (all measures of all rows), `candidates` (what can be a row) and
`page` (the report).
"""
