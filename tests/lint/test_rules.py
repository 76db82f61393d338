"""Every rule sees what it is about, and lets a sound graph pass."""

from collections.abc import Iterator

import numpy as np
import onnx
import pytest
from onnx import helper

from edgekd.lint import run
from edgekd.lint.model import Graph
from edgekd.lint.rule import Hit
from tests.lint.cases import BAD, ELSEWHERE, GOOD, RULES, integers, opset, plain
from tests.lint.graphs import Net, half, sound


def hits(rule: str, net: Net, trt: tuple[int, int] = (10, 3), **options: bool) -> list[Hit]:
    graph = Graph(net.model(), **options)
    return list(RULES[rule].check(graph.at(trt)))


@pytest.mark.parametrize("case", BAD)
def test_the_rule_sees(case: str) -> None:
    assert hits(case[:4], BAD[case]())


@pytest.mark.parametrize("case", GOOD)
def test_the_rule_lets_pass(case: str) -> None:
    assert hits(case[:4], GOOD[case]()) == []


def test_every_rule_is_seen_at_work() -> None:
    assert {case[:4] for case in BAD} | ELSEWHERE == set(RULES)


def test_a_wrong_note_of_a_size_is_a_warning() -> None:
    model = Net().node("Relu", "x", "z").node("Relu", "z", "y").model()
    model.graph.value_info.append(helper.make_tensor_value_info("z", 1, [1, 5, 8, 8]))
    found = list(RULES["T012"].check(Graph(model)))
    assert [(hit.node, hit.severity) for hit in found] == [("z", "warning")]


def test_what_follows_from_a_fault_is_not_told() -> None:
    net = Net().node("MatMul", "x", "z").node("Relu", "z", "y")
    assert [hit.node for hit in hits("T012", net)] == ["z"]


def test_sizes_are_inferred_once_for_all_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, infer, seen = Graph(sound().model()), onnx.shape_inference.infer_shapes, []
    monkeypatch.setattr(
        onnx.shape_inference, "infer_shapes", lambda *a, **k: seen.append(0) or infer(*a, **k)
    )
    run.lint(graph, run.USUAL)
    assert len(seen) == 1


def test_a_model_called_int8_must_be_quantised() -> None:
    assert hits("Q023", plain("Relu"), labelled_int8=True)
    assert not hits("Q023", plain("Relu"))
    assert not hits("Q023", sound(), labelled_int8=True)


def test_the_accelerator_takes_neither_dynamic_nor_large_sizes() -> None:
    for shape in ((None, 3, 8, 8), (5000, 3, 8, 8), (1, 3, 9000, 8)):
        net = Net(shape=shape).node("Relu", "x", "y")
        assert hits("D001", net, dla=True)
        assert not hits("D001", net)
    assert not hits("D001", plain("Relu"), dla=True)


def test_the_accelerator_reads_quantised_graphs_since_10_8() -> None:
    assert hits("D001", sound(), (10, 7), dla=True)
    assert not hits("D001", sound(), (10, 8), dla=True)


def test_the_accelerator_computes_no_floats_in_a_strongly_typed_network() -> None:
    net = Net().floats("w", 16, 16, 3, 3).node("Conv", "x w", "y")
    assert hits("D001", net, (11, 0), dla=True)
    assert not hits("D001", net, (10, 3), dla=True)
    assert not hits("D001", half(), (11, 0), dla=True)


def test_the_accelerator_wants_a_scale_for_each_tensor() -> None:
    net = sound()
    assert [hit.tensor for hit in hits("D002", net, dla=True)] == ["c2"]  # added unquantised
    assert not hits("D002", net)


@pytest.mark.parametrize(("kind", "count"), [("PRelu", 1), ("Flatten", 1), ("Min", 0)])
def test_a_scale_is_wanted_behind_what_runs_on_the_accelerator(kind: str, count: int) -> None:
    net = Net().pair("x", "xq").put("more", 0.1)
    net.node(kind, "xq" if kind == "Flatten" else "xq more", "bare").node("Relu", "bare", "r")
    net.node("Neg", "bare", "y")
    assert [hit.tensor for hit in hits("D002", net, dla=True)] == ["bare"] * count


