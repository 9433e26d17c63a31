"""Images in, tensors out, images out: the only folder that reads or writes pixels."""

__all__: list[str] = []
