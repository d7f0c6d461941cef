"""Files of other programs: sparsify, SAELens (the real packages, where installed), SAE-Borzoi."""

import json
import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saers import FormatError
from saers.sae.exchange import export_sparsify, load_sae_borzoi
from saers.sae.module import SAE
from saers.sae.normalise import covariance, fit, measure
from saers.sae.training import TrainConfig, train_sae

CHANNELS, LATENTS, K = 12, 40, 5


def rows(count=200, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(count, CHANNELS, generator=generator) @ torch.randn(
        CHANNELS, CHANNELS, generator=generator
    )
    return mixed + 3 * torch.randn(CHANNELS, generator=generator)


def random_sae(*, threshold=None, layer_norm=False, seed=1):
    sae = SAE(CHANNELS, LATENTS, K, threshold=threshold, layer_norm=layer_norm)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in sae.parameters():
            weight.normal_(generator=generator)
    return sae.requires_grad_(False)


@given(
    st.sampled_from(["center_rms", "channel_max", "zscore", "whiten", "none"]),
    st.sampled_from([None, 0.5]),
    st.integers(0, 1000),
)
@settings(max_examples=40)
def test_folded_is_unfolded(kind, threshold, seed):
    x = rows(seed=seed)
    normaliser = fit(kind, measure(x), covariance(x))
    sae = random_sae(threshold=None if threshold is None else torch.tensor(threshold), seed=seed)
    folded = sae.fold(normaliser.centre, normaliser.scale, normaliser.mixing, normaliser.unmixing)
    inner = sae(normaliser.apply(x))
    back = inner if normaliser.unmixing is None else inner @ normaliser.unmixing
    expected = back * normaliser.scale + normaliser.centre
    # A latent on the border of selection may fall to either side, by the last bits.
    close = torch.isclose(folded(x), expected, rtol=1e-3, atol=1e-3 * float(x.abs().max()))
    assert close.all(dim=1).float().mean() > 0.97


def test_whitening_leaves_the_identity_and_can_be_undone():
    x = rows(5000)
    normaliser = fit("whiten", measure(x), covariance(x))
    inner = normaliser.apply(x)
    spread = torch.cov(inner.T, correction=0)
    torch.testing.assert_close(spread, torch.eye(CHANNELS), atol=2e-3, rtol=0)
    assert normaliser.variance == pytest.approx(CHANNELS, rel=1e-6)
    back = inner @ normaliser.unmixing * normaliser.scale + normaliser.centre
    torch.testing.assert_close(back, x, atol=1e-3, rtol=1e-4)


def test_whitening_does_not_blow_up_a_direction_without_variance():
    x = rows(500)
    x[:, 3] = 2 * x[:, 1]
    inner = fit("whiten", measure(x), covariance(x)).apply(x)
    assert torch.isfinite(inner).all()
    assert inner.abs().max() < 100


@pytest.mark.parametrize("architecture", ["topk", "batchtopk"])
@pytest.mark.parametrize("normalize", ["zscore", "whiten"])
def test_a_trained_one_survives_its_files(tmp_path, architecture, normalize):
    config = TrainConfig(
        architecture=architecture, normalize=normalize, k=3, n_latents=30, steps=60, batch_size=64
    )
    sae, metrics = train_sae(rows(2000), config)
    found = SAE.load(sae.save(tmp_path / "sae"))
    assert torch.equal(found(rows()), sae(rows()))
    assert found.k == sae.k
    assert (found.threshold is not None) == (architecture == "batchtopk")
    told = (tmp_path / "sae" / "README.md").read_text()
    assert f"| active latents per position | {metrics['l0']:.4g} |" in told
    assert "on held-out positions" in told
    assert f"normalize = '{normalize}'" in told


def test_sparsify_reads_no_threshold_and_no_layer_norm(tmp_path):
    with pytest.raises(ValueError, match="plain topk for sparsify, got one with a threshold"):
        export_sparsify(random_sae(threshold=torch.tensor(1.0)), tmp_path / "coder")
    with pytest.raises(ValueError, match="got one with layer_norm"):
        export_sparsify(random_sae(layer_norm=True), tmp_path / "coder")


READ_SPARSIFY = """
import sys, torch
from sparsify import SparseCoder
coder = SparseCoder.load_from_disk(sys.argv[1], device="cpu")
x = torch.load(sys.argv[2])
with torch.no_grad():
    top = coder.encode(x)
    codes = torch.zeros(len(x), coder.num_latents).scatter(1, top.top_indices, top.top_acts)
    torch.save([codes, coder.decode(top.top_acts, top.top_indices)], sys.argv[3])
"""
READ_SAELENS = """
import sys, torch
from sae_lens import SAE
sae = SAE.load_from_disk(sys.argv[1], device="cpu")
x = torch.load(sys.argv[2])
with torch.no_grad():
    torch.save([sae.encode(x), sae(x)], sys.argv[3])
"""


def read_by(package, script, folder, x, tmp_path):
    """Codes and reconstruction of another program, in a process of its own."""
    pytest.importorskip(package)
    torch.save(x, tmp_path / "x.pt")
    subprocess.run(
        [sys.executable, "-c", script, str(folder), str(tmp_path / "x.pt"), str(tmp_path / "y.pt")],
        check=True,
        timeout=280,
        env=os.environ | {"SPARSIFY_DISABLE_TRITON": "1", "WANDB_MODE": "disabled"},
    )
    return torch.load(tmp_path / "y.pt", weights_only=True)


def trained(**changes):
    config = TrainConfig(**({"k": 3, "n_latents": 30, "steps": 60, "batch_size": 64} | changes))
    return train_sae(rows(2000) / 10, config).sae


def assert_same(sae, x, codes, reconstruction):
    found = sae.encode(x)
    dense = torch.zeros(len(x), sae.latents).scatter_add(1, found.indices, found.values)
    torch.testing.assert_close(codes, dense, atol=1e-5, rtol=0)
    torch.testing.assert_close(reconstruction, sae(x), atol=1e-5, rtol=0)


@pytest.mark.slow
def test_sparsify_itself_reads_the_export(tmp_path):
    sae, x = trained(normalize="zscore"), rows() / 10
    folder = export_sparsify(sae, tmp_path / "coder")
    assert_same(sae, x, *read_by("sparsify", READ_SPARSIFY, folder, x, tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [{"normalize": "zscore"}, {"architecture": "batchtopk", "normalize": "center_rms"}],
    ids=["topk", "batchtopk"],
)
def test_sae_lens_itself_reads_what_is_saved(tmp_path, changes):
    sae, x = trained(**changes), rows() / 10
    folder = sae.save(tmp_path / "sae")
    assert_same(sae, x, *read_by("sae_lens", READ_SAELENS, folder, x, tmp_path))


class Seed(torch.nn.Module):
    """The formula of SAE-Borzoi's autoencoder, written down from its description."""

    def __init__(self, channels, latents, k):
        super().__init__()
        self.encoder = torch.nn.Linear(channels, latents, bias=False)
        self.decoder = torch.nn.Linear(latents, channels, bias=False)
        self.pre_bias = torch.nn.Parameter(torch.zeros(channels))
        self.latent_bias = torch.nn.Parameter(torch.zeros(latents))
        self.temperature = torch.nn.Parameter(torch.tensor(1.0))
        self.k = k

    def forward(self, x):
        mean = x.mean(dim=-1, keepdim=True)
        deviation = (x - mean).std(dim=-1, keepdim=True)
        inner = (x - mean) / (deviation + 1e-5)
        h = torch.relu(self.encoder(inner - self.pre_bias) + self.latent_bias)
        values, places = h.topk(self.k, dim=-1)
        sparse = torch.zeros_like(h).scatter(-1, places, values)
        return (self.decoder(sparse) + self.pre_bias) * deviation + mean


def saved_seed(path, channels=20, latents=80, k=1):
    torch.manual_seed(3)
    seed = Seed(channels, latents, k)
    with torch.no_grad():
        for weight in (seed.pre_bias, seed.latent_bias):
            weight.normal_()
    optimizer = torch.optim.Adam(seed.parameters(), lr=1e-5)
    seed(torch.randn(9, channels)).square().sum().backward()
    optimizer.step()
    state = {"model_state_dict": seed.state_dict(), "optimizer_state_dict": optimizer.state_dict()}
    torch.save({"epoch": 3, "metrics": {"val_total_loss": 0.5}, **state}, path)
    return seed


def test_a_best_model_of_sae_borzoi_is_imported(tmp_path):
    seed = saved_seed(tmp_path / "best_model.pt", k=4)
    maxima = torch.rand(20) + 0.5
    (tmp_path / "max.json").write_text(json.dumps(maxima.tolist()))
    sae = load_sae_borzoi(tmp_path / "best_model.pt", k=4, global_max=tmp_path / "max.json")
    x = torch.randn(50, 20)
    expected = seed(x / maxima) * maxima
    torch.testing.assert_close(sae(x), expected.detach(), atol=1e-5, rtol=1e-4)
    assert torch.equal(SAE.load(sae.save(tmp_path / "sae"))(x), sae(x))
    assert load_sae_borzoi(tmp_path / "best_model.pt").k == 1


def test_the_sae_borzoi_preset_takes_the_steps_of_its_trainer():
    from saers.sae.step import Stepper

    config = TrainConfig.preset("sae-borzoi", 40, learning_rate=1e-3).resolve(40)
    torch.manual_seed(0)
    seed = Seed(40, 160, config.k)
    sae = SAE(40, 160, config.k, layer_norm=True)
    with torch.no_grad():
        sae.encoder.copy_(seed.encoder.weight)
        sae.W_dec.copy_(seed.decoder.weight.T)
    stepper = Stepper(sae, config, variance=1.0)
    optimizer = torch.optim.Adam(seed.parameters(), lr=1e-3)
    for step in range(30):
        x = torch.randn(64, 40, generator=torch.Generator().manual_seed(step)).abs()
        loss = torch.nn.functional.mse_loss(seed(x), x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        torch.testing.assert_close(stepper.step(x).loss, loss.detach(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(
        sae.W_dec.detach(), seed.decoder.weight.T.detach(), atol=2e-4, rtol=0
    )


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda saved: saved.pop("model_state_dict"), "no model_state_dict"),
        (lambda saved: saved["model_state_dict"].pop("pre_bias"), "lacks pre_bias"),
        (
            lambda saved: saved["model_state_dict"].update({"latent_bias": torch.zeros(7)}),
            r"latent_bias is \(7,\)",
        ),
        (
            lambda saved: saved["model_state_dict"]["pre_bias"].fill_(torch.nan),
            "pre_bias holds NaN",
        ),
    ],
)
def test_a_checkpoint_of_something_else_is_a_format_error(tmp_path, change, message):
    file = tmp_path / "best_model.pt"
    saved_seed(file)
    saved = torch.load(file, weights_only=True)
    change(saved)
    torch.save(saved, file)
    with pytest.raises(FormatError, match=message):
        load_sae_borzoi(file)


class Harm:
    def __reduce__(self):
        return (os.system, ("false",))


def test_a_file_that_would_run_code_is_refused(tmp_path):
    torch.save({"model_state_dict": Harm()}, tmp_path / "best_model.pt")
    with pytest.raises(FormatError, match=r"best_model\.pt: not a checkpoint of weights"):
        load_sae_borzoi(tmp_path / "best_model.pt")


def test_maxima_that_do_not_fit_are_a_format_error(tmp_path):
    saved_seed(tmp_path / "best_model.pt")
    (tmp_path / "max.json").write_text("[1, 2]")
    with pytest.raises(FormatError, match=r"max\.json: must hold 20 numbers other than 0, got 2"):
        load_sae_borzoi(tmp_path / "best_model.pt", global_max=tmp_path / "max.json")
