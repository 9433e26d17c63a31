"""The losses of style transfer.

`functional` and `transport` are functions of tensors; `statistics` are the style statistics that
can be matched; `targets` are the measured content and style; `objective` evaluates all losses, by
name.
"""
