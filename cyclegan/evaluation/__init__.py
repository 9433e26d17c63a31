"""How near translations are to a domain.

Read in this order: `sets` (what is measured of a set of pictures), `inception` (the network of
FID and KID), `table` (all measures of all rows), `candidates` (what can be a row) and
`page` (how it is told).
"""
