"""Language models of DNA, from Hugging Face's transformers: activations by token.

A position is a token; it stands for the bases that the tokenizer gave it, however many they are.
`TokenModel.places` tells them, for every sequence anew.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from saers import FormatError
from saers.layer import LayerInfo
from saers.models.base import Halves, NamedLayers
from saers.models.module import Reached, hooked, stop
from saers.models.tokenise import Tokenise, Tokens, filled, letters_of, tokeniser

_PROBE = 1200  # bp of random sequence that tell how many bases a token has


class TokenModel:
    """A transformer that reads tokens, as a `saers.models.SequenceModel`.

    Its layers are the outputs of its blocks, under their names in PyTorch; ``hidden_states.i`` is
    block i - 1. Special tokens have no bases and are no positions. Where a sequence has fewer
    tokens than another, the positions behind its last are zeros, and no place.

    Parameters
    ----------
    module
        The network; called with ``input_ids`` and ``attention_mask``.
    tokenise
        From a sequence to its tokens; see `saers.models.tokenise.tokeniser`.
    input_length
        Base pairs of an input; None: any.
    max_tokens
        Tokens of a sequence at most; None: as many as it has bases.
    pad
        Id that fills up shorter sequences of a batch.
    """

    alphabet = "ACGT"

    def __init__(
        self,
        module: nn.Module,
        tokenise: Tokenise,
        *,
        input_length: int | None = None,
        max_tokens: int | None = None,
        pad: int = 0,
    ) -> None:
        self.module, self.input_length = module.eval(), input_length
        self._tokenise, self._max_tokens, self._pad = tokenise, max_tokens, pad
        self._blocks = _blocks(module)
        rng = np.random.default_rng(0)
        probe = tokenise("".join(rng.choice(list("ACGT"), input_length or _PROBE)))
        bases = max(1, round((input_length or _PROBE) / max(1, len(probe.rows))))
        channels = int(getattr(module, "config").hidden_size)  # noqa: B009 (typed as a tensor)
        self.layers: Mapping[str, LayerInfo] = NamedLayers(
            {
                name: LayerInfo(name, channels, bases, 0, bases - 1, tokens=True)
                for name in self._blocks
            },
            {f"hidden_states.{number}": name for number, name in enumerate(self._blocks, start=1)},
        )

    def __call__(self, onehot: torch.Tensor) -> torch.Tensor:
        """Compute the outputs, (b, tracks, tokens): logits, or without a head the last states.

        Raises
        ------
        ValueError
            If the sequences have not the same number of tokens.
        """
        with torch.no_grad():
            return self._outputs(self._read(onehot))

    def capture(self, onehot: torch.Tensor, layer: str) -> torch.Tensor:
        """Compute a layer, (b, positions, channels) in float32, and nothing behind it.

        Raises
        ------
        ValueError
            If there is no such layer, or a sequence has more tokens than ``max_tokens``.
        """
        n = self.n_positions(layer, onehot.shape[1])
        return self._captured(self._read(onehot), layer, n)

    def places(self, onehot: torch.Tensor) -> npt.NDArray[np.int64]:
        """Tell the bases of every position, (b, positions, 2), half-open; -1 where there is none.

        Counted from the start of each sequence.
        """
        tokens = self._read(onehot)
        n = self._max_tokens or onehot.shape[1]
        return filled([one.places for one in tokens], n)

    def n_positions(self, layer: str, length: int) -> int:
        """Count the positions of a layer for an input of ``length`` bp."""
        _ = self.layers[layer]
        return self._max_tokens or length

    def run_from(
        self, layer: str, activations: torch.Tensor, *, onehot: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Compute the outputs from a layer's activations (b, positions, channels).

        Special tokens keep their own. Gradients are kept where the activations ask for them.
        """
        if onehot is None:
            raise ValueError("onehot must be given: a layer does not tell its tokens")
        with torch.set_grad_enabled(activations.requires_grad):
            return self._replaced(self._read(onehot), layer, activations)

    def halves(self, onehot: torch.Tensor, layer: str) -> Halves:
        """Run up to a layer, without the positions that no sequence has, and keep the tokens."""
        tokens = self._read(onehot)
        own = self._captured(tokens, layer, max(len(one.rows) for one in tokens))
        return Halves(own, lambda activations: self._replaced(tokens, layer, activations))

    def _read(self, onehot: torch.Tensor) -> list[Tokens]:
        """Check sequences and tokenise them."""
        if onehot.ndim != 3 or onehot.shape[2] != 4:
            raise ValueError(f"onehot must be (b, length, 4), got {tuple(onehot.shape)}")
        if self.input_length not in (None, onehot.shape[1]):
            raise ValueError(f"onehot must be {self.input_length} bp long, got {onehot.shape[1]}")
        tokens = [self._tokenise(letters) for letters in letters_of(onehot.cpu().numpy())]
        longest = max((len(one.rows) for one in tokens), default=0)
        if self._max_tokens is not None and longest > self._max_tokens:
            raise ValueError(f"max_tokens must be at least {longest}, got {self._max_tokens}")
        return tokens

    def _inputs(self, tokens: Sequence[Tokens]) -> dict[str, torch.Tensor]:
        longest = max(len(one.ids) for one in tokens)
        ids = torch.full((len(tokens), longest), self._pad)
        mask = torch.zeros((len(tokens), longest), dtype=torch.int64)
        for number, one in enumerate(tokens):
            ids[number, : len(one.ids)] = torch.tensor(one.ids)
            mask[number, : len(one.ids)] = 1
        device = next(self.module.parameters()).device
        return {"input_ids": ids.to(device), "attention_mask": mask.to(device)}

    def _captured(self, tokens: Sequence[Tokens], layer: str, n: int) -> torch.Tensor:
        states: torch.Tensor | None = None
        try:
            with torch.no_grad(), hooked(self._block(layer), 1, stop):
                self.module(**self._inputs(tokens))
        except Reached as reached:
            states = _first(reached.output)
        if states is None:
            raise ValueError(f"layer {layer!r} did not run in this forward pass")
        found = states.new_zeros((len(tokens), n, states.shape[2]), dtype=torch.float32)
        for number, one in enumerate(tokens):
            found[number, : len(one.rows)] = states[number, one.rows].float()
        return found

    def _replaced(
        self, tokens: Sequence[Tokens], layer: str, activations: torch.Tensor
    ) -> torch.Tensor:
        def replace(output: Any) -> Any:  # noqa: ANN401
            states = _first(output).clone()
            for number, one in enumerate(tokens):
                states[number, one.rows] = activations[number, : len(one.rows)].to(states)
            return states if isinstance(output, torch.Tensor) else (states, *output[1:])

        with hooked(self._block(layer), 1, replace):
            return self._outputs(tokens)

    def _outputs(self, tokens: Sequence[Tokens]) -> torch.Tensor:
        counts = {len(one.rows) for one in tokens}
        if len(counts) > 1:
            raise ValueError(
                f"sequences of {min(counts)} to {max(counts)} tokens have no outputs of one shape: "
                "give them one at a time"
            )
        given = self.module(**self._inputs(tokens))
        values = getattr(given, "logits", None)
        values = given.last_hidden_state if values is None else values
        rows = [values[number, one.rows] for number, one in enumerate(tokens)]
        return torch.stack(rows).mT

    def _block(self, layer: str) -> nn.Module:
        return self._blocks[self.layers[layer].name]


