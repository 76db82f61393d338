"""Values, enumerations, callbacks and arguments of the stand-in for TensorRT."""

import os
import subprocess
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.standins.networks import Log
from tests.standins.standin import HERE


def test_an_unknown_version_cannot_be_imported() -> None:
    environment = {**os.environ, "PYTHONPATH": str(HERE), "EDGEKD_STANDIN_TRT": "9.9"}
    done = subprocess.run(
        [sys.executable, "-c", "import tensorrt"],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "must be one of" in done.stderr


def test_the_parent_folder_on_the_path_makes_it_importable() -> None:
    environment = {**os.environ, "PYTHONPATH": str(HERE), "EDGEKD_STANDIN_TRT": "10.3.0"}
    done = subprocess.run(
        [sys.executable, "-c", "import tensorrt; print(tensorrt.__version__)"],
        check=True,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "10.3.0\n"


def test_the_product_knows_nothing_of_stand_ins() -> None:
    sources = list((HERE.parents[1] / "edgekd").rglob("*.py"))
    assert len(sources) > 100
    assert not [path for path in sources if "standin" in path.read_text().lower()]


def test_an_enumerator_is_a_number_only_by_int(trt: ModuleType) -> None:
    flag, other = trt.BuilderFlag.TF32, trt.BuilderFlag.DEBUG
    assert 1 << int(flag) == 1 << flag.value
    with pytest.raises(TypeError, match="unsupported operand"):
        1 << flag
    with pytest.raises(TypeError, match="unsupported operand"):
        flag | other
    assert flag != int(flag)
    assert flag == trt.BuilderFlag(int(flag))
    assert {flag: "found"}[trt.BuilderFlag(int(flag))] == "found"


def test_an_enumerator_reads_like_one_of_pybind11(trt: ModuleType) -> None:
    assert str(trt.float16) == "DataType.HALF"
    assert repr(trt.float16) == "<DataType.HALF: 1>"
    assert repr(trt.DataType(600)) == "<DataType.???: 600>"


def test_a_removed_enumerator_is_an_attribute_error(trt: ModuleType, version: str) -> None:
    assert hasattr(trt.BuilderFlag, "INT8") == (version != "11.4.0")
    with pytest.raises(AttributeError, match=r"^type object '.*BuilderFlag' has no attribute 'X'$"):
        _ = trt.BuilderFlag.X


def test_nptype_knows_what_numpy_knows(trt: ModuleType) -> None:
    assert trt.nptype(trt.float16) is np.float16
    assert trt.float16.itemsize == 2
    with pytest.raises(TypeError, match="Could not resolve TensorRT datatype"):
        trt.nptype(trt.fp8)


def test_the_volume_of_a_scalar_is_one(trt: ModuleType) -> None:
    assert trt.volume(()) == 1
    assert trt.volume(trt.Dims((2, 3))) == 6


def test_dims_equal_tuples_and_may_be_negative(trt: ModuleType) -> None:
    dims = trt.Dims((1, -1, 3))
    assert dims == (1, -1, 3)
    assert (1, -1, 3) == dims  # noqa: SIM300  from both sides
    assert [*dims] == [1, -1, 3]
    assert dims != [1, -1, 4]
    assert len(dims) == 3
    assert dims[1:] == (-1, 3)
    assert str(dims) == "(1, -1, 3)"
    with pytest.raises(ValueError, match="Max expected length is 8"):
        trt.Dims([1] * 9)
    with pytest.raises(TypeError):
        hash(dims)


def test_dims_cannot_be_compared_with_dims(trt: ModuleType) -> None:
    dims = trt.Dims((1, 2))
    with pytest.raises(TypeError, match=r"__eq__\(\): incompatible function arguments"):
        _ = dims == trt.Dims((1, 2))
    with pytest.raises(TypeError, match=r"__eq__\(\): incompatible function arguments"):
        _ = dims == None  # noqa: E711
    assert trt.Dims(dims) == (1, 2)


def test_the_stock_logger_writes_errors_to_standard_output(
    trt: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    logger = trt.Logger(trt.Logger.WARNING)
    logger.log(trt.Logger.ERROR, "an error")
    logger.log(trt.Logger.INFO, "not seen")
    assert capsys.readouterr().out.endswith("] [TRT] [E] an error\n")


@pytest.mark.parametrize("name", ["ILogger", "IProfiler", "IErrorRecorder"])
def test_a_subclass_has_to_call_the_base_constructor(trt: ModuleType, name: str) -> None:
    base = getattr(trt, name)
    forgetful: Any = type("Forgetful", (base,), {"__init__": lambda self: None})
    with pytest.raises(TypeError, match=rf"{name}.__init__\(\) must be called when overriding"):
        forgetful()


def test_what_a_callback_raises_is_printed_and_swallowed(
    trt: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    class Raising(trt.ILogger):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            raise ValueError("from the logger")

    runtime = trt.Runtime(Raising())
    assert runtime.deserialize_cuda_engine(b"no plan") is None
    assert "Exception caught in log(): ValueError: from the logger" in capsys.readouterr().err


def test_an_abstract_method_complains_and_returns_nothing_useful(
    trt: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert trt.IErrorRecorder().num_errors() == -1
    assert "pure virtual function" in capsys.readouterr().err


@pytest.mark.parametrize("call", ["Builder(1)", "Builder()", "Builder(None)", "Builder(log=1)"])
def test_wrong_arguments_of_a_constructor_list_the_right_ones(trt: ModuleType, call: str) -> None:
    with pytest.raises(
        TypeError, match=r"incompatible constructor arguments(.|\n)*logger: ILogger"
    ):
        eval("trt." + call, {"trt": trt})


def test_keywords_count(trt: ModuleType) -> None:
    builder = trt.Builder(logger=Log(trt).logger)
    assert builder.create_network(flags=1).num_layers == 0
    with pytest.raises(TypeError, match=r"incompatible function arguments(.|\n)*flags: int = 0"):
        builder.create_network(flag=1)


def test_a_path_is_no_string(trt: ModuleType) -> None:
    logger = Log(trt).logger
    parser = trt.OnnxParser(trt.Builder(logger).create_network(1), logger)
    with pytest.raises(TypeError, match="incompatible function arguments"):
        parser.parse_from_file(HERE)


def test_attributes_are_closed(trt: ModuleType) -> None:
    config = trt.Builder(Log(trt).logger).create_builder_config()
    with pytest.raises(AttributeError, match="has no attribute 'workspace'"):
        config.workspace = 1
    with pytest.raises(AttributeError, match="has no attribute 'workspace'"):
        _ = config.workspace
    with pytest.raises(TypeError, match="incompatible function arguments"):
        config.DLA_core = "0"
    with pytest.raises(AttributeError, match="has no setter"):
        config.num_optimization_profiles = 1


@pytest.mark.parametrize(
    "name", ["INetworkDefinition", "ICudaEngine", "IHostMemory", "ParserError"]
)
def test_what_the_library_makes_cannot_be_made_by_hand(trt: ModuleType, name: str) -> None:
    with pytest.raises(TypeError, match=rf"{name}: No constructor defined!"):
        getattr(trt, name)()


def test_with_warns_and_does_nothing(trt: ModuleType) -> None:
    runtime = trt.Runtime(Log(trt).logger)
    with (
        pytest.warns(DeprecationWarning, match="Context managers for TensorRT types"),
        runtime as r,
    ):
        assert r is runtime
    assert runtime.deserialize_cuda_engine(b"") is None


def test_what_is_not_stood_in_for_says_so(trt: ModuleType) -> None:
    config = trt.Builder(Log(trt).logger).create_builder_config()
    with pytest.raises(NotImplementedError, match=r"does not do IBuilderConfig.get_tactic_sources"):
        config.get_tactic_sources()
