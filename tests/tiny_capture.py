"""Windows of the network that the fixtures `source` and `model` share, and how to read them."""

import numpy as np

LENGTH = 40


def read(source, **options):
    """Read all of a source: windows, positions, values."""
    blocks = list(source.blocks(**options))
    return tuple(np.concatenate(part) for part in zip(*blocks, strict=True))