def test_copies_of_integers_and_of_weights_want_no_scale_on_the_accelerator() -> None:
    net = Net().conv("x", "c1")
    net.put("s", 0.1).put("z", 0, np.int8).node("QuantizeLinear", "c1 s z", "q")
    net.node("Transpose", "q", "t").node("DequantizeLinear", "t s z", "d")
    net.floats("w", 8, 8).node("Transpose", "w", "wt").node("MatMul", "d wt", "y")
    assert hits("D002", net, dla=True) == []


def severities(rule: str, net: Net, trt: tuple[int, int]) -> set[str]:
    return {hit.severity or RULES[rule].severity_at(trt) for hit in hits(rule, net, trt)}


@pytest.mark.parametrize(
    ("case", "trt", "expected"),
    [
        ("Q002 uint8", (10, 9), {"error"}),
        ("Q002 uint8", (10, 10), {"warning"}),
        ("Q002 missing", (8, 5), {"warning"}),
        ("Q002 int16", (11, 4), {"error"}),
        ("Q006 conv", (10, 3), {"error"}),
        ("Q006 in groups", (10, 3), {"warning"}),
        ("T001 later", (10, 14), set()),
        ("T002 early", (8, 5), set()),
        ("T005", (10, 3), {"error"}),
        ("T005 cubic", (10, 3), {"warning"}),
        ("T007", (10, 3), {"warning"}),
        ("T007 batch", (10, 3), {"info"}),
        ("T009", (10, 3), {"warning"}),
    ],
)
def test_severity_depends_on_the_version_and_on_what_was_found(
    case: str, trt: tuple[int, int], expected: set[str]
) -> None:
    assert severities(case[:4], BAD[case](), trt) == expected


@pytest.mark.parametrize(
    ("number", "trt", "expected"),
    [
        (17, (8, 5), set()),
        (18, (8, 6), {"error"}),
        (20, (10, 1), set()),
        (21, (10, 1), {"error"}),
        (21, (10, 13), {"warning"}),
        (24, (10, 15), set()),
    ],
)
def test_later_versions_read_later_opsets(
    number: int, trt: tuple[int, int], expected: set[str]
) -> None:
    assert severities("T002", opset(number), trt) == expected


def test_integers_of_64_bits_are_cast_only_before_version_9() -> None:
    large = integers(np.int64, 2**40)
    assert hits("T006", large, (8, 6))
    assert not hits("T006", large, (9, 0))


def test_small_integers_of_64_bits_are_no_loss_in_32() -> None:
    assert not hits("T006", integers(np.int64, 2**31 - 1), (8, 6))


@pytest.mark.parametrize(
    ("inputs", "outputs", "group", "first", "small"),
    [
        (3, 8, 1, True, False),  # the first layer may be narrow
        (3, 12, 1, True, True),
        (8, 8, 1, False, True),
        (8, 16, 1, False, False),
        (9, 16, 1, False, False),
        (9, 18, 1, False, True),
        (16, 16, 1, False, False),
        (17, 17, 1, False, False),
        (8, 8, 8, False, False),  # each channel for itself
        (12, 12, 12, False, True),
    ],
)
def test_small_convolutions_are_those_that_tensor_cores_do_not_speed_up(
    inputs: int, outputs: int, group: int, *, first: bool, small: bool
) -> None:
    net = Net(shape=(1, inputs, 8, 8))
    start = "x" if first else "r"
    net.node("Relu", "x", "r").conv(start, "y", inputs, outputs, group=group)
    assert bool(hits("Q021", net)) == small


