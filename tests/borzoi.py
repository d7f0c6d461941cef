"""Borzoi networks with weights that do something, ours and those of borzoi-pytorch."""

import numpy as np
import torch
from torch import nn

from saers.models.borzoi import Borzoi, BorzoiConfig

TINY = BorzoiConfig(
    stem=16,
    tower=(19, 23, 28, 33, 40),
    dim=48,
    depth=2,
    heads=2,
    key=8,
    value=24,
    head=60,
    tracks=(("human", 5), ("mouse", 3)),
    bins=16,
)
LENGTH = 2048


def enliven(network, seed=0):
    """Fill a network so that every part moves its outputs.

    As it is built, attention adds nothing and all outputs are nearly the same, so that any two
    networks would agree.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if not tensor.is_floating_point():
                continue
            noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
            if name.endswith("running_var"):
                noise = 0.5 + noise.abs()
            elif tensor.ndim > 1:
                noise *= 1.4 / np.sqrt(max(1, tensor[0].numel()))
            elif name.endswith(("norm.weight", "fn.0.weight")):
                noise = 1 + 0.2 * noise
            else:
                noise *= 0.3
            tensor.copy_(noise)
    return network.eval()


def ours(config=TINY, seed=0, dtype=torch.float32):
    return enliven(Borzoi(config), seed).to(dtype)


def theirs(config=TINY, seed=0, dtype=torch.float32):
    """borzoi-pytorch's network; its widths are fixed, so narrow parts are put in their place."""
    from borzoi_pytorch import Borzoi as Peer
    from borzoi_pytorch.config_borzoi import BorzoiConfig as PeerConfig

    with torch.device("meta"):
        network = Peer(
            PeerConfig(
                dim=config.dim,
                depth=config.depth,
                heads=config.heads,
                attn_dim_key=config.key,
                attn_dim_value=config.value,
                bins_to_return=config.bins,
                enable_mouse_head=True,
            )
        )
    reference = ours(config, seed).state_dict()
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.Conv1d | nn.BatchNorm1d) and f"{name}.weight" in reference:
            parent, _, own = name.rpartition(".")
            setattr(network.get_submodule(parent), own, narrow(module, reference, name))
    network.load_state_dict(reference, assign=True)
    return network.eval().to(dtype)


def narrow(module, reference, name):
    weight = reference[f"{name}.weight"]
    if isinstance(module, nn.BatchNorm1d):
        return nn.BatchNorm1d(len(weight), eps=module.eps)
    groups = module.groups if module.groups == 1 else len(weight)
    return nn.Conv1d(
        weight.shape[1] * groups,
        weight.shape[0],
        module.kernel_size,
        padding=module.padding,
        groups=groups,
        bias=module.bias is not None,
    )


def sequences(length=LENGTH, n=2, seed=0, dtype=torch.float32):
    """One-hot sequences (n, length, 4)."""
    letters = np.random.default_rng(seed).integers(0, 4, (n, length))
    return torch.eye(4, dtype=dtype)[torch.from_numpy(letters)]
