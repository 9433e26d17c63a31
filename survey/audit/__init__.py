"""Does anything about an exported study tell which pictures are real?

`job` looks at all of it: `pictures`, `texts` and `orders`, with the tests of `statistics`; `report`
holds what it found.
"""
