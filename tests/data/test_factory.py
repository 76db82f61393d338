import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgekd.core.errors import DataError, UsageError
from edgekd.data import factory
from edgekd.data.factory import Factory

Write = Callable[[str], str]

_HEAD = """
import numpy as np
PIXELS = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)
class Listed(list):
    classes = ("ant", "bee")
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a module to the working directory and return its name with the function's."""
    monkeypatch.chdir(tmp_path)
    number = len([name for name in sys.modules if name.startswith("made_by_a_test")])
    name = f"made_by_a_test_{number}"

    def write(body: str) -> str:
        (tmp_path / f"{name}.py").write_text(_HEAD + body)
        return f"{name}:build"

    yield write  # type: ignore[misc]
    sys.modules[name] = sys  # the number stays taken


def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("image", "channels"),
    [
        ("PIXELS[i]", 3),
        ("PIXELS[i, :, :, :1]", 1),
        ("PIXELS[i, :, :, 0]", 1),
        ("__import__('torch').from_numpy(PIXELS[i].transpose(2, 0, 1).copy())", 3),
        ("__import__('torch').from_numpy(PIXELS[i, :, :, 0].copy())", 1),
        ("__import__('PIL.Image').Image.fromarray(PIXELS[i])", 3),
        ("__import__('PIL.Image').Image.fromarray(PIXELS[i, :, :, 0])", 1),
        ("__import__('PIL.Image').Image.fromarray(PIXELS[i]).convert('RGBA')", 3),
    ],
)
def test_images_of_every_promised_kind_give_the_same_pixels(
    write: Write, image: str, channels: int
) -> None:
    name = write(f"def build():\n  s = [({image}, i % 2) for i in range(4)]\n  return s, s, s[:1]")
    found = Factory(name, None).read("test")
    assert found is not None
    assert (found.batch(np.array([0])) == pixels()[:1, :, :, :channels]).all()
    assert Factory(name, None).read("train").labels_n.tolist() == [0, 1, 0, 1]  # type: ignore[union-attr]


def test_a_pair_has_no_validation_set(write: Write) -> None:
    name = write("def build():\n  s = [(p, i % 2) for i, p in enumerate(PIXELS)]\n  return s, s")
    assert Factory(name, None).read("validation") is None
    assert Factory(name, None).read("test") is not None


def test_class_names_come_from_the_datasets_else_from_the_largest_label(write: Write) -> None:
    listed = write("def build():\n  s = Listed((p, 0) for p in PIXELS)\n  return s, list(s)")
    assert Factory(listed, None).read("test").class_names == ("ant", "bee")  # type: ignore[union-attr]


def test_class_names_are_numbers_up_to_the_largest_label_of_any_set(write: Write) -> None:
    name = write("def build():\n  return [(PIXELS[0], 0)], [(PIXELS[1], 3)]")
    assert Factory(name, None).read("train").class_names == ("0", "1", "2", "3")  # type: ignore[union-attr]


def test_each_item_is_asked_for_once(write: Write) -> None:
    # A dataset that varies its images at random would change between two readings.
    name = write(
        "class Random:\n  asked = []\n  def __len__(self): return 4\n"
        "  def __getitem__(self, i):\n    self.asked.append(i)\n    return PIXELS[i], i % 2\n"
        "def build():\n  return Random(), Random()"
    )
    source = Factory(name, None)
    for _ in range(2):
        source.read("train")
    source.read("test")
    module = sys.modules[name.partition(":")[0]]
    assert module.Random.asked == [0, 1, 2, 3, 0, 1, 2, 3]


