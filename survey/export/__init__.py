"""From folders of pictures to a study.

`job` is the whole: it will `select` pictures, name them, draw the `orders` of the trials, and write
the `site`, the files of `platforms` and the `archive`.
"""
