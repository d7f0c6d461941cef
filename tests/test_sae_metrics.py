import numpy as np
import pytest
import torch

from saers.sae.metrics import density_histogram, evaluate
from saers.sae.module import SAE


def random_sae(k=3):
    sae = SAE(5, 12, k)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in sae.parameters():
            weight.normal_(generator=generator)
        sae.b_enc[4] = -1000.0
    return sae.requires_grad_(False)


def rows(count=20_000):
    return torch.randn(count, 5, generator=torch.Generator().manual_seed(2)) * 2 + 3


def brute_force(sae, x):
    x = x.double()
    codes = sae.encode(x.float())
    error = (sae(x.float()).double() - x).square().sum(1)
    spread = (x - x.mean(0)).square().sum(1)
    inner = spread <= torch.quantile(spread, 0.9)
    l0 = (codes.values > 0).sum(1).double()
    return error, spread, inner, l0, codes


def test_evaluation_agrees_with_brute_force():
    sae, x = random_sae(), rows()
    found = evaluate(sae, x)
    error, spread, inner, l0, codes = brute_force(sae, x)
    assert found.tokens == len(x)
    assert found.fvu == pytest.approx(float(error.sum() / spread.sum()), rel=1e-4)
    for name, part in (("background", inner), ("informative", ~inner)):
        fvu = float(error[part].sum() / spread[part].sum())
        assert getattr(found, f"fvu_{name}") == pytest.approx(fvu, rel=1e-2)
        assert getattr(found, f"l0_{name}") == pytest.approx(float(l0[part].mean()), rel=1e-2)
    assert found.l0 == pytest.approx(float(l0.mean()))
    density = torch.bincount(codes.indices[codes.values > 0], minlength=12) / len(x)
    np.testing.assert_allclose(found.density, density)
    alive = codes.indices[codes.values > 1e-3].unique()
    assert found.dead_share == pytest.approx(1 - len(alive) / 12)
    gamma = x.double().mean(0).norm() / x.double().std(0, correction=0).norm()
    assert found.gamma == pytest.approx(float(gamma), rel=1e-4)


def test_the_sources_form_does_not_matter():
    sae, x = random_sae(), rows(4000)
    whole = evaluate(sae, x)
    pieces = evaluate(sae, list(x.split(700)))
    assert whole.fvu == pytest.approx(pieces.fvu, rel=1e-5)
    assert whole.dead_share == pieces.dead_share


def test_no_more_positions_are_used_than_asked_for():
    assert evaluate(random_sae(), rows(), max_tokens=10_001).tokens == 10_001
    assert evaluate(random_sae(), rows(100), max_tokens=10_001).tokens == 100


def test_reconstructing_the_mean_leaves_all_variance():
    sae = SAE(5, 12, 2)
    with torch.no_grad():
        sae.b_dec.copy_(rows().mean(0))
    found = evaluate(sae, rows())
    assert found.fvu == pytest.approx(1, rel=1e-5)
    assert found.dead_share == 1
    assert found.l0 == 0


def test_the_summary_can_be_written_as_json_and_counts_every_latent():
    summary = evaluate(random_sae(), rows(500)).summary()
    assert sum(summary["log10_density"].values()) == 12
    assert summary["log10_density"]["never"] >= 1
    assert all(isinstance(value, float | int | dict) for value in summary.values())


def test_densities_at_a_decade_belong_to_it():
    assert density_histogram(np.array([0.1, 0.099, 1e-9])) == {"-7": 1, "-2": 1, "-1": 1}


def test_another_number_of_channels_is_refused():
    with pytest.raises(ValueError, match="source must have 5 channels, got 4"):
        evaluate(random_sae(), torch.zeros(10, 4))