def load(
    folder: str | Path,
    *,
    kmer: int | None = None,
    step: int = 1,
    input_length: int | None = None,
    max_tokens: int | None = None,
) -> TokenModel:
    """Open a local folder of config, weights and tokenizer; nothing is downloaded or executed.

    Parameters
    ----------
    folder
        As ``save_pretrained`` writes it.
    kmer, step
        For vocabularies of overlapping k-mers; see `saers.models.tokenise.tokeniser`.
    input_length, max_tokens
        See `TokenModel`.

    Raises
    ------
    FormatError
        If the folder cannot be read or lacks tensors.
    ValueError
        If transformers is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise ValueError(
            "models of Hugging Face need transformers: pip install 'saers[huggingface]'"
        ) from error
    place, local = str(folder), {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = cast(Any, transformers.AutoTokenizer).from_pretrained(place, **local)
        config = transformers.AutoConfig.from_pretrained(place, **local)
        headed = any("MaskedLM" in name for name in config.architectures or [])
        opener = transformers.AutoModelForMaskedLM if headed else transformers.AutoModel
        module, told = opener.from_pretrained(place, output_loading_info=True, **local)
    except Exception as error:  # transformers, tokenizers and safetensors each raise their own
        raise FormatError(f"{folder}: {' '.join(str(error).split())}") from error
    missing = [name for name in told["missing_keys"] if "pooler" not in name]
    if wrong := [*missing, *told["mismatched_keys"]]:
        raise FormatError(f"{folder}: missing or misshapen tensors: {', '.join(map(str, wrong))}")
    pad = tokenizer.pad_token_id
    return TokenModel(
        cast(nn.Module, module),
        tokeniser(tokenizer, kmer=kmer, step=step),
        input_length=input_length,
        max_tokens=max_tokens,
        pad=0 if pad is None else int(pad),
    )


def _blocks(module: nn.Module) -> dict[str, nn.Module]:
    """Find the list of transformer blocks: as many as the settings say."""
    config = getattr(module, "config", None)
    depth = getattr(config, "num_hidden_layers", None)
    for name, part in _lists(module):
        if len(part) == depth:
            return {f"{name}.{number}": block for number, block in enumerate(part)}
    raise ValueError(f"no list of {depth} blocks was found in {type(module).__name__}")


def _lists(module: nn.Module) -> Iterator[tuple[str, nn.ModuleList]]:
    for name, part in module.named_modules():
        if isinstance(part, nn.ModuleList):
            yield name, part


def _first(output: Any) -> torch.Tensor:  # noqa: ANN401
    """Take the states of a block that gives a tuple, as older versions do."""
    return cast(torch.Tensor, output if isinstance(output, torch.Tensor) else output[0])
