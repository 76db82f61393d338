"""The arithmetic of 8-bit numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.core.errors import ExportError
from edgekd.export import numbers

BOUND = st.floats(0, 1e6, width=32)


@given(low=BOUND, high=BOUND, share=st.floats(0, 1))
def test_rounding_costs_at_most_half_a_step_within_the_range(
    low: float, high: float, share: float
) -> None:
    value = np.array([-low + share * (low + high)], np.float32)
    for encode in (numbers.symmetric, numbers.asymmetric):
        encoding = encode(-low, high)
        found = numbers.dequantise(numbers.quantise(value, encoding), encoding)
        # The zero point is rounded too: the ends of an asymmetric range move by half a step.
        steps = 0.5 if encoding.signed or low == 0 or high == 0 else 1.0
        assert abs(found[0] - value[0]) <= steps * encoding.scale * (1 + 1e-3) + 1e-30


@given(low=BOUND, high=BOUND)
def test_zero_is_exact(low: float, high: float) -> None:
    for encoding in (numbers.symmetric(-low, high), numbers.asymmetric(-low, high)):
        zero = np.zeros(1, np.float32)
        assert numbers.dequantise(numbers.quantise(zero, encoding), encoding)[0] == 0


@given(low=BOUND, high=BOUND)
def test_scale_is_a_normal_fp32_number(low: float, high: float) -> None:
    for encoding in (numbers.symmetric(-low, high), numbers.asymmetric(-low, high)):
        assert float(np.float32(encoding.scale)) == encoding.scale
        assert encoding.scale >= np.finfo(np.float32).tiny


def test_values_beyond_the_range_take_its_ends() -> None:
    encoding = numbers.asymmetric(-1.0, 1.55)
    integers = numbers.quantise(np.array([-9.0, 9.0], np.float32), encoding)
    assert (encoding.zero_point, list(integers)) == (100, [0, 255])


def test_rounding_goes_to_the_even_neighbour() -> None:
    encoding = numbers.symmetric(-127.0, 127.0)
    integers = numbers.quantise(np.array([0.5, 1.5, -2.5], np.float32), encoding)
    assert list(integers) == [0, 2, -2]


def test_range_that_excludes_zero_is_widened_to_it() -> None:
    assert numbers.asymmetric(2.0, 5.1).zero_point == 0
    assert numbers.asymmetric(2.0, 5.1).scale == pytest.approx(0.02)


def test_weights_get_a_scale_for_each_channel() -> None:
    weight = np.array([[1.27, -0.5], [0.0, 0.0], [-254.0, 2.0]], np.float32)
    integers, scales = numbers.quantise_weight(weight, axis=0)
    assert scales == pytest.approx([0.01, 1.0, 2.0])
    assert integers.tolist() == [[127, -50], [0, 0], [-127, 1]]


def test_one_scale_serves_all_channels_without_an_axis() -> None:
    integers, scales = numbers.quantise_weight(np.array([[1.27], [0.5]], np.float32), axis=None)
    assert scales.shape == ()
    assert integers.tolist() == [[127], [50]]


@given(st.lists(st.floats(-100, 100, width=32), min_size=2, max_size=8))
def test_two_products_of_seven_bit_weights_fit_into_sixteen_bits(values: list[float]) -> None:
    integers, _ = numbers.quantise_weight(np.array([values], np.float32), axis=0, bits=7)
    largest = np.sort(np.abs(integers.astype(int)).reshape(-1))[-2:].sum() * 255
    assert largest <= 2**15 - 1


def test_half_scales_are_normal_numbers_of_fp16() -> None:
    scales = np.array([0.1, 2.0**-20, 0.0, 65504], np.float32)
    found = numbers.half_scale(scales)
    assert found.dtype == np.float32
    assert found.tolist() == [float(np.float16(0.1)), 2.0**-14, 2.0**-14, 65504]


def test_scale_beyond_fp16_is_refused_with_the_way_out() -> None:
    with pytest.raises(ExportError, match=r"6.55e\+04 is beyond FP16's 65504: .* tensorrt-int8"):
        numbers.half_scale(np.array([65536], np.float32))


@given(st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=20))
def test_weights_are_rounded_in_the_steps_that_fp16_holds(values: list[float]) -> None:
    weight = np.array([values], np.float32)
    integers, scales = numbers.quantise_weight(weight, 0, half=True)
    assert (scales.astype(np.float16).astype(np.float32) == scales).all()
    # The scale is rounded after the largest weight set it: that may cost half a thousandth.
    error = np.abs(integers * scales[0] - weight).max()
    assert error <= scales[0] / 2 + np.abs(weight).max() * 2.0**-11 + 1e-7
