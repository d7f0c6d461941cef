import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saers.codes import Codes
from saers.sae.module import ENCODE_ROWS, SAE, decode_sparse, select


def random_sae(channels=6, latents=20, k=4, *, layer_norm=False, seed=0):
    generator = torch.Generator().manual_seed(seed)
    sae = SAE(channels, latents, k, layer_norm=layer_norm)
    with torch.no_grad():
        for weight in sae.parameters():
            weight.normal_(generator=generator)
    return sae.requires_grad_(False)


def rows(count, channels=6, seed=1):
    return torch.randn(count, channels, generator=torch.Generator().manual_seed(seed))


def dense_codes(codes, latents):
    return torch.zeros(len(codes.values), latents).scatter_add_(1, codes.indices, codes.values)


def brute_force_codes(sae, x):
    dense = torch.zeros(len(x), sae.latents)
    for i, row in enumerate(x):
        values = [
            (max(0.0, float((row - sae.b_dec) @ sae.W_enc[:, j] + sae.b_enc[j])), -j)
            for j in range(sae.latents)
        ]
        for value, j in sorted(values, reverse=True)[: sae.k]:
            dense[i, -j] = value
    return dense


def test_encode_agrees_with_brute_force():
    sae, x = random_sae(), rows(30)
    found = dense_codes(sae.encode(x), sae.latents)
    torch.testing.assert_close(found, brute_force_codes(sae, x), atol=1e-5, rtol=1e-5)


def test_decode_agrees_with_the_dense_product():
    sae, x = random_sae(), rows(30)
    codes = sae.encode(x)
    expected = dense_codes(codes, sae.latents) @ sae.W_dec + sae.b_dec
    torch.testing.assert_close(sae.decode(codes), expected, atol=1e-5, rtol=1e-5)


def test_every_position_has_exactly_k_different_latents_even_where_few_are_positive():
    sae = random_sae(k=7)
    sae.b_enc.fill_(-4.0)
    codes = sae.encode(rows(50))
    assert codes.indices.shape == codes.values.shape == (50, 7)
    assert codes.indices.dtype == torch.int64
    assert (codes.values >= 0).all()
    assert (codes.values == 0).any()
    assert all(len(set(row)) == 7 for row in codes.indices.tolist())


def test_negative_values_are_never_kept():
    values, _ = select(-torch.rand(5, 9) - 0.1, 3)
    assert (values == 0).all()


def test_many_rows_are_encoded_as_few_are():
    count = ENCODE_ROWS["cpu"] + 3
    sae, x = random_sae(), rows(count)
    whole, part = sae.encode(x), sae.encode(x[-3:])
    assert len(whole.values) == count
    torch.testing.assert_close(
        dense_codes(Codes(whole.indices[-3:], whole.values[-3:]), 20), dense_codes(part, 20)
    )


def test_no_rows_give_no_codes():
    sae = random_sae()
    codes = sae.encode(torch.zeros(0, 6))
    assert codes.indices.shape == (0, 4)
    assert sae(torch.zeros(0, 6)).shape == (0, 6)


@given(
    seed=st.integers(0, 2**31),
    shift=st.floats(-5, 5),
    spread=st.floats(0.05, 20),
    layer_norm=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_folded_weights_do_what_mapping_the_input_does(seed, shift, spread, layer_norm):
    generator = torch.Generator().manual_seed(seed)
    sae = random_sae(layer_norm=layer_norm, seed=seed % 1000)
    centre = torch.zeros(6) if layer_norm else torch.randn(6, generator=generator) + shift
    scale = (torch.rand(6, generator=generator) + 0.1) * spread
    u = torch.randn(20, 6, generator=generator)
    x = u * scale + centre
    folded = sae.fold(centre, scale)
    torch.testing.assert_close(
        dense_codes(folded.encode(x), 20), dense_codes(sae.encode(u), 20), atol=5e-3, rtol=5e-3
    )
    torch.testing.assert_close(folded(x), sae(u) * scale + centre, atol=1e-2, rtol=5e-3)


def test_folding_leaves_the_original_alone():
    sae = random_sae()
    before = sae.W_dec.clone()
    sae.fold(torch.ones(6), torch.full((6,), 3.0))
    assert torch.equal(sae.W_dec, before)


def test_layer_norm_standardises_each_position_and_undoes_it():
    sae = random_sae(layer_norm=True)
    x = rows(10)
    torch.testing.assert_close(sae(x * 3 + 7), sae(x) * 3 + 7, atol=1e-2, rtol=1e-3)
    inner = sae.enter(x).inner
    torch.testing.assert_close(inner.mean(dim=1), torch.zeros(10), atol=1e-5, rtol=0)


def test_codes_carry_gradients_to_the_input():
    sae, x = random_sae(), rows(3).requires_grad_()
    sae(x).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


def test_encoder_weights_are_channels_by_latents():
    sae = random_sae()
    assert sae.W_enc.shape == (6, 20)
    assert sae.W_dec.shape == (20, 6)


def test_k_above_the_latents_is_refused():
    with pytest.raises(ValueError, match=r"k must lie in 1\.\.8, got 9"):
        SAE(4, 8, 9)


def test_input_of_other_width_is_refused():
    with pytest.raises(ValueError, match=r"x must be \(n, 6\), got \(2, 5\)"):
        random_sae().encode(torch.zeros(2, 5))


def test_decode_sparse_counts_a_value_of_zero_as_nothing():
    codes = Codes(torch.tensor([[0, 1]]), torch.tensor([[0.0, 2.0]]))
    assert decode_sparse(codes, torch.tensor([[9.0], [3.0]])).tolist() == [[6.0]]


@given(st.integers(0, 10_000), st.integers(1, 400), st.floats(0, 1))
@settings(max_examples=60)
def test_the_kernel_selects_what_torch_selects(seed, latents, share):
    generator = torch.Generator().manual_seed(seed)
    pre = torch.randn(9, latents, generator=generator)
    k = 1 + int(share * (latents - 1))
    values, indices = select(pre, k)
    most, where = torch.topk(pre, k, dim=1)
    expected = torch.zeros_like(pre).scatter(1, where, most.relu())
    assert torch.equal(torch.zeros_like(pre).scatter(1, indices, values), expected)
    assert all(len(set(row)) == k for row in indices.tolist())


def test_of_equal_values_the_first_latents_are_kept_on_any_number_of_threads():
    pre = torch.ones(300, 40)
    pre[:, 7] = 2
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            _, indices = select(pre, 3)
            assert (indices == torch.tensor([0, 1, 7])).all()
    finally:
        torch.set_num_threads(before)


def test_nan_comes_through_the_selection():
    pre = torch.zeros(2, 50)
    pre[1, 33] = torch.nan
    values, _ = select(pre, 4)
    assert not values[0].isnan().any()
    assert values[1].isnan().any()


def test_gradients_pass_through_the_selection():
    pre = torch.randn(5, 20, requires_grad=True)
    values, _ = select(pre, 3)
    values.sum().backward()
    assert int((pre.grad != 0).sum()) == int((values > 0).sum())


def test_rows_that_do_not_lie_side_by_side_are_selected_from():
    pre = torch.randn(40, 6, generator=torch.Generator().manual_seed(0)).T
    values, _ = select(pre, 5)
    assert torch.equal(values.sort(1).values, pre.topk(5).values.relu().sort(1).values)
