"""How pybind11 presents C++: checked arguments, closed attributes, strict enumerations.

The texts of the errors are those of pybind11.
"""

import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

MODULE = "tensorrt.tensorrt"
TYPES: dict[str, type] = {}  # name in a signature -> bound class or enumeration
MISFIT = object()
REQUIRED = object()


def title(cls: type) -> str:
    return f"{MODULE}.{cls.__qualname__}" if cls.__module__ == MODULE else cls.__qualname__


class Bound(type):
    """The class of bound classes."""

    def __getattr__(cls, name: str) -> NoReturn:
        raise AttributeError(f"type object '{title(cls)}' has no attribute '{name}'")

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        native = next(parent for parent in cls.__mro__ if parent.__module__ == MODULE)
        if "__init__" not in vars(native):
            raise TypeError(f"{title(native)}: No constructor defined!")
        made = super().__call__(*args, **kwargs)
        if not made._values:
            raise TypeError(f"{title(native)}.__init__() must be called when overriding __init__")
        return made


class Native(metaclass=Bound):
    """A bound object: no attribute can be added, its state has private names."""

    __slots__ = ("__weakref__", "_values")
    _DEFAULTS: dict[str, Any] = {}  # noqa: RUF012

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Any:
        made = object.__new__(cls)
        made._values = {}
        return made

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"'{title(type(self))}' object has no attribute '{name}'")

    def _setup(self) -> None:
        """What the C++ constructor does."""

    @classmethod
    def _make(cls, *args: Any) -> Any:
        """Make one from inside, as the library does for classes without constructor."""
        made = cls.__new__(cls)
        made._values["made"] = True
        made._setup(*args)
        return made


class EnumType(Bound):
    def __call__(cls, value: Any) -> Any:
        if not hasattr(value, "__index__"):
            raise TypeError(
                "__init__(): incompatible constructor arguments. The following argument types are "
                f"supported:\n    1. {title(cls)}(value: int)\n\nInvoked with: {value!r}"
            )
        return cls._make(operator.index(value))


class Enum(Native, metaclass=EnumType):  # noqa: PLW1641  it has, below
    """An enumeration without arithmetic: equal to its own kind alone."""

    __slots__ = ("_value",)
    __members__: dict[str, "Enum"]

    def _setup(self, value: int) -> None:
        self._value = value

    @property
    def value(self) -> int:
        return self._value

    @property
    def name(self) -> str:
        names = (name for name, one in self.__members__.items() if one._value == self._value)
        return next(names, "???")

    def __int__(self) -> int:
        return self._value

    __index__ = __hash__ = __int__

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._value == self._value

    def __str__(self) -> str:
        return f"{type(self).__name__}.{self.name}"

    def __repr__(self) -> str:
        return f"<{self}: {self._value}>"


def make_enum(name: str, members: dict[str, int]) -> Any:
    scope = {"__module__": MODULE, "__qualname__": name, "__slots__": ()}
    made: Any = EnumType(name.rpartition(".")[2], (Enum,), scope)
    made.__members__ = {label: made._make(value) for label, value in members.items()}
    for label, member in made.__members__.items():
        setattr(made, label, member)
    TYPES[name] = made
    return made


@dataclass(frozen=True)
class Parameter:
    name: str
    type: str
    default: Any


class Signature:
    """One overload, read from a line such as ``(self: Dims, arg0: int) -> int``."""

    def __init__(self, text: str) -> None:
        self.text = text
        inside, _, self.returns = text[1:].rpartition(") -> ")
        self.parameters = [_parameter(part) for part in _split(inside)][1:]  # without self

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any] | None:
        """Return the converted arguments in order, or None where they do not fit."""
        names = [one.name for one in self.parameters]
        if len(args) > len(names) or not set(kwargs) <= set(names[len(args) :]):
            return None
        given = dict(zip(names, args, strict=False)) | kwargs
        if any(re.fullmatch(r"arg\d", name) for name in kwargs):  # has no name in the bindings
            return None
        bound = []
        for one in self.parameters:
            value = given.get(one.name, one.default)
            if one.name in given and not (value is None and one.default is None):
                value = convert(value, one.type)
            if value is MISFIT or value is REQUIRED:
                return None
            bound.append(value)
        return bound


def _split(inside: str) -> Iterator[str]:
    depth = start = 0
    for place, letter in enumerate(inside):
        depth += (letter in "[<(") - (letter in "]>)")
        if letter == "," and not depth:
            yield inside[start:place].strip()
            start = place + 1
    if inside.strip():
        yield inside[start:].strip()


def _parameter(text: str) -> Parameter:
    declared, _, default = text.partition(" = ")
    name, _, kind = declared.partition(": ")
    if not default:
        return Parameter(name, kind, REQUIRED)
    if default == "None":
        return Parameter(name, kind, None)
    number = int(re.findall(r"-?\d+", default)[-1])  # "0", or "<Severity.WARNING: 2>"
    return Parameter(name, kind, TYPES[kind](number) if default.startswith("<") else number)


