"""The losses of style transfer.

`functional` and `transport` are functions of tensors; `statistics` is what of a style is matched;
`targets` is what a picture is compared with; `objective` gives all losses, by name.
"""
