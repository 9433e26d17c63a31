"""Trained generators outside of PyTorch: as one graph, from bytes to bytes.

`graph` holds a whole translation, with the padding and the bend around the network; `session` runs
it without torch, as `jobs.lite` does, and `loading` in place of a generator of torch.
"""