def convert(value: Any, kind: str) -> Any:
    """Return what a C++ parameter of this type gets, or MISFIT."""
    if kind.startswith("List["):
        if isinstance(value, (str, bytes, dict)) or not hasattr(value, "__getitem__"):
            return MISFIT
        items = [convert(one, kind[5:-1]) for one in value]
        return MISFIT if any(one is MISFIT for one in items) else items
    if kind == "Dims" and isinstance(value, (list, tuple)):
        sizes = convert(value, "List[int]")
        return MISFIT if sizes is MISFIT else TYPES["Dims"](sizes)
    if kind in _PLAIN:
        return _PLAIN[kind](value)
    bound = TYPES.get(kind.replace("::", "."))
    return value if bound is not None and isinstance(value, bound) else MISFIT


def _buffer(value: Any) -> Any:
    try:
        memoryview(value)
    except TypeError:
        return MISFIT
    return value


def _only(*kinds: type) -> Callable[[Any], Any]:
    return lambda value: value if isinstance(value, kinds) else MISFIT


_PLAIN: dict[str, Callable[[Any], Any]] = {
    "int": lambda value: operator.index(value) if hasattr(value, "__index__") else MISFIT,
    "float": lambda value: float(value) if hasattr(value, "__float__") else MISFIT,
    "bool": _only(bool),
    "str": _only(str),
    "tuple": _only(tuple),
    "list": _only(list),
    "slice": _only(slice),
    "object": _only(object),
    "buffer": _buffer,
}


def refuse(name: str, signatures: list[Signature], invoked: list[str], words: str) -> NoReturn:
    known = "".join(f"    {n}. {one.text}\n" for n, one in enumerate(signatures, 1))
    raise TypeError(
        f"{name}(): incompatible {words} arguments. The following argument types are supported:\n"
        f"{known}\nInvoked with: {', '.join(invoked)}"
    )


def method(name: str, texts: list[str], work: Callable[..., Any] | None, owner: str) -> Any:
    """Return a method that takes what the signatures say and nothing else."""
    signatures = [Signature(text) for text in texts]

    def checked(self: Any, *args: Any, **kwargs: Any) -> Any:
        for one in signatures:
            bound = one.bind(args, kwargs)
            if bound is not None:
                break
        else:
            init = name == "__init__"
            invoked = [repr(one) for one in (args if init else (self, *args))]
            invoked += [f"kwargs: {key}={value!r}" for key, value in kwargs.items()]
            refuse(name, signatures, invoked, "constructor" if init else "function")
        if work is None:
            raise NotImplementedError(f"the stand-in of TensorRT does not do {owner}.{name}()")
        return work(self, *bound)

    checked.__name__ = name
    checked.signatures = signatures  # type: ignore[attr-defined]
    return checked


def attribute(name: str, fact: str, own: property | None, owner: str) -> property:
    """Return a property: read-only or typed, kept in ``_values`` unless the class has its own."""
    access, _, kind = fact.partition(" ")

    def read(self: Any) -> Any:
        if own is not None:
            return own.__get__(self)
        if name in self._values:
            return self._values[name]
        if name in self._DEFAULTS:
            return self._DEFAULTS[name]
        if access == "ro":
            raise NotImplementedError(f"the stand-in of TensorRT does not do {owner}.{name}")
        zeros = {"int": 0, "bool": False, "str": "", "float": 0.0}
        first = TYPES[kind](0) if issubclass(TYPES.get(kind, object), Enum) else None
        return zeros.get(kind, first)

    def write(self: Any, value: Any) -> None:
        empties = kind.startswith("I") or kind == "object"
        taken = value if value is None and empties else convert(value, kind)
        if taken is MISFIT:
            only = Signature(f"(self: {owner}, arg0: {kind}) -> None")
            refuse("", [only], [repr(self), repr(value)], "function")
        if own is not None and own.fset is not None:
            own.fset(self, taken)
        else:
            self._values[name] = taken

    return property(read, write if access == "rw" else None)


def bind(cls: Any, members: dict[str, Any]) -> Any:
    """Give a class exactly the public members that its version has."""
    name = cls.__name__
    own = dict(vars(cls))
    for label in own:
        if label not in members and (not label.startswith("_") or label in {"__len__", "__bool__"}):
            delattr(cls, label)
    cls.__module__, cls.__qualname__ = MODULE, name
    TYPES[name] = cls
    for label, fact in members.items():
        if isinstance(fact, str):
            setattr(cls, label, attribute(label, fact, own.get(label), name))
        elif label == "__init__":
            cls.__init__ = method(label, fact, _constructor, name)
        else:
            setattr(cls, label, method(label, fact, own.get(label), name))
    return cls


def _constructor(self: Any, *args: Any) -> None:
    self._values["made"] = True
    self._setup(*args)
