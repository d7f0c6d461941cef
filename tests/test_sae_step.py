import pytest
import torch

from saers.codes import Codes
from saers.sae.config import TrainConfig
from saers.sae.module import SAE, decode_sparse
from saers.sae.sparse import (
    decode_recorded,
    group_by_latent,
    keep_rows,
    remove_parallel,
    unit_rows,
)
from saers.sae.step import Stepper, keep_largest

CHANNELS, LATENTS, K = 6, 15, 4


def rows(count=40, seed=3):
    return torch.randn(count, CHANNELS, generator=torch.Generator().manual_seed(seed)) + 0.5


def random_sae(*, layer_norm=False, unit=False):
    generator = torch.Generator().manual_seed(1)
    sae = SAE(CHANNELS, LATENTS, K, layer_norm=layer_norm)
    with torch.no_grad():
        for weight in sae.parameters():
            weight.normal_(generator=generator)
        if unit:
            unit_rows(sae.W_dec)
    return sae


def settings(**changes):
    plain = {
        "k": K,
        "n_latents": LATENTS,
        "steps": 100,
        "batch_size": 40,
        "clip": None,
        "unit_decoder": False,
        "aux_coefficient": 0.0,
        "warmup": 0,
        "dead_window": 60,
    }
    return TrainConfig(**(plain | changes)).resolve(CHANNELS)


def written_gradients(sae, config, x, *, variance=3.0, idle=None):
    """Gradients of the step under test; the weights are changed afterwards only."""
    stepper = Stepper(sae, config, variance=variance)
    if idle is not None:
        stepper.idle.copy_(idle)
    seen = []
    step = stepper.optimizer.step
    stepper.optimizer.step = lambda: (
        seen.extend(weight.grad.clone() for weight in sae.parameters()),
        step(),
    )
    return seen, stepper.step(x)


def main_loss(sae, x, unit):
    return (sae(x) - x).square().sum() / (unit * len(x))


def auxiliary_loss(sae, x, dead, variance, coefficient, aux_k):
    """AuxK from its definition: dead latents fit the residual, few at a position, no b_dec."""
    pre = (x - sae.b_dec) @ sae.W_enc + sae.b_enc
    residual = (x - sae(x)).detach()
    values, order = pre[:, dead].relu().topk(min(aux_k, len(dead)), dim=1)
    fitted = torch.zeros(len(x), len(dead)).scatter(1, order, values) @ sae.W_dec[dead]
    return coefficient * (fitted - residual).square().sum() / (variance * len(x))


def assert_gradients(sae, seen, loss):
    expected = torch.autograd.grad(loss, list(sae.parameters()))
    for found, wanted in zip(seen, expected, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("loss, unit", [("fvu", 3.0), ("mse", float(CHANNELS))])
@pytest.mark.parametrize("layer_norm", [False, True])
def test_written_gradients_are_those_of_autograd(loss, unit, layer_norm):
    sae, twin = random_sae(layer_norm=layer_norm), random_sae(layer_norm=layer_norm)
    changes = {"layer_norm": layer_norm, "normalize": "none"}
    seen, report = written_gradients(sae, settings(loss=loss, **changes), rows())
    expected = main_loss(twin, rows(), unit)
    assert_gradients(twin, seen, expected)
    torch.testing.assert_close(report.loss, expected.detach())


@pytest.mark.parametrize("n_dead", [1, 2, 9])
def test_written_gradients_of_dead_latents_are_those_of_autograd(n_dead):
    sae, twin = random_sae(), random_sae()
    idle = torch.zeros(LATENTS, dtype=torch.int64)
    idle[-n_dead:] = 61
    config = settings(aux_coefficient=0.25, aux_k=2)
    seen, report = written_gradients(sae, config, rows(), idle=idle)
    aux = auxiliary_loss(twin, rows(), torch.arange(LATENTS - n_dead, LATENTS), 3.0, 0.25, 2)
    assert report.dead == n_dead
    torch.testing.assert_close(report.aux_loss, aux.detach())
    assert_gradients(twin, seen, main_loss(twin, rows(), 3.0) + aux)


def test_clipping_bounds_the_gradient_and_reports_its_length_before():
    seen, report = written_gradients(random_sae(), settings(clip=0.01), rows())
    length = torch.stack([gradient.norm() for gradient in seen]).norm()
    assert float(length) == pytest.approx(0.01, rel=1e-3)
    assert report.gradient_norm > 0.01


def test_decoder_rows_stay_at_length_1_and_their_gradient_is_across():
    sae = random_sae(unit=True)
    before = sae.W_dec.detach().clone()
    seen, _ = written_gradients(sae, settings(unit_decoder=True), rows())
    gradient = dict(zip(dict(sae.named_parameters()), seen, strict=True))["W_dec"]
    torch.testing.assert_close((gradient * before).sum(1), torch.zeros(LATENTS), atol=1e-5, rtol=0)
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.ones(LATENTS))
    assert not torch.equal(sae.W_dec, before)