def test_images_of_several_sizes_need_an_image_size(write: Write) -> None:
    name = write("def build():\n  s = [(PIXELS[0], 0), (PIXELS[1, :5], 1)]\n  return s, s")
    with pytest.raises(DataError, match=r"image 1 is \[5, 5, 3\], .* give data.image_size"):
        Factory(name, None).read("train")
    found = Factory(name, 5).read("train")
    assert found is not None
    assert found.shape == (5, 5, 3)
    assert (found.batch(np.array([1]))[0] == pixels()[1, :5]).all()


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("(PIXELS[0] / 255, 0)", r"image 0 is ndarray of float64 \[6, 5, 3\]; expected 8-bit"),
        ("(__import__('torch').zeros(3, 6, 5), 0)", r"is Tensor of float32"),
        ("(__import__('PIL.Image').Image.new('I;16', (5, 6), 400), 0)", r"of uint16"),
        ("(PIXELS, 0)", r"\[4, 6, 5, 3\]; expected 8-bit"),
        ("(PIXELS[0], 0.5)", r"item 0 is not \(image, label\) with an integer label"),
        ("(PIXELS[0], '0')", r"with an integer label"),
        ("PIXELS[0]", r"is not \(image, label\)"),
        ("(PIXELS[0], 0, 0)", r"is not \(image, label\)"),
    ],
)
def test_an_item_of_another_form_is_refused(write: Write, item: str, message: str) -> None:
    name = write(f"def build():\n  return [{item}], [{item}]")
    with pytest.raises(DataError, match=message):
        Factory(name, None).read("train")


def test_labels_may_be_numpys_or_torchs(write: Write) -> None:
    name = write(
        "import torch\ndef build():\n"
        "  s = [(PIXELS[0], np.int32(1)), (PIXELS[1], torch.tensor(0))]\n  return s, s"
    )
    assert Factory(name, None).read("train").labels_n.tolist() == [1, 0]  # type: ignore[union-attr]


def test_an_empty_dataset_is_refused(write: Write) -> None:
    name = write("def build():\n  return [], []")
    with pytest.raises(DataError, match=r"\(train\) holds no images"):
        Factory(name, None).read("train")


def test_a_dataset_beyond_the_memory_limit_is_refused(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(factory, "MEMORY_LIMIT_BYTES", 4 * 90 - 1)
    name = write("def build():\n  s = [(p, i % 2) for i, p in enumerate(PIXELS)]\n  return s, s")
    with pytest.raises(DataError, match=r"4 images of 90 bytes do not fit .*'folder:DIR'"):
        Factory(name, None).read("train")


@pytest.mark.parametrize("returned", ["None", "([],)", "([], [], [], [])", "42"])
def test_anything_but_two_or_three_datasets_is_refused(write: Write, returned: str) -> None:
    name = write(f"def build():\n  return {returned}")
    with pytest.raises(UsageError, match=r"expected datasets: \(train, validation, test\)"):
        Factory(name, None)


def test_a_missing_function_is_answered_with_a_near_name(write: Write) -> None:
    name = write("def biuld():\n  return None")
    with pytest.raises(UsageError, match=r"has no function 'build'. Did you mean 'biuld'"):
        Factory(name, None)


def test_a_missing_module_and_pythons_own_are_refused(write: Write) -> None:
    with pytest.raises(UsageError, match=r"importing 'no_such_module' failed"):
        Factory("no_such_module:build", None)
    with pytest.raises(UsageError, match=r"'os:getcwd' is part of Python"):
        Factory("os:getcwd", None)


def test_the_working_directory_is_importable_only_during_the_import(write: Write) -> None:
    name = write("def build():\n  s = [(p, i % 2) for i, p in enumerate(PIXELS)]\n  return s, s")
    before = list(sys.path)
    Factory(name, None)
    assert sys.path == before


def test_pil_images_are_resized_like_files(write: Write, tmp_path: Path) -> None:
    name = write(
        "from PIL import Image\ndef build():\n"
        "  s = [(Image.fromarray(p), i % 2) for i, p in enumerate(PIXELS)]\n  return s, s"
    )
    from torchvision import transforms

    as_torchvision = transforms.Compose([transforms.Resize(9), transforms.CenterCrop(8)])
    expected = np.asarray(as_torchvision(Image.fromarray(pixels()[2])))
    found = Factory(name, 8).read("train")
    assert found is not None
    assert (found.batch(np.array([2]))[0] == expected).all()
