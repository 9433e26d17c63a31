"""Audit of an exported study: does anything in it reveal which pictures are real?

`job` runs the audit: `pictures`, `texts` and `orders`, with the tests of `statistics`; `report`
holds the results.
"""
