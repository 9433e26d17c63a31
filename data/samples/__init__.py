"""Pictures that need no download.

Read in this order: `photographs` (which scikit-image ships), `painting` (strokes over a
photograph) and `domains` (an unpaired data set of both).
"""
