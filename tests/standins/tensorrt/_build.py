"""The builder: what it accepts, refuses, and in which words."""

from typing import Any

from ._callbacks import ENUMS, Reporter, call_back
from ._facts import MAJOR, device_bytes, dla_cores
from ._network import INetworkDefinition
from ._onnx import DEQUANTISE, QUANTISE
from ._plan import IHostMemory, pack, pack_cache, unpack_cache
from ._pybind import Native

# Precision flags, which a strongly typed network contradicts. 11 has none of them.
_PRECISION = (
    *("FP16", "INT8", "BF16", "FP8", "INT4", "FP4"),
    *("OBEY_PRECISION_CONSTRAINTS", "PREFER_PRECISION_CONSTRAINTS"),
)
_ON_DLA = (
    "Conv ConvTranspose Relu Sigmoid Tanh Clip MaxPool AveragePool GlobalAveragePool Add "
    "Mul Sub Concat BatchNormalization Gemm Resize"
)


class IOptimizationProfile(Native):
    __slots__ = ("_shapes",)

    def _setup(self) -> None:
        self._shapes: dict[str, list[Any]] = {}

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:  # noqa: A002
        if not len(min) == len(opt) == len(max):
            raise RuntimeError("Shape provided for opt is inconsistent with other shapes.")
        for name, low, high in (("opt", min, opt), ("max", opt, max)):
            if any(one > other for one, other in zip(low, high, strict=True)):
                raise RuntimeError(f"Shape provided for {name} is inconsistent with other shapes.")
        self._shapes[input] = [min, opt, max]

    def get_shape(self, input: str) -> list[Any]:  # noqa: A002
        return list(self._shapes.get(input, []))

    def __bool__(self) -> bool:
        return all(size >= 0 for shapes in self._shapes.values() for one in shapes for size in one)


class ITimingCache(Native):
    __slots__ = ("_keys",)

    def _setup(self, keys: set[str] | None) -> None:
        self._keys = keys  # None: of another version or GPU

    def serialize(self) -> Any:
        return IHostMemory._make(pack_cache(self._keys or set()))

    def combine(self, input_cache: Any, ignore_mismatch: bool) -> bool:  # noqa: FBT001
        if input_cache._keys is None or self._keys is None:
            return False
        self._keys |= input_cache._keys
        return True

    def reset(self) -> bool:
        self._keys = set()
        return True


class IBuilderConfig(Native):
    __slots__ = ("_cache", "_pools", "_profiles", "_report")

    def _setup(self, report: Reporter) -> None:
        self._report = report
        self._cache: Any = None
        self._pools: dict[int, int] = {}
        self._profiles: list[Any] = []
        verbosity = ENUMS["ProfilingVerbosity"].LAYER_NAMES_ONLY
        self._values |= {"builder_optimization_level": 3, "profiling_verbosity": verbosity}
        self._values |= {"avg_timing_iterations": 1, "flags": 1 << int(ENUMS["BuilderFlag"].TF32)}

    def set_flag(self, flag: Any) -> None:
        self._values["flags"] |= 1 << int(flag)

    def clear_flag(self, flag: Any) -> None:
        self._values["flags"] &= ~(1 << int(flag))

    def get_flag(self, flag: Any) -> bool:
        return bool(self._values["flags"] >> int(flag) & 1)

    def _has(self, name: str) -> bool:
        flag = ENUMS["BuilderFlag"].__members__.get(name)
        return flag is not None and self.get_flag(flag)

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        self._pools[int(pool)] = pool_size

    def get_memory_pool_limit(self, pool: Any) -> int:
        return self._pools.get(int(pool), device_bytes())

    def add_optimization_profile(self, profile: Any) -> int:
        if not profile:
            self._report.error("add_optimization_profile: the profile is not valid")
            return -1
        self._profiles.append(profile)
        return len(self._profiles) - 1

    @property
    def num_optimization_profiles(self) -> int:
        return len(self._profiles)

    def create_timing_cache(self, serialized_timing_cache: Any) -> Any:
        return ITimingCache._make(unpack_cache(bytes(serialized_timing_cache)))

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:  # noqa: FBT001
        if cache._keys is None and not ignore_mismatch:
            self._report.error("the timing cache is of another device or version, or damaged")
            return False
        self._cache = cache
        return True

    def get_timing_cache(self) -> Any:
        return self._cache

    def can_run_on_DLA(self, layer: Any) -> bool:  # noqa: N802
        return dla_cores() > 0 and layer._node.op_type in _ON_DLA.split()


