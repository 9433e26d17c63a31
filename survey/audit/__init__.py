"""Does anything about an exported study tell which pictures are real?

`job` looks at all of it: `files`, `texts`, `orders` and `pixels`, with the tests of `statistics`;
`report` holds what it found.
"""
