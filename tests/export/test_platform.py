"""Platforms: each file is sound, and says which targets a board runs."""

from pathlib import Path

import pytest
from onnx import helper

from edgekd.core import catalogue
from edgekd.core.errors import ExportError, UsageError
from edgekd.export.platform import Platform
from edgekd.export.target import HALF_SCALES, Target
from edgekd.lint import operators, run

NAMES = catalogue.names("profiles/platforms")


@pytest.fixture(params=NAMES)
def platform(request: pytest.FixtureRequest) -> Platform:
    return Platform.read(request.param)


def test_ir_version_is_the_oldest_that_holds_the_opset(platform: Platform) -> None:
    opsets = [helper.make_opsetid("", platform.opset)]
    assert platform.ir_version == helper.find_min_ir_version_for(opsets)


def test_every_parser_of_the_platform_reads_the_opset(platform: Platform) -> None:
    for text in platform.tensorrt:
        major, minor = (int(part) for part in text.split("."))
        first, documented, _ = operators.opsets((major, minor))
        assert first <= platform.opset <= documented


def test_types_are_strong_since_tensorrt_10(platform: Platform) -> None:
    majors = {int(text.split(".")[0]) for text in platform.tensorrt}
    assert platform.typing == ("strong" if min(majors) >= 10 else "weak")


def test_what_cannot_be_is_refused_with_the_way_out(platform: Platform) -> None:
    assert ("fp16-scales" in platform.refuses) == (platform.opset < HALF_SCALES)
    assert ("dla" in platform.refuses) == (not platform.accelerated)
    assert set(platform.accelerated) <= set(platform.boards)
    assert all(": export " in reason for reason in platform.refuses.values())


def test_facts_have_sources(platform: Platform) -> None:
    assert set(platform.sources) >= {"versions", "opset"}
    assert "dla" in platform.sources or "dla" in platform.refuses


def test_accelerator_is_reached_up_to_tensorrt_10_7() -> None:
    for platform in map(Platform.read, NAMES):
        for text in platform.tensorrt if platform.accelerated else ():
            assert run.parse(text) <= (10, 7)


@pytest.mark.parametrize(
    ("name", "target", "reason"),
    [
        ("jp4.6", "tensorrt-int8", "compute no INT8: export tensorrt-fp16, or take a newer board"),
        ("jp5.1", "tensorrt-int8-fp16", "opset 17, and FP16 scales came with 19"),
        ("jp6.0", "tensorrt-int8-fp16", "export tensorrt-int8"),
        ("jp7.0", "tensorrt-fp16-dla", "Thor has no accelerator: export tensorrt-fp16"),
        ("jp7.2", "tensorrt-fp16-dla", "stay on JetPack 6.2"),
    ],
)
def test_target_that_a_board_cannot_run_is_refused(name: str, target: str, reason: str) -> None:
    with pytest.raises(ExportError, match=reason):
        Platform.read(name).shape(Target.read(target))


def test_fp16_is_for_every_board(platform: Platform) -> None:
    assert platform.shape(Target.read("tensorrt-fp16")).opset == platform.opset


def test_target_for_processors_is_not_for_a_platform() -> None:
    with pytest.raises(UsageError, match="'onnx-int8' is made for onnxruntime"):
        Platform.read("jp6.2").shape(Target.read("onnx-int8"))


def test_own_file_is_called_after_its_stem_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    built_in = catalogue.locate("profiles/platforms", "jp6.2").read_text()
    path.write_text(built_in)
    assert Platform.read(str(path)).name == "mine"
    path.write_text(built_in.replace("opset =", "opsets ="))
    with pytest.raises(UsageError, match="Did you mean 'opset'"):
        Platform.read(str(path))


def test_unknown_platform_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"no platform is called 'jp6.1'. Did you mean"):
        Platform.read("jp6.1")
