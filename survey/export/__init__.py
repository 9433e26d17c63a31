"""Export of a study from folders of pictures.

`job` runs the whole export: it will `select` pictures, assign tokens, draw the `orders` of the
trials, and write the `site`, the files of `platforms` and the `archive`.
"""
