"""saers.layer: geometry of a layer, and checks of what sources give."""

import numpy as np
import pytest

from saers import FormatError
from saers.layer import LayerInfo, check_finite, check_windows

CONV1D_1 = LayerInfo("conv1d_1", channels=608, stride=2, window_lo=11, window_hi=12)


def test_the_receptive_field_counts_both_ends():
    assert CONV1D_1.receptive_field == 24
    assert LayerInfo("conv", 1, 1, 0, 0).receptive_field == 1


def test_intervals_are_half_open_and_shift_by_the_stride():
    where = CONV1D_1.interval(np.arange(4), 100)
    assert (where[:, 1] - where[:, 0] == 24).all()
    assert where[:, 0].tolist() == [89, 91, 93, 95]


def test_a_position_is_inside_when_all_it_sees_is():
    seen = CONV1D_1.interval(np.arange(50), 0)
    brute = [all(0 <= base < 100 for base in range(*pair)) for pair in seen.tolist()]
    assert CONV1D_1.inside(50, 100).tolist() == brute


def test_a_crop_gives_a_negative_lower_end():
    cropped = LayerInfo("crop", channels=1, stride=1, window_lo=-3, window_hi=5)
    assert cropped.receptive_field == 3
    assert cropped.interval(np.array([0]), 0).tolist() == [[3, 6]]


@pytest.mark.parametrize("channels, stride, lo, hi", [(0, 1, 0, 0), (1, 0, 0, 0), (1, 1, -2, 1)])
def test_a_layer_without_extent_is_refused(channels, stride, lo, hi):
    with pytest.raises(ValueError, match="must have channels, a stride and a window"):
        LayerInfo("x", channels, stride, lo, hi)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_bad_activation_is_named_with_window_position_and_channel(bad):
    values = np.zeros((3, 4, 5), np.float32)
    values[1, 2, 3] = bad
    with pytest.raises(FormatError, match=r"a\.h5: .* in window 8, position 2, channel 3 \(1 such"):
        check_finite(values, np.array([7, 8, 9]), where="a.h5")


def test_opposite_infinities_do_not_cancel():
    values = np.zeros((1, 2, 1), np.float32)
    values[0, :, 0] = np.inf, -np.inf
    with pytest.raises(FormatError, match="2 such values"):
        check_finite(values, np.array([0]), where="a.h5")


def test_large_finite_activations_are_no_error():
    check_finite(np.full((2, 100, 10), np.finfo(np.float32).max), np.arange(2), where="a")


def test_chosen_windows_keep_their_order():
    assert check_windows([4, 0], 5).tolist() == [4, 0]
    with pytest.raises(ValueError, match=r"windows must lie in 0\.\.4, got 5"):
        check_windows([0, 5], 5)
