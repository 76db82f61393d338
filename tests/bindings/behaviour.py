"""Print what expressions give that need no TensorRT: the same of the bindings and the stand-in."""

import json
import os
import re
import sys
import tempfile
import warnings
from typing import Any, Self

import tensorrt as trt


class Log(trt.ILogger):
    def __init__(self) -> None:
        trt.ILogger.__init__(self)

    def log(self, severity: Any, msg: str) -> None:
        print(severity, msg)  # noqa: T201


class Forgetful(trt.ILogger):
    def __init__(self) -> None:
        pass


class Silent(trt.IProfiler):
    def __init__(self) -> None:
        trt.IProfiler.__init__(self)


def entered(thing: Any) -> Any:
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        with thing as inside:
            assert inside is thing
    return [(one.category.__name__, str(one.message)) for one in heard]


log = Log()
stock = trt.Logger(trt.Logger.INFO)
EXPRESSIONS = """
Forgetful()
trt.Builder(None)
trt.Builder(1)
trt.Builder()
trt.Builder(log=log)
trt.Runtime(None)
trt.OnnxParser(None, log)
trt.INetworkDefinition()
trt.ICudaEngine()
trt.IHostMemory()
trt.ParserError()
trt.BuilderFlag.NOPE
1 << trt.BuilderFlag.TF32
trt.BuilderFlag.TF32 | trt.BuilderFlag.DEBUG
int(trt.BuilderFlag.TF32)
trt.BuilderFlag.TF32.__index__()
trt.BuilderFlag.TF32 == int(trt.BuilderFlag.TF32)
trt.BuilderFlag.TF32 != int(trt.BuilderFlag.TF32)
trt.BuilderFlag.TF32 == trt.DataType(int(trt.BuilderFlag.TF32))
trt.BuilderFlag.TF32 == 'TF32'
trt.BuilderFlag(3)
trt.BuilderFlag(600)
trt.BuilderFlag('TF32')
trt.BuilderFlag.TF32.nope
hash(trt.BuilderFlag.TF32)
list(trt.DataType.__members__)
type(trt.DataType.__members__).__name__
str(trt.float16)
repr(trt.float16)
trt.float16.name, trt.float16.value
[(kind.name, kind.itemsize) for kind in (trt.float32, trt.float16, trt.int8, trt.bool, trt.fp8)]
[trt.nptype(kind).__name__ for kind in (trt.float32, trt.float16, trt.int8, trt.int32, trt.bool)]
trt.nptype(trt.fp8)
trt.nptype(1)
trt.volume(())
trt.volume(trt.Dims((2, 3)))
trt.Dims((1, -1, 3))
trt.Dims()
str(trt.Dims((1,)))
trt.Dims((1, 2)) == (1, 2)
(1, 2) == trt.Dims((1, 2))
trt.Dims((1, 2)) == [1, 2]
trt.Dims((1, 2)) == trt.Dims([1, 2])
trt.Dims((1, 2)) == (1, 3)
trt.Dims((1, 2)) != (1, 2)
trt.Dims((1, 2)) == None
trt.Dims((1, 2)) == range(2)
trt.Dims(trt.Dims((1, 2)))
trt.Dims(range(2))
trt.Dims((1, 2))[-1]
trt.Dims((1, 2))[5]
trt.Dims((1, 2, 3))[1:]
len(trt.Dims((1, 2)))
list(trt.Dims((1, 2)))
trt.Dims([1] * 9)
trt.Dims((1.5,))
trt.Dims('ab')
hash(trt.Dims((1, 2)))
setattr(trt.Dims((1,)), 'nope', 1)
setattr(trt.float32, 'nope', 1)
setattr(log, 'own', 1)
log.nope
log.log(trt.Logger.ERROR, 'text')
trt.ILogger.WARNING
trt.Logger.Severity is trt.ILogger.Severity
issubclass(trt.Logger, trt.ILogger), issubclass(trt.Profiler, trt.IProfiler)
stock.min_severity
setattr(stock, 'min_severity', 1)
setattr(stock, 'nope', 1)
stock.nope
stock.log(trt.Logger.INTERNAL_ERROR, 'text')
stock.log(trt.Logger.ERROR, 'text')
stock.log(trt.Logger.WARNING, 'text')
stock.log(trt.Logger.INFO, 'text')
stock.log(trt.Logger.VERBOSE, 'text')
stock.log(severity=trt.Logger.ERROR, msg='text')
stock.log(severity=trt.Logger.ERROR, text='text')
stock.log(1, 'text')
stock.log()
trt.Profiler().report_layer_time('conv', 1.5)
trt.Profiler().report_layer_time('conv', '1')
Silent().report_layer_time('conv', 1.0)
trt.IErrorRecorder().num_errors()
trt.ILogger().log(trt.Logger.ERROR, 'text')
entered(stock)
entered(log)
[hasattr(getattr(trt, name), '__enter__') for name in ('Builder', 'Dims', 'IOptimizationProfile')]
""".strip().splitlines()


class Heard:
    """What is written to a file descriptor, by C++ too."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.text = ""

    def __enter__(self) -> Self:
        sys.stdout.flush()
        self._file = tempfile.TemporaryFile()
        self._old = os.dup(self._descriptor)
        os.dup2(self._file.fileno(), self._descriptor)
        return self

    def __exit__(self, *_: object) -> None:
        sys.stdout.flush()
        os.dup2(self._old, self._descriptor)
        os.close(self._old)
        self._file.seek(0)
        self.text = self._file.read().decode()
        self._file.close()


def told(expression: str) -> list[str]:
    """Return the value or the error, and what was printed; without addresses, times, modules."""
    with Heard(1) as out, Heard(2) as err:
        try:
            result = repr(eval(expression))
        except Exception as error:  # noqa: BLE001  whatever the module raises is the answer
            result = f"{type(error).__name__}: {str(error).partition(' The following')[0]}"
    return [_plain(result), _plain(out.text), _plain(err.text)]


def _plain(text: str) -> str:
    text = re.sub(r"\btensorrt\.tensorrt\.", "", text)
    return re.sub(r" at 0x[0-9a-f]+|\[\d\d/\d\d/\d{4}-\d\d:\d\d:\d\d\] ", "", text)


print("RESULT", json.dumps({expression: told(expression) for expression in EXPRESSIONS}))  # noqa: T201
