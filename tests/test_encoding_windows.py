"""saers.encoding: codes of whole windows, on disk and in top seqlets."""

import h5py
import numpy as np
import polars as pl
import pytest
import torch

from saers.code_files import read_codes
from saers.codes import TopSeqlets
from saers.encoding import encode_source
from saers.layer import ActivationBlock
from saers.sae.module import SAE
from tests.test_seqlets import CONV


class FakeSource:
    """Random activations of a few windows, in blocks of three."""

    def __init__(self, n_windows=7, n_positions=40, seed=0):
        rng = np.random.default_rng(seed)
        self.layer, self.n_positions = CONV, n_positions
        self.values = rng.normal(size=(n_windows, n_positions, 6)).astype(np.float32)
        self.mask = rng.random((n_windows, n_positions)) > 0.2
        self.mask[1] = False
        start = 100 * np.arange(n_windows)
        self.windows = pl.DataFrame(
            {"window": np.arange(n_windows), "start": start, "end": start + 100}
        ).with_columns(chrom=pl.lit("chr1"), split=pl.lit("train"))

    def blocks(self, *, windows=None):
        chosen = np.arange(len(self.values)) if windows is None else np.asarray(windows)
        for first in range(0, len(chosen), 3):
            part = chosen[first : first + 3]
            yield ActivationBlock(part, self.values[part], self.mask[part])


class Steps:
    """Remembers what a progress was told."""

    def __init__(self):
        self.total, self.done = None, 0

    def start(self, description, total):
        self.total = total

    def advance(self, steps=1):
        self.done += steps

    def say(self, message):
        raise AssertionError(message)


@pytest.fixture
def sae():
    torch.manual_seed(0)
    made = SAE(6, 20, k=4)
    with torch.no_grad():
        made.W_dec.normal_()
        made.encoder.copy_(made.W_dec)
    return made


def encoded(sae, source, **options):
    top = TopSeqlets(20, per_window=3, per_feature=12, min_distance=4)
    return top, encode_source(sae, source, top, **options)


def test_encoding_a_source_is_encoding_its_usable_positions(sae):
    source = FakeSource()
    top, positions = encoded(sae, source)
    with torch.inference_mode():
        codes = sae.encode(torch.from_numpy(source.values.reshape(-1, 6)))
    values = codes.values.numpy().reshape(7, 40, 4) * source.mask[:, :, None]
    by_hand = TopSeqlets(20, per_window=3, per_feature=12, min_distance=4)
    by_hand.update(np.arange(7), codes.indices.numpy().reshape(7, 40, 4), values)
    assert positions == source.mask.sum()
    assert top.finish().drop("activation").equals(by_hand.finish().drop("activation"))
    assert top.feature_stats()["n_nonzero"].equals(by_hand.feature_stats()["n_nonzero"])
    np.testing.assert_allclose(
        top.finish()["activation"], by_hand.finish()["activation"], rtol=1e-5
    )


def test_the_batch_size_and_the_device_change_nothing_but_rounding(sae):
    source = FakeSource()
    (one, _), (two, _) = encoded(sae, source), encoded(sae, source, batch_size=7, device="cpu")
    assert one.finish().drop("activation").equals(two.finish().drop("activation"))


def test_masked_positions_give_no_seqlets(sae):
    source = FakeSource()
    source.values[~source.mask] = np.nan
    top, _ = encoded(sae, source)
    found = top.finish()
    assert source.mask[found["window"].to_numpy(), found["position"].to_numpy()].all()
    assert 1 not in found["window"]
    assert top.n_tokens == 7 * 40


def test_a_nan_at_a_usable_position_is_named(sae):
    source = FakeSource()
    source.values[4], source.mask[4] = np.nan, True
    with pytest.raises(ValueError, match=r"window 4, position 0, feature \d+: activation is NaN"):
        encoded(sae, source)


def test_some_windows_can_be_chosen_and_progress_is_told(sae):
    source, steps = FakeSource(), Steps()
    top, positions = encoded(sae, source, windows=[6, 0, 2, 3], progress=steps)
    assert set(top.finish()["window"]) == {0, 2, 3, 6}
    assert positions == source.mask[[0, 2, 3, 6]].sum()
    assert (steps.total, steps.done) == (4, 4)


def test_the_codes_on_disk_give_the_same_seqlets(sae, tmp_path):
    source = FakeSource()
    top, _ = encoded(sae, source, codes_path=tmp_path / "codes.h5")
    again = TopSeqlets(20, per_window=3, per_feature=12, min_distance=4)
    for windows, codes in read_codes(tmp_path / "codes.h5"):
        again.update(windows, codes.indices, codes.values)
    assert again.finish().height == top.finish().height
    with h5py.File(tmp_path / "codes.h5") as file:
        assert file["windows"][:].tolist() == list(range(7))
        assert not file["values"][1].any()
        assert file.attrs["n_features"] == 20


def test_a_failed_encoding_leaves_no_codes(sae, tmp_path):
    source = FakeSource()
    source.values[4], source.mask[4] = np.inf, True
    with pytest.raises(ValueError, match="window 4"):
        encoded(sae, source, codes_path=tmp_path / "codes.h5")
    assert list(tmp_path.iterdir()) == []


def test_a_batch_of_nothing_is_refused(sae):
    with pytest.raises(ValueError, match="batch_size must lie in"):
        encoded(sae, FakeSource(), batch_size=0)
