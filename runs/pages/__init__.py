"""The kit of every page.

`page` is the document, `charts` are inline SVG, `figures` are for papers (matplotlib), and the
`gallery` shows pictures before and after.
"""