class Builder(Native):
    __slots__ = ("_report",)
    _DEFAULTS = {"platform_has_fast_fp16": True, "platform_has_fast_int8": True, "max_threads": 1}  # noqa: RUF012

    def _setup(self, logger: Any) -> None:
        self._report = Reporter(logger)

    @property
    def num_DLA_cores(self) -> int:  # noqa: N802
        return dla_cores()

    @property
    def max_DLA_batch_size(self) -> int:  # noqa: N802
        return 4096

    def create_network(self, flags: int) -> Any:
        return INetworkDefinition._make(flags, self._report)

    def create_builder_config(self) -> Any:
        return IBuilderConfig._make(self._report)

    def create_optimization_profile(self) -> Any:
        return IOptimizationProfile._make()

    def is_network_supported(self, network: Any, config: Any) -> bool:
        return not self._refusal(network, config)

    def build_serialized_network(self, network: Any, config: Any, kernel_text: Any = None) -> Any:
        """Return the plan; None with an error in the log where TensorRT cannot build it."""
        refusal = self._refusal(network, config)
        if refusal:
            self._report.error(refusal, self)
            return None
        if not self._tell_progress(network, config):
            self._report("WARNING", "the build was cancelled by the progress monitor")
            return None
        if config._cache is not None:
            config._cache._keys |= {node.op_type for node in network._graph.node}
        settled = {
            "name": network.name,
            "verbosity": int(config.profiling_verbosity),
            "profiles": [
                {name: [list(one) for one in shapes] for name, shapes in profile._shapes.items()}
                for profile in config._profiles
            ],
        }
        return IHostMemory._make(pack(settled, network._model.SerializeToString()))

    def build_engine_with_config(self, network: Any, config: Any) -> Any:
        from ._engine import Runtime

        plan = self.build_serialized_network(network, config)
        if plan is None:
            return None
        return Runtime(self._report.logger).deserialize_cuda_engine(plan)

    def _refusal(self, network: Any, config: Any) -> str | None:
        if not network.num_outputs:
            return "Network must have at least one output"
        quantised = any(n.op_type in {QUANTISE, DEQUANTISE} for n in network._graph.node)
        flags = [name for name in _PRECISION if config._has(name)]
        if network._strong and flags:
            return f"{', '.join(flags)}: not compatible with a strongly typed network"
        # Known of 8.x; a weakly typed network of 10.x is held to the same rule.
        if not network._strong and quantised and not config._has("INT8"):
            return "the network has Q/DQ layers, but the INT8 flag is not set"
        refusal = self._profile_refusal(network, config) or self._dla_refusal(network, config)
        return refusal or _type_fault(network._model)

    def _profile_refusal(self, network: Any, config: Any) -> str | None:
        for index in range(network.num_inputs):
            tensor = network.get_input(index)
            shape = tensor.shape
            if -1 in shape and not config._profiles:
                return (
                    "Network has dynamic or shape inputs, but no optimization profile has been "
                    f"defined: {tensor.name} is {shape}"
                )
            for profile in config._profiles:
                shapes = profile.get_shape(tensor.name)
                if -1 in shape and not shapes:
                    return f"an optimization profile lacks the dynamic input {tensor.name}"
                if not all(_within(shape, one) for one in shapes):
                    return f"the profile's shapes for {tensor.name} do not fit {shape}"
        return None

    def _dla_refusal(self, network: Any, config: Any) -> str | None:  # noqa: PLR0911
        kinds = ENUMS["DeviceType"]
        if config._values.get("default_device_type", kinds.GPU) != kinds.DLA:
            return None
        if not dla_cores():
            return "DLA was asked for, but this platform has none"
        if config._values.get("DLA_core", 0) >= dla_cores():
            return f"there is no DLA core {config._values['DLA_core']}"
        if any(-1 in network.get_input(index).shape for index in range(network.num_inputs)):
            return "DLA does not support dynamic shapes"
        weak = not network._strong and MAJOR < 11
        if weak and not (config._has("FP16") or config._has("INT8")):
            return "DLA computes in FP16 or INT8, but neither flag is set"
        if config._has("GPU_FALLBACK"):
            return None
        layers = [network.get_layer(index) for index in range(network.num_layers)]
        off = [layer.name for layer in layers if not config.can_run_on_DLA(layer)]
        return f"not supported on DLA, and GPU fallback is off: {', '.join(off)}" if off else None

    def _tell_progress(self, network: Any, config: Any) -> bool:
        """Call the monitor back for every layer; False: it cancels."""
        monitor = config._values.get("progress_monitor")
        if monitor is None:
            return True
        phase = "Building engine from subgraph"
        call_back(monitor, "phase_start", phase, None, network.num_layers)
        steps = range(network.num_layers)
        going = all(call_back(monitor, "step_complete", phase, step) is True for step in steps)
        call_back(monitor, "phase_finish", phase)
        return going


def _within(shape: Any, one: Any) -> bool:
    return len(shape) == len(one) and all(
        want in {-1, size} for want, size in zip(shape, one, strict=True)
    )


def _type_fault(model: Any) -> str | None:
    """Return what ONNX Runtime, which will compute it, says of types and shapes."""
    from ._session import open_session

    try:
        open_session(model.SerializeToString())
    except RuntimeError as error:
        return f"Internal Error in the network's types or shapes: {error}"
    return None
