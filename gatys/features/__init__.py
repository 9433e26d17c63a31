"""Feature networks for style transfer and perceptual distances.

`make` gives a network by its name. `vgg`, `models` (any of torchvision's, by `graph`), `random`
(filters that need no file) and `pixels` are the kinds; `weights` finds files of weights and
`weight_files` reads them; `smoothing` prepares features to be compared, and `distances` compares
pictures and sets. The one part of `gatys` that `cyclegan` may import: it imports no other.
"""
