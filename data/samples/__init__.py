"""Pictures that need no download, to be read in this order: `photographs` (which scikit-image
ships), `painting` (strokes over a photograph) and `domains` (an unpaired data set of both).
"""