@pytest.mark.parametrize(
    ("shape", "turned", "small"),
    [((16, 16), 0, False), ((16, 10), 0, True), ((10, 16), 1, True), ((15, 16), 0, True)],
)
def test_small_linear_layers_have_fewer_than_16_inputs_or_outputs(
    shape: tuple[int, int], turned: int, *, small: bool
) -> None:
    net = Net(shape=(1, shape[turned])).pair("x", "xq").weights("w", *shape, axis=1 - turned)
    assert bool(hits("Q021", net.node("Gemm", "xq w", "y", transB=turned))) == small


def test_a_float_layer_that_is_small_is_no_loss() -> None:
    net = sound().floats("w2", 12, 12, 3, 3)
    assert hits("Q014", net.node("Conv", "y w2", "z")) == []


def test_an_axis_needs_opset_13_even_with_one_scale() -> None:
    net = Net(opset=12).pair("x", "y")
    assert not hits("Q010", net)
    net.find("y").attribute.append(helper.make_attribute("axis", 0))
    assert hits("Q010", net)


@pytest.mark.parametrize(("trt", "expected"), [((10, 9), {"error"}), ((10, 10), {"warning"})])
def test_unsigned_weights_without_zero_point_are_read_since_10_10(
    trt: tuple[int, int], expected: set[str]
) -> None:
    net = Net().put("w", [[3]], np.uint8).put("s", 0.1).node("DequantizeLinear", "w s", "y")
    assert severities("Q008", net, trt) == expected


def test_the_remarks_name_depthwise_and_outer_layers_alone() -> None:
    net = Net().conv("x", "a", group=16).conv("a", "b").floats("w", 16, 16, 3, 3)
    messages = [(hit.node, hit.message) for hit in hits("Q022", net.node("Conv", "b w", "y"))]
    assert messages == [
        ("a", "a depthwise convolution is quantised"),
        ("a", "the first layer is quantised"),
        ("y", "the last layer is float"),
    ]


def test_a_shortcut_through_a_quantised_convolution_is_fused() -> None:
    net = Net().conv("x", "main").conv("x", "down").pair("down", "skip")
    assert hits("Q017", net.node("Add", "main skip", "y")) == []


def test_the_wrong_axis_is_named_with_the_right_one() -> None:
    (hit,) = hits("Q006", BAD["Q006 conv"]())
    assert hit.message == "scales along axis 1 of the weights of Conv, where 0 was expected"


def test_operators_inside_branches_are_judged() -> None:
    inner = helper.make_graph(
        [helper.make_node("Det", ["x"], ["d"], "inside")], "then", [],
        [helper.make_tensor_value_info("d", 1, None)],
    )  # fmt: skip
    net = Net().put("c", [True], np.bool_)
    net.node("If", "c", "y", then_branch=inner, else_branch=inner)
    assert {hit.node for hit in hits("T001", net)} == {"inside"}


def test_a_local_function_is_known_and_its_body_judged() -> None:
    model = plain("Mine", domain="local").model()
    body = [helper.make_node("Det", ["a"], ["b"], "inside")]
    opsets = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("local", "Mine", ["a"], ["b"], body, opsets))
    found = list(RULES["T001"].check(Graph(model)))
    assert [hit.node for hit in found] == ["inside"]


def test_integers_may_pass_through_copies_before_they_are_dequantised() -> None:
    net = Net().put("s", 0.1).put("z", 0, np.int8).node("QuantizeLinear", "x s z", "q")
    net.node("MaxPool", "q", "p", kernel_shape=[2, 2]).node("DequantizeLinear", "p s z", "y")
    assert hits("Q012", net) == []


def every_case() -> Iterator[Net]:
    for make in [*BAD.values(), *GOOD.values()]:
        yield make()


def test_no_rule_stumbles_over_the_faults_of_another() -> None:
    for net in every_case():
        graph = Graph(net.model(), labelled_int8=True, dla=True)
        for rule in RULES.values():
            for trt in ((8, 5), (11, 4)):
                list(rule.check(graph.at(trt)))
