"""What trtexec writes of time: its own layout, plain JSON, and anything at all."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.agent import layer_times, layers
from edgekd.agent.protocol import AgentError


def row(name: str, mean: str = "0.5", share: str = "50") -> str:
    times = f'"timeMs" : 5, "averageMs" : {mean}, "medianMs" : 0.4, "percentage" : {share}'
    return f'{{ "name" : "{name}", {times} }}'


def profile(*rows: str, count: str = "10") -> str:
    return "[\n  " + "\n, ".join([f'{{ "count" : {count} }}', *rows]) + "\n]\n"


def test_a_profile_is_read_as_trtexec_writes_it() -> None:
    found = layers.parse_profile(profile(row("conv1 + relu"), row("fc", mean="1.5e-05")))
    assert found.inferences == 10
    assert found.layers == (("conv1 + relu", 0.5, 0.4, ""), ("fc", 1.5e-05, 0.4, ""))


def test_a_version_that_writes_no_median_is_read_too() -> None:
    text = profile(row("conv1").replace('"medianMs" : 0.4, ', ""))
    assert layers.parse_profile(text).layers == (("conv1", 0.5, None, ""),)


@pytest.mark.parametrize(
    "name", ['a "quoted" layer', "back\\slash", "a }, b", "[ONNX Layer: \x1e]"]
)
def test_names_are_not_escaped(name: str) -> None:
    assert layers.parse_profile(profile(row(name), row("fc"))).layers[0].name == name


def test_what_the_engine_tensorrt_writes_is_read_too() -> None:
    text = json.dumps(layer_times.profile([{"conv": 1.0, "fc": 0.5}, {"conv": 3.0, "fc": 0.5}]))
    found = layers.parse_profile(text)
    assert found == (2, (("conv", 2.0, 2.0, ""), ("fc", 0.5, 0.5, "")))


def test_a_precision_is_read_where_somebody_knew_it() -> None:
    written = {"name": "conv", "averageMs": 1.0, "precision": "fp32 to int8"}
    (found,) = layers.parse_profile(json.dumps([{"count": 1}, written])).layers
    assert found.precision == "fp32 to int8"


@pytest.mark.parametrize("share", ["nan", "-nan", "inf", "NaN"])
def test_a_share_of_a_time_of_zero_does_no_harm(share: str) -> None:
    text = profile(row("conv1", mean="0", share=share))
    assert layers.parse_profile(text).layers[0].mean_ms == 0


@pytest.mark.parametrize("mean", ["nan", "-nan", "inf", "-0.1", "1.2.3", "NaN", "1e999", '"0.5"'])
def test_a_time_that_is_no_number_is_refused(mean: str) -> None:
    with pytest.raises(AgentError):
        layers.parse_profile(profile(row("conv1", mean=mean)))


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{}", "null", "[1]", '[{"count": 3}]', profile(row("a"), count="0"),
        profile(row("a"), count="-1"), profile(row("a"), count="9" * 5000),
        profile(row('a"'), "Segmentation fault"), profile(row("a"))[:-30], "[" * 100000,
        '[{"count": 1}, {"name": 3, "averageMs": 1}]', '[{"count": true}, {"name": "a"}]',
        '[{"count": 1}, {"name": "a", "averageMs": 1, "precision": 8}]',
    ],
)  # fmt: skip
def test_what_is_no_profile_is_refused(text: str) -> None:
    with pytest.raises(AgentError, match="trtexec wrote"):
        layers.parse_profile(text)


def test_times_are_those_of_inferences() -> None:
    entry = {"latencyMs": 3, "computeMs": 2, "h2dMs": 0.5, "d2hMs": 0.5, "startEnqMs": 0}
    found = layers.parse_times(json.dumps([entry, {**entry, "latencyMs": 4}]))
    assert found == ((3, 4), (2, 2), (0.5, 0.5), (0.5, 0.5))


@pytest.mark.parametrize("text", ["", "[]", "[{}]", '[{"latencyMs": 1}]', '{"latencyMs": 1}'])
def test_what_holds_no_times_is_refused(text: str) -> None:
    with pytest.raises(AgentError, match=r"latencyMs|computeMs"):
        layers.parse_times(text)


TEXT = st.text() | st.builds(
    profile,
    st.builds(row, st.text(), st.from_regex(r"[-+.e0-9naif]{1,9}", fullmatch=True)),
    st.builds(row, st.text()),
)


@given(TEXT)
def test_any_text_gives_numbers_or_a_typed_error(text: str) -> None:
    for parse in (layers.parse_profile, layers.parse_times):
        try:
            found = parse(text)
        except AgentError:
            continue
        means = [layer.mean_ms for layer in found.layers] if hasattr(found, "layers") else found[0]
        assert all(math.isfinite(mean) and mean >= 0 for mean in means)


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 100))
def test_a_percentile_lies_among_the_values(values: list[float], percent: float) -> None:
    found = layers.percentile(tuple(values), percent)
    assert min(values) <= found <= max(values) * (1 + 1e-12)


def test_the_median_of_four_lies_between_the_middle_two() -> None:
    assert layers.percentile((4.0, 1.0, 3.0, 2.0), 50) == 2.5
    assert layers.percentile((4.0, 1.0, 3.0, 2.0), 100) == 4
    assert layers.percentile((7.0,), 99) == 7
