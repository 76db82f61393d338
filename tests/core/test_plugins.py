import subprocess
import sys
from abc import ABC
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekd.core import plugins
from edgekd.core.errors import UsageError

PACKAGE = "zoo_of_a_test.animals"

DOG = '''"""Barks at strangers.

At length.
"""

from abc import ABC

EVIDENCE = "code"
ALIASES = ("puppy",)
LEGS: int = 4
NAMES = ("dog", "hound")
COMPUTED = 2 * len(NAMES)
lower = 1


class Helper:
    """Not one of them."""


class Dog(__import__("zoo_of_a_test.base", fromlist=["Animal"]).Animal):
    """A dog."""

    def __init__(self, *, name: str = "Rex", age: int = 1) -> None:
        if age < 0:
            raise ValueError(f"age must be >= 0, but is {age}")
        self.name, self.age = name, age
'''


@pytest.fixture(autouse=True)
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package of plug-ins of which one cannot be imported."""
    folder = tmp_path / "zoo_of_a_test" / "animals"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    (folder.parent / "base.py").write_text("class Animal: pass\n")
    (folder / "__init__.py").write_text('"""The animals."""\n')
    (folder / "dog.py").write_text(DOG)
    (folder / "cat.py").write_text('"""Sleeps."""\nraise RuntimeError("imported")\n')
    monkeypatch.setattr(plugins, "__file__", str(tmp_path / "edgekd" / "core" / "plugins.py"))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in [name for name in sys.modules if name.startswith("zoo_of_a_test")]:
        del sys.modules[name]


def animal() -> type:
    from zoo_of_a_test.base import Animal  # type: ignore[import-not-found]

    return Animal  # type: ignore[no-any-return]


def test_names_and_summaries_are_read_without_importing_anything() -> None:
    assert plugins.names(PACKAGE) == ["cat", "dog"]
    cat, dog = plugins.summaries(PACKAGE)
    assert (cat.name, cat.line, cat.constants) == ("cat", "Sleeps.", {})
    assert dog.line == "Barks at strangers."
    assert dog.constants == {
        "EVIDENCE": "code",
        "ALIASES": ("puppy",),
        "LEGS": 4,
        "NAMES": ("dog", "hound"),
    }
    assert not any(name.startswith("zoo_of_a_test") for name in sys.modules)


def test_an_alias_is_read_without_importing_anything() -> None:
    assert plugins.aliases(PACKAGE) == {"puppy": "dog"}
    assert not any(name.startswith("zoo_of_a_test") for name in sys.modules)


def test_an_alias_loads_and_creates_what_it_stands_for() -> None:
    kind = animal()
    assert plugins.load(PACKAGE, "puppy", kind) is plugins.load(PACKAGE, "dog", kind)
    assert plugins.create(PACKAGE, "puppy", kind, {"age": 3}).age == 3


def test_an_unknown_name_is_answered_with_a_near_alias() -> None:
    with pytest.raises(UsageError, match=r"Did you mean 'puppy'\? There are: cat, dog, puppy\."):
        plugins.load(PACKAGE, "pupy", ABC)


def test_a_literal_of_a_module_is_read_without_importing_it() -> None:
    assert plugins.literal(f"{PACKAGE}.dog", "NAMES") == ("dog", "hound")
    with pytest.raises(KeyError):
        plugins.literal(f"{PACKAGE}.dog", "COMPUTED")


def test_listing_edgekds_own_plug_ins_imports_no_torch() -> None:
    code = (
        "import sys\nfrom edgekd.core import plugins\n"
        "for p in ('distill.methods', 'prune.criteria', 'quantize.calibrators', 'models.zoo'):\n"
        "    plugins.summaries('edgekd.' + p)\n"
        "heavy = {'torch', 'onnx', 'numpy', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_one_class_of_the_kind_is_loaded() -> None:
    kind = animal()
    assert plugins.load(PACKAGE, "dog", kind).__name__ == "Dog"


def test_an_unknown_name_is_answered_with_a_near_one_and_the_kind() -> None:
    with pytest.raises(UsageError, match=r"no animal is called 'dgo'. Did you mean 'dog'"):
        plugins.load(PACKAGE, "dgo", ABC)


def test_the_package_itself_is_no_plug_in() -> None:
    with pytest.raises(UsageError, match=r"no animal is called '__init__'"):
        plugins.load(PACKAGE, "__init__", ABC)


def test_options_go_to_the_constructor_by_name() -> None:
    dog = plugins.create(PACKAGE, "dog", animal(), {"age": 3})
    assert (dog.name, dog.age) == ("Rex", 3)


def test_an_option_that_it_does_not_take_is_answered_with_a_near_one() -> None:
    with pytest.raises(UsageError) as caught:
        plugins.create(PACKAGE, "dog", animal(), {"nmae": "Bo"})
    assert str(caught.value) == (
        "animal 'dog' has no option 'nmae'. Did you mean 'name'? It takes: age, name."
    )


def test_a_value_that_it_refuses_is_the_users_mistake() -> None:
    with pytest.raises(UsageError, match=r"animal 'dog': age must be >= 0, but is -1"):
        plugins.create(PACKAGE, "dog", animal(), {"age": -1})


def test_a_fault_while_importing_keeps_its_traceback() -> None:
    with pytest.raises(RuntimeError, match=r"imported"):
        plugins.load(PACKAGE, "cat", animal())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"age": 1.5}, "animal 'dog': age: Input should be a valid integer, found 1.5"),
        ({"age": "3"}, "age: Input should be a valid integer, found '3'"),
        ({"name": True}, "name: Input should be a valid string, found True"),
    ],
)
def test_a_value_of_another_type_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plugins.create(PACKAGE, "dog", animal(), options)
