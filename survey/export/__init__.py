"""From folders of pictures to a study.

`job` is the whole; it will `select` pictures, `assemble` trials, draw `orders`, and write the
`site`, the files of `platforms` and the `archive`.
"""
