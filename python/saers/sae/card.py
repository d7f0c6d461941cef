"""The model card of an autoencoder: what it was trained on, how, and how well it does."""

from typing import Any

from saers.sae.module import SAE

CARD = "README.md"

_METRICS = {
    "tokens": "positions measured",
    "fvu": "fraction of variance unexplained",
    "fvu_informative": "the same, tenth of the positions farthest from the mean",
    "fvu_background": "the same, all others",
    "l0": "active latents per position",
    "l0_informative": "the same, tenth of the positions farthest from the mean",
    "l0_background": "the same, all others",
    "dead_share": "share of latents without a value above 1e-3 at any of these positions",
    "alignment_median": "cosine of a latent's encoder and decoder, median",
    "gamma": "length of the mean over that of the standard deviation, input",
    "gamma_after": "the same, after the map of the input",
}


def model_card(sae: SAE) -> str:
    r"""Describe an autoencoder in Markdown, with the header that model hubs read.

    Examples
    --------
    >>> print(model_card(SAE(4, 16, k=2)).split("\n\n")[1])
    # Sparse autoencoder, 4 channels to 16 latents
    """
    facts = sae.metadata
    parts = [
        "---\nlibrary_name: saers\ntags:\n- sparse-autoencoder\n- genomics\n---",
        f"# Sparse autoencoder, {sae.channels} channels to {sae.latents} latents",
        _kind(sae),
        _source(facts),
        _scores(facts.get("metrics", {})),
        _settings(facts.get("training", {})),
        "```python\nimport saers\nsae = saers.SAE.load(FOLDER)      # or SAELens: "
        "SAE.load_from_disk(FOLDER)\ncodes = sae.encode(activations)  # (n, channels)\n```",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _kind(sae: SAE) -> str:
    if sae.threshold is None:
        kept = f"The {sae.k} largest latents of each position are kept (TopK)."
    else:
        least = float(sae.threshold.min())
        kept = f"Latents above {least:.4g} are kept (JumpReLU, trained as BatchTopK)."
    if sae.layer_norm:
        return (
            f"{kept} Positions are divided by `input_scale` and standardised over their channels "
            "before encoding."
        )
    return f"{kept} It takes activations as the model gives them: their map is folded in."


def _source(facts: dict[str, Any]) -> str:
    """List what the activations were."""
    names = {
        "model": "model",
        "model_name": "model",
        "hook_name": "layer",
        "genome": "genome",
        "stride": "stride (bp)",
        "window_lo": "bases seen before a position",
        "window_hi": "bases seen after it",
    }
    told = [f"- {name}: {facts[key]}" for key, name in names.items() if facts.get(key)]
    return "## Data\n\n" + "\n".join(told) if told else ""


def _scores(metrics: dict[str, Any]) -> str:
    if not metrics:
        return ""
    where = (
        "on held-out positions"
        if metrics.get("split") == "holdout"
        else "on positions that it was trained on: the source had nothing to hold out"
    )
    rows = [
        f"| {meaning} | {_number(metrics[key])} |"
        for key, meaning in _METRICS.items()
        if key in metrics
    ]
    return "\n".join([f"## Metrics, {where}\n", "| measure | value |", "| --- | --- |", *rows])


def _settings(training: dict[str, Any]) -> str:
    if not training:
        return ""
    told = [f"{key} = {value!r}" for key, value in training.items() if value is not None]
    return "## Training\n\n```\n" + "\n".join(told) + "\n```"


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
