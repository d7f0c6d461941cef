"""Features are changed as the formula says, and the outputs follow."""

import numpy as np
import polars as pl
import pytest
import torch
from scipy.stats import false_discovery_control, spearmanr, ttest_1samp
from torch import nn

from saers import schema
from saers.models.borzoi import BorzoiModel
from saers.models.module import ModuleModel
from saers.perturbation import Edit, by_bin, effects, steer
from saers.sae.module import SAE
from saers.screening import screen
from saers.splicing import Splice
from tests.borzoi import LENGTH, ours, sequences

EDITS = [Edit(), Edit("scale", 2.5), Edit("clamp", 1.5)]


@pytest.fixture(scope="module")
def borzoi():
    return BorzoiModel(ours(dtype=torch.float64), input_length=LENGTH)


def autoencoder(channels, *, latents=64, k=6, layer_norm=False):
    sae = SAE(channels, latents, k, layer_norm=layer_norm)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        sae.encoder.copy_(torch.randn(latents, channels, generator=generator))
        sae.W_dec.copy_(torch.randn(latents, channels, generator=generator) / channels**0.5)
        sae.scale.uniform_(0.5, 2.0, generator=generator)
    return sae.double()


def onehots(n=2, seed=0):
    return sequences(n=n, seed=seed, dtype=torch.float64)


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("edit", EDITS)
def test_steering_changes_the_decoded_activations_by_the_feature_alone(edit, layer_norm):
    sae = autoencoder(9, layer_norm=layer_norm)
    rows = torch.randn(50, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    codes = sae.encode(rows)
    for feature in range(0, 64, 7):
        dense = torch.zeros(50, 64, dtype=torch.float64).scatter(1, codes.indices, codes.values)
        before = sae.leave(dense @ sae.W_dec, sae.enter(rows))
        z = dense[:, feature].clone()
        dense[:, feature] = {"ablate": 0 * z, "scale": 2.5 * z, "clamp": 0 * z + 1.5}[edit.kind]
        after = sae.leave(dense @ sae.W_dec, sae.enter(rows))
        steered = steer(sae, rows, codes, feature, edit)
        torch.testing.assert_close(steered - rows, after - before, rtol=0, atol=1e-12)
        same = dense[:, feature] == z
        assert torch.equal(steered[same], rows[same])


def test_no_change_leaves_the_outputs_as_they_were_to_the_bit(borzoi):
    sae = autoencoder(19)
    onehot = onehots()
    rows = borzoi.capture(onehot, "conv1d_1").double()
    flat = rows.flatten(0, 1)
    codes = sae.encode(flat)
    steered = steer(sae, flat, codes, 3, Edit("scale", 1.0)).reshape(rows.shape)
    again = borzoi.run_from("conv1d_1", steered, onehot=onehot)
    assert torch.equal(again, borzoi.run_from("conv1d_1", rows, onehot=onehot))
    table = effects(Splice(borzoi, sae, "conv1d_1"), [onehot], [3], edit=Edit("scale", 1.0))
    assert table["effect"].to_list() == [0.0] * 5
    assert table["n_active"].to_list() == [0] * 5


@pytest.mark.parametrize("layer", ["conv1d_1", "conv1d_5", "transformer.0"])
@pytest.mark.parametrize("edit", EDITS)
def test_effects_are_those_of_plain_editing(borzoi, layer, edit):
    sae, onehot = autoencoder(borzoi.layers[layer].channels), onehots()
    table = effects(Splice(borzoi, sae, layer), [onehot], [5, 1], edit=edit, n_bootstrap=0)
    assert dict(table.schema) == dict(schema.EFFECTS)
    assert table["feature"].to_list() == [1] * 5 + [5] * 5
    x = borzoi.prefix(onehot, layer).values.mT
    for feature in (1, 5):
        codes = sae.encode(x.flatten(0, 1))
        z = (codes.values * (codes.indices == feature)).sum(1).reshape(x.shape[:2])
        wanted = {"ablate": 0 * z, "scale": 2.5 * z, "clamp": 0 * z + 1.5}[edit.kind]
        changed = x + (wanted - z)[..., None] * sae.W_dec[feature]
        before, after = (borzoi.run_from(layer, values, onehot=onehot) for values in (x, changed))
        rows = table.filter(pl.col("feature") == feature)
        np.testing.assert_allclose(
            rows["effect"], (after - before).mean(dim=(0, 2)).detach(), rtol=1e-5, atol=1e-7
        )
        ratio = torch.log2((after + 1) / (before + 1)).mean(dim=(0, 2)).detach()
        np.testing.assert_allclose(rows["log2_effect"], ratio, rtol=1e-5, atol=1e-7)


def test_a_small_step_agrees_with_the_gradient(borzoi):
    sae, onehot = autoencoder(19), onehots()
    splice = Splice(borzoi, sae, "conv1d_1")
    estimated = screen(splice, [onehot])
    step = 1e-6
    for feature in (2, 9, 30):
        shrunk = Edit("scale", 1 - step)
        table = effects(
            Splice(borzoi, sae, "conv1d_1"), [onehot], [feature], edit=shrunk, n_bootstrap=0
        )
        assert table["effect"].mean() / step == pytest.approx(estimated[feature], rel=2e-2)


def test_the_screen_ranks_small_effects_as_ablation_does(borzoi):
    sae, given = autoencoder(19), [onehots(seed=seed) for seed in range(2)]
    with torch.no_grad():
        sae.W_dec.mul_(0.01)
    estimated = screen(Splice(borzoi, sae, "conv1d_1"), given, tracks=[0, 2])
    table = effects(Splice(borzoi, sae, "conv1d_1"), given, range(64), n_bootstrap=0)
    chosen = table.filter(pl.col("track").is_in([0, 2]))
    exact = chosen.group_by("feature", maintain_order=True).agg(pl.col("effect").mean())["effect"]
    assert spearmanr(estimated, exact).statistic > 0.95


def test_a_linear_model_is_screened_exactly():
    net = nn.Sequential(nn.Conv1d(4, 6, 5, padding=2), nn.Conv1d(6, 3, 1)).double()
    model = ModuleModel(net, input_length=64)
    onehot = sequences(64, dtype=torch.float64)
    for sae in (autoencoder(6, latents=12, k=3), autoencoder(6, latents=12, layer_norm=True)):
        table = effects(Splice(model, sae, "0"), [onehot], range(12), n_bootstrap=0)
        exact = table["effect"].to_numpy().reshape(12, 3).mean(axis=1)
        np.testing.assert_allclose(
            screen(Splice(model, sae, "0"), [onehot]), exact, rtol=1e-4, atol=1e-7
        )


def test_intervals_come_from_windows(borzoi):
    sae, given = autoencoder(19), [onehots(n=4, seed=seed) for seed in range(2)]
    table = effects(Splice(borzoi, sae, "conv1d_1"), given, [3], seed=1)
    assert (table["effect_low"] <= table["effect"]).all()
    assert (table["effect"] <= table["effect_high"]).all()
    assert table["n_windows"].to_list() == [8] * 5
    assert table.equals(effects(Splice(borzoi, sae, "conv1d_1"), given, [3], seed=1))


def test_p_values_are_those_of_a_t_test(borzoi):
    sae, given = autoencoder(19), [onehots(n=4, seed=seed) for seed in range(2)]
    splice = Splice(borzoi, sae, "conv1d_1")
    table = effects(splice, given, [1, 5], n_bootstrap=0)
    parts = [effects(splice, [window], [1, 5]) for batch in given for window in batch.split(1)]
    by_window = np.stack([part["effect"].to_numpy() for part in parts])
    np.testing.assert_allclose(table["p_value"], ttest_1samp(by_window, 0).pvalue, rtol=1e-5)
    q = false_discovery_control(table["p_value"].to_numpy())
    np.testing.assert_allclose(table["q_value"], q, rtol=1e-12)
    assert parts[0]["p_value"].is_null().all()  # one window says nothing of the others


def test_a_feature_that_never_fires_has_no_p_value(borzoi):
    sae = autoencoder(19)
    with torch.no_grad():
        sae.encoder[3] = 0
    table = effects(Splice(borzoi, sae, "conv1d_1"), [onehots(n=4)], [3, 5])
    silent = table.filter(pl.col("feature") == 3)
    assert silent["effect"].to_list() == [0.0] * 5
    assert silent["q_value"].is_null().all()
    assert table.filter(pl.col("feature") == 5)["q_value"].is_not_null().all()


def test_effects_by_bin_are_those_whose_mean_the_table_holds(borzoi):
    splice, onehot = Splice(borzoi, autoencoder(19), "conv1d_1"), onehots(n=1)
    found = by_bin(splice, onehot, [5, 1], edit=Edit("scale", 2.0))
    assert found.shape == (2, 5, 16)
    assert np.ptp(found, axis=2).max() > 1e-4
    table = effects(splice, [onehot], [5, 1], edit=Edit("scale", 2.0), n_bootstrap=0)
    means = found.mean(axis=2)[::-1].ravel()
    np.testing.assert_allclose(table["effect"], means, rtol=1e-4, atol=1e-7)
    np.testing.assert_array_equal(
        by_bin(splice, onehot, [1], edit=Edit("scale", 2.0), only=[3]), found[1:, 3:4]
    )
    assert not by_bin(splice, onehot, [5], edit=Edit("scale", 1.0)).any()
    with pytest.raises(ValueError, match=r"windows must lie in 1\.\.1, got 2"):
        by_bin(splice, onehots(n=2), [5])


def test_tracks_can_be_chosen(borzoi):
    splice = Splice(borzoi, autoencoder(19), "conv1d_1")
    tracks = pl.DataFrame({"name": list("abcde"), "assay": ["RNA"] * 5})
    every = effects(splice, [onehots()], [3], tracks=tracks)
    some = effects(splice, [onehots()], [3], tracks=tracks, only=[4, 1])
    assert some["name"].to_list() == ["b", "e"]
    assert some.drop("q_value").equals(every.filter(pl.col("track").is_in([1, 4])).drop("q_value"))
    for call in (
        lambda: effects(splice, [onehots()], [3], only=[5]),
        lambda: screen(splice, [onehots()], tracks=[5]),
    ):
        with pytest.raises(ValueError, match=r"track must lie in 0\.\.4, got 5"):
            call()


@pytest.mark.parametrize(
    "text, message",
    [
        ("remove", "edit must be one of ablate, scale, clamp, got 'remove'"),
        ("scale", "edit must be ablate, scale=V or clamp=V, got 'scale'"),
        ("ablate=3", "edit must be ablate, scale=V or clamp=V, got 'ablate=3'"),
        ("clamp=x", "edit: the value must be a number, got 'clamp=x'"),
    ],
)
def test_an_edit_that_cannot_be_read_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        Edit.parse(text)


def test_wrong_features_and_nothing_are_refused(borzoi):
    sae = autoencoder(19)
    with pytest.raises(ValueError, match=r"feature must lie in 0\.\.63, got 64"):
        effects(Splice(borzoi, sae, "conv1d_1"), [onehots()], [64])
    for call in (
        lambda: effects(Splice(borzoi, sae, "conv1d_1"), [], [1]),
        lambda: screen(Splice(borzoi, sae, "conv1d_1"), []),
    ):
        with pytest.raises(ValueError, match="at least one batch, got none"):
            call()
