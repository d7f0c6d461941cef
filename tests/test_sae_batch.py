"""Batch top-k, matryoshka prefixes, averaging, and half precision in the step."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saers.sae.config import TrainConfig
from saers.sae.module import SAE, select_above, with_width
from saers.sae.parallel import Crew
from saers.sae.sparse import at_places, keep_rows, largest_of_all, places_by_topk
from saers.sae.step import Stepper
from tests.test_sae_step import (
    CHANNELS,
    LATENTS,
    K,
    assert_gradients,
    main_loss,
    random_sae,
    rows,
    written_gradients,
)
from tests.test_sae_step import (
    settings as plain_settings,
)

TOTAL = 40 * K


def batch_codes(pre, count):
    """The largest positive values of a whole batch, by sorting them; the first of equal ones."""
    flat = pre.flatten().relu()
    kept = flat.sort(descending=True, stable=True).indices[:count]
    return torch.zeros_like(flat).index_copy(0, kept, flat[kept]).view_as(pre)


def kept_codes(pre, count):
    """What the kernel keeps, dense."""
    values, places = largest_of_all(pre, count)
    assert torch.equal(places, places.sort().values)
    return torch.zeros(pre.numel()).index_copy(0, places, values).view_as(pre)


@given(st.integers(0, 10_000), st.integers(1, 90), st.sampled_from([1, 7, 16, 33]))
@settings(max_examples=60)
def test_a_batch_keeps_its_largest_values(seed, count, width):
    pre = torch.randn(8, width, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(kept_codes(pre, count), batch_codes(pre, count))


@given(st.integers(0, 10_000), st.integers(1, 600))
@settings(max_examples=60)
def test_of_equal_values_of_a_batch_the_first_are_kept(seed, count):
    generator = torch.Generator().manual_seed(seed)
    pre = torch.randint(-2, 3, (8, 70), generator=generator) / 2
    found = kept_codes(pre, count)
    assert torch.equal(found, batch_codes(pre, count))
    assert int((found > 0).sum()) == min(count, int((pre > 0).sum()))
    assert torch.equal(
        largest_of_all(pre, count)[1], places_by_topk(pre.flatten(), min(count, 560))
    )


def test_a_batch_larger_than_a_block_is_kept_as_torch_keeps_it():
    pre = torch.randn(900, 300, generator=torch.Generator().manual_seed(0))
    pre[:800] -= 2.0  # most of what is kept lies in few rows
    values, places = largest_of_all(pre, 5000)
    expected = torch.topk(pre.flatten(), 5000).indices.sort().values
    assert torch.equal(places, expected)
    assert torch.equal(values, pre.flatten()[expected])


def test_a_nan_of_a_batch_is_not_lost():
    pre = torch.ones(3, 5)
    pre[1, 2] = torch.nan
    assert largest_of_all(pre, 4)[0].isnan().any()
    assert 7 in places_by_topk(pre.flatten(), 4)


def test_nothing_positive_keeps_nothing_and_the_step_survives():
    assert len(largest_of_all(-torch.ones(3, 4), 5)[0]) == 0
    sae = random_sae()
    with torch.no_grad():
        sae.encoder.zero_()
        sae.b_enc.fill_(-1.0)
    stepper = Stepper(sae, plain_settings(architecture="batchtopk"), variance=3.0)
    report = stepper.step(rows())
    assert report.active == 0
    assert float(stepper.threshold) == 0


def test_gradients_of_batch_top_k_are_those_of_autograd():
    sae, twin = random_sae(), random_sae()
    seen, report = written_gradients(sae, plain_settings(architecture="batchtopk"), rows())
    pre = (rows() - twin.b_dec) @ twin.W_enc + twin.b_enc
    codes = batch_codes(pre, TOTAL)
    left = codes @ twin.W_dec + twin.b_dec - rows()
    assert_gradients(twin, seen, left.square().sum() / (3.0 * 40))
    assert float(report.active) == pytest.approx(float((codes > 0).sum() / 40))


@pytest.mark.parametrize("k, count", [(0.125, 5), (1.7, 68), (0.001, 1)])
def test_a_batch_may_keep_a_fraction_of_a_latent_a_position(k, count):
    config = plain_settings(architecture="batchtopk", k=k)
    report = Stepper(random_sae(), config, variance=3.0).step(rows())
    assert float(report.active) * 40 == pytest.approx(count)


def test_the_threshold_follows_the_smallest_kept_value():
    stepper = Stepper(random_sae(), plain_settings(architecture="batchtopk"), variance=3.0)
    smallest = []
    for seed in range(3):
        pre = stepper.sae.pre_activations(rows(seed=seed)).detach()
        codes = batch_codes(pre, TOTAL)
        smallest.append(float(codes[codes > 0].min()))
        stepper.step(rows(seed=seed))
    expected = smallest[0]
    for value in smallest[1:]:
        expected = 0.99 * expected + 0.01 * value
    assert float(stepper.threshold) == pytest.approx(expected, rel=1e-5)
    made = stepper.result()
    assert torch.allclose(made.threshold, torch.full((LATENTS,), expected))
    assert stepper.sae.threshold is None


def prefix_loss(sae, x, prefixes, unit):
    """Mean error of what the first latents of each prefix reconstruct, from its definition."""
    pre = (x - sae.b_dec) @ sae.W_enc + sae.b_enc
    values, order = pre.relu().topk(K, dim=1)
    codes = torch.zeros_like(pre).scatter(1, order, values)
    losses = [
        (codes[:, :count] @ sae.W_dec[:count] + sae.b_dec - x).square().sum() for count in prefixes
    ]
    return sum(losses) / (unit * len(x) * len(prefixes))


@pytest.mark.parametrize("shares", [(0.2,), (0.1, 0.4, 0.8)])
def test_gradients_of_a_matryoshka_are_those_of_autograd(shares):
    sae, twin = random_sae(), random_sae()
    config = plain_settings(matryoshka=shares)
    seen, report = written_gradients(sae, config, rows())
    loss = prefix_loss(twin, rows(), config.prefixes(CHANNELS), 3.0)
    assert_gradients(twin, seen, loss)
    torch.testing.assert_close(report.loss, loss.detach())
    torch.testing.assert_close(report.fvu, main_loss(twin, rows(), 3.0).detach())


def test_a_matryoshka_of_batch_top_k_is_trained_too():
    config = plain_settings(matryoshka=(0.3,), architecture="batchtopk")
    stepper = Stepper(random_sae(), config, variance=3.0)
    first, *_, last = [float(stepper.step(rows()).loss) for _ in range(60)]
    assert last < first


def test_entries_stand_by_position_and_prefix():
    generator = torch.Generator().manual_seed(0)
    pre = torch.randn(5, 12, generator=generator)
    prefixes = torch.tensor([3, 7, 12])
    values, indices = pre.topk(4, dim=1)
    by_row = keep_rows(values.relu(), indices, prefixes)
    assert torch.equal(by_row.bags, by_row.bags.sort().values)
    where = torch.tensor([0 if latent < 3 else 1 if latent < 7 else 2 for latent in by_row.latents])
    assert torch.equal(by_row.bags % 3, where)
    assert torch.equal(by_row.positions(3), torch.arange(5).repeat_interleave(4))
    places = (pre.flatten() > 0.5).nonzero().flatten()
    of_batch = at_places(pre.flatten()[places], places, 12, prefixes)
    assert torch.equal(pre[of_batch.bags // 3, of_batch.latents], of_batch.values)


def test_the_average_of_weights_is_the_result():
    config = plain_settings(ema=0.9, learning_rate=0.05, unit_decoder=True)
    stepper = Stepper(random_sae(unit=True), config, variance=3.0)
    average = stepper.sae.encoder.detach().clone()
    for step in range(1, 30):
        stepper.step(rows(seed=step))
        average.lerp_(stepper.sae.encoder.detach(), 1 - min(0.9, step / (step + 9)))
    made = stepper.result()
    torch.testing.assert_close(made.encoder.detach(), average)
    torch.testing.assert_close(made.W_dec.norm(dim=1), torch.ones(LATENTS))
    assert not torch.equal(made.encoder, stepper.sae.encoder)


def test_half_precision_gives_nearly_the_same_step():
    losses = []
    for precision in ("float32", "bfloat16"):
        stepper = Stepper(random_sae(), plain_settings(precision=precision), variance=3.0)
        losses.append([float(stepper.step(rows()).loss) for _ in range(5)])
    assert losses[0] == pytest.approx(losses[1], rel=0.03)
    assert losses[0] != losses[1]


@given(st.integers(0, 10_000))
@settings(max_examples=30)
def test_a_threshold_keeps_what_is_above_it_and_0(seed):
    generator = torch.Generator().manual_seed(seed)
    pre = torch.randn(6, 9, generator=generator)
    threshold = torch.randn(9, generator=generator)
    codes = select_above(pre, threshold)
    dense = torch.zeros(6, 9).scatter_add(1, codes.indices, codes.values)
    assert torch.equal(dense, torch.where((pre > threshold) & (pre > 0), pre, 0))
    wide = with_width(codes, 9)
    assert torch.equal(torch.zeros(6, 9).scatter_add(1, wide.indices, wide.values), dense)


def test_an_autoencoder_with_a_threshold_is_silent_below_it():
    sae = SAE(CHANNELS, LATENTS, 3, threshold=torch.tensor(1e9))
    codes = sae.encode(rows())
    assert codes.values.shape == (40, 1)
    assert not codes.values.any()
    assert sae.encode(rows(0)).values.shape == (0, 1)
    torch.testing.assert_close(sae(rows()), sae.b_dec.expand(40, -1))


class Parts(Crew):
    """A crew whose other process is asked in turn: sums and thresholds are known beforehand."""

    def __init__(self, rank, others):
        super().__init__(rank, 2)
        self.others = others

    def threshold(self, largest, count):
        padded = torch.cat([largest, self.others]).relu()
        return padded.topk(count).values.amin()


def test_a_crew_keeps_the_largest_of_the_whole_batch():
    pre = torch.randn(8, 10, generator=torch.Generator().manual_seed(4))
    whole = batch_codes(pre, 12)
    for rank in (0, 1):
        mine, others = pre[rank::2], pre[1 - rank :: 2].flatten()
        border = Parts(rank, others).threshold(mine.flatten().topk(12).values, 12)
        assert torch.equal(torch.where((mine >= border) & (mine > 0), mine, 0), whole[rank::2])


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.0,), (1.0,), (0.8, 0.2), ("half",)])
def test_shares_that_do_not_rise_are_refused(shares):
    with pytest.raises(ValueError, match="matryoshka must be shares that rise between 0 and 1"):
        TrainConfig(matryoshka=shares)