def test_a_latent_is_dead_once_no_value_above_a_thousandth_came_for_the_window():
    sae = random_sae()
    with torch.no_grad():
        sae.b_enc[2] = -1000.0
    stepper = Stepper(sae, settings(aux_coefficient=0.1, dead_window=60), variance=3.0)
    dead = [stepper.step(rows()).dead for _ in range(3)]
    assert dead[0] == 0
    assert dead[2] >= 1
    assert int(stepper.idle[2]) == 120


def test_a_selected_latent_of_value_0_does_not_count_as_active():
    sae = random_sae()
    with torch.no_grad():
        sae.encoder.zero_()
        sae.b_enc.fill_(-1.0)
    stepper = Stepper(sae, settings(), variance=3.0)
    report = stepper.step(rows())
    assert report.active == 0
    assert (stepper.idle == 40).all()


def test_the_optimiser_is_adam_as_torch_has_it():
    sae, twin = random_sae(), random_sae()
    config = settings(learning_rate=0.01, decay_fraction=0.0)
    stepper = Stepper(sae, config, variance=3.0)
    plain = torch.optim.Adam(twin.parameters(), lr=0.01, eps=config.adam_epsilon)
    for seed in range(4):
        stepper.step(rows(seed=seed))
        plain.zero_grad()
        main_loss(twin, rows(seed=seed), 3.0).backward()
        plain.step()
    for name, weight in sae.state_dict().items():
        torch.testing.assert_close(weight, twin.state_dict()[name], atol=1e-4, rtol=1e-3)


def sum_by_latent(indices, x, weights):
    where = torch.arange(len(indices)).repeat_interleave(indices.shape[1])
    return group_by_latent(indices.flatten(), 30).sum(x, weights.flatten(), where)


def test_threads_do_not_change_the_sparse_gradients():
    generator = torch.Generator().manual_seed(0)
    indices = torch.rand(500, 30, generator=generator).topk(5).indices
    weights, x = torch.rand(500, 5, generator=generator), torch.rand(500, 7, generator=generator)
    before = torch.get_num_threads()
    try:
        sums = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            sums.append(sum_by_latent(indices, x, weights))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(sums[0], sums[1])
    assert torch.equal(sums[0], sums[2])


def test_groups_sum_as_the_dense_product_does():
    generator = torch.Generator().manual_seed(5)
    indices = torch.rand(50, 30, generator=generator).topk(5).indices
    weights, x = torch.rand(50, 5, generator=generator), torch.rand(50, 7, generator=generator)
    dense = torch.zeros(50, 30).scatter(1, indices, weights)
    torch.testing.assert_close(sum_by_latent(indices, x, weights), dense.T @ x)


def test_recorded_decoding_is_the_decoding():
    codes = Codes(torch.tensor([[0, 2], [1, 2]]), torch.tensor([[1.0, 0.0], [3.0, 4.0]]))
    table = torch.arange(12.0).reshape(3, 4)
    kept = keep_rows(codes.values, codes.indices, torch.tensor([3]))
    decoding = decode_recorded(kept, table, 2)
    assert torch.equal(decoding.output, decode_sparse(codes, table))
    assert decoding.value_gradient(torch.ones(2, 4)).tolist() == [6.0, 0.0, 22.0, 38.0]


def test_remove_parallel_leaves_what_is_across():
    gradient = torch.tensor([[1.0, 1.0]])
    remove_parallel(torch.tensor([[1.0, 0.0]]), gradient)
    assert gradient.tolist() == [[0.0, 1.0]]


def test_a_row_of_zeros_stays_when_rows_are_scaled():
    table = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    unit_rows(table)
    assert table.tolist() == [[0.0, 0.0], pytest.approx([0.6, 0.8])]


def test_keep_largest_keeps_all_where_there_are_few():
    values = torch.tensor([[1.0, 0.0]])
    assert torch.equal(keep_largest(values, 5), values)


def test_a_configuration_that_is_not_resolved_is_refused():
    with pytest.raises(ValueError, match="not resolved"):
        Stepper(random_sae(), TrainConfig(), variance=1.0)
