"""Export targets, built in and one's own."""

from pathlib import Path

import pytest

from edgekd.core import catalogue
from edgekd.core.errors import UsageError
from edgekd.export.target import Target


@pytest.mark.parametrize("name", catalogue.names("export"))
def test_built_in_target_can_be_read(name: str) -> None:
    target = Target.read(name)
    assert target.name == name
    assert target.description
    assert target.runs_on


def test_int8_for_processors_cannot_overflow_sixteen_bits() -> None:
    assert Target.read("onnx-int8").quantise.weight_bits == 7


def test_tensorrt_target_has_a_fixed_batch_and_an_opset_that_jetpack_5_reads() -> None:
    target = Target.read("tensorrt-int8")
    assert (target.batch, target.opset) == (1, 17)


def test_own_file_is_called_after_its_stem(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('precision = "fp32"\nopset = 17\ntolerance = 0.1\n')
    assert Target.read(str(path)).name == "mine"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('precison = "int8"', "Did you mean 'precision'"),
        ('form = "tensorrt"', "form must be given with precision 'int8'"),
        ("opset = 12", "opset: Input should be greater than or equal to 13"),
        ('file = "../model.onnx"', "file: String should match pattern"),
        ("batch = 0", "batch: 0 is no batch: write a number from 1 on, or 'dynamic'"),
        ('batch = "8"', "batch: '8' is no batch: write a number from 1 on"),
        ('rest = "fp16"', "rest = 'fp16' needs form = 'tensorrt' and opset >= 19"),
        ("dla = true", "dla needs precision 'fp16' and a fixed batch"),
        ("profile = [4, 2, 8]", "fewest, usual and most"),
        ("[quantise]\nweight_bits = 4", "quantise.weight_bits: Input should be 7 or 8"),
    ],
)
def test_mistake_in_a_target_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    path = tmp_path / "mine.toml"
    wanted = {"precision": '"fp32"', "opset": "17", "tolerance": "0.1"}
    wanted.pop(line.partition(" ")[0], None)
    path.write_text("\n".join([*(f"{key} = {value}" for key, value in wanted.items()), line]))
    with pytest.raises(UsageError) as caught:
        Target.read(str(path))
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("text", "batch", "profile"),
    [("8", 8, (1, 8, 32)), ("dynamic", "dynamic", (1, 8, 32)), ("2:4:6", "dynamic", (2, 4, 6))],
)
def test_batch_can_be_chosen(text: str, batch: int | str, profile: tuple[int, ...]) -> None:
    target = Target.read("tensorrt-int8").at_batch(text)
    assert (target.batch, target.profile) == (batch, profile)


@pytest.mark.parametrize("text", ["", "many", "1:2", "-1", "0", "4:2:6", "1.5", "²"])
def test_batch_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="batch"):
        Target.read("tensorrt-int8").at_batch(text)


@pytest.mark.parametrize("text", ["0", "0:1:2"])
def test_a_batch_of_none_is_told_in_the_words_of_the_option(text: str) -> None:
    with pytest.raises(UsageError, match=f"'{text}' is no batch: write a number from 1 on"):
        Target.read("tensorrt-int8").at_batch(text)


def test_the_accelerator_takes_no_dynamic_batch() -> None:
    target = Target.read("tensorrt-fp16-dla")
    assert target.at_batch("4").batch == 4
    with pytest.raises(UsageError, match="dla needs precision 'fp16' and a fixed batch"):
        target.at_batch("dynamic")


def test_unknown_target_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="Did you mean 'tensorrt-int8"):
        Target.read("tensorrt-int4")
