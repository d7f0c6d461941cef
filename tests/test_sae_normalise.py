import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saers import schema
from saers.sae.normalise import fit, measure, moments_of


def rows(count=1000, seed=0):
    generator = torch.Generator().manual_seed(seed)
    spread = torch.tensor([1.0, 4.0, 0.5])
    return torch.randn(count, 3, generator=generator) * spread + torch.tensor([5.0, -2.0, 0.0])


def test_moments_are_those_of_numpy():
    x = rows()
    moments = measure(x)
    array = x.double().numpy()
    np.testing.assert_allclose(moments.mean, array.mean(0), rtol=1e-12)
    np.testing.assert_allclose(moments.std, array.std(0), rtol=1e-12)
    np.testing.assert_array_equal(moments.max, array.max(0))
    np.testing.assert_array_equal(moments.min, array.min(0))
    assert moments.gamma == pytest.approx(
        np.linalg.norm(array.mean(0)) / np.linalg.norm(array.std(0))
    )


@given(offset=st.floats(-1e4, 1e4), spread=st.floats(0.01, 100))
@settings(max_examples=30, deadline=None)
def test_a_far_mean_does_not_spoil_the_deviation(offset, spread):
    x = rows(200) * spread + offset
    np.testing.assert_allclose(measure(x).std, x.double().numpy().std(0), rtol=1e-6)


def test_center_rms_leaves_mean_0_and_one_root_mean_square():
    normaliser = fit("center_rms", measure(rows()))
    mapped = normaliser.apply(rows())
    torch.testing.assert_close(mapped.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    assert float(mapped.square().mean()) == pytest.approx(1, rel=1e-4)
    assert len(set(normaliser.scale.tolist())) == 1
    assert normaliser.variance == pytest.approx(3)
    assert normaliser.gamma_after == pytest.approx(0, abs=1e-9)
    assert normaliser.gamma_before > 1


def test_zscore_leaves_deviation_1_in_each_channel():
    mapped = fit("zscore", measure(rows())).apply(rows())
    torch.testing.assert_close(mapped.std(0, correction=0), torch.ones(3), atol=1e-4, rtol=0)


def test_channel_max_leaves_maximum_1_and_keeps_0():
    normaliser = fit("channel_max", measure(rows()))
    torch.testing.assert_close(normaliser.apply(rows()).amax(0), torch.ones(3))
    assert normaliser.centre.tolist() == [0, 0, 0]


def test_none_leaves_the_input():
    assert torch.equal(fit("none", measure(rows())).apply(rows()), rows())


def test_a_channel_whose_maximum_is_not_above_0_keeps_its_sign():
    x = torch.tensor([[-4.0, 0.0, 1.0], [-2.0, 0.0, 3.0]])
    normaliser = fit("channel_max", measure(x))
    assert normaliser.scale.tolist() == [4.0, 1.0, 3.0]


def test_a_constant_channel_is_centred_and_not_blown_up():
    x = rows()
    x[:, 1] = 0.1
    mapped = fit("zscore", measure(x)).apply(x)
    assert mapped[:, 1].abs().max() < 1e-6
    assert torch.isfinite(mapped).all()


def test_input_without_any_variance_is_refused():
    with pytest.raises(ValueError, match="all 3 channels are constant"):
        fit("center_rms", measure(torch.ones(10, 3)))


def test_an_unknown_map_is_refused():
    with pytest.raises(ValueError, match="normalize must be one of"):
        fit("bleach", measure(rows()))


def stats_table(x):
    moments = measure(x)
    return pl.DataFrame(
        {
            "channel": [0, 1, 2],
            "max": moments.max,
            "min": moments.min,
            "mean": moments.mean,
            "std": moments.std,
            "nonzero": [len(x)] * 3,
            "count": [len(x)] * 3,
            "nan": [0] * 3,
        },
        schema=dict(schema.STATS),
    )


def test_a_table_of_statistics_serves_as_a_sample_does():
    table = stats_table(rows()).reverse()
    from_table = fit("channel_max", moments_of(table, 3))
    assert torch.equal(from_table.scale, fit("channel_max", measure(rows())).scale)


def test_a_table_of_other_channels_is_refused():
    with pytest.raises(ValueError, match="one row for each of 4 channels"):
        moments_of(stats_table(rows()), 4)
