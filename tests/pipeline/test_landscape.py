"""The loss around real checkpoints, on a tiny grid."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from edgekd.core import records, specs
from edgekd.core.errors import UsageError
from edgekd.core.landscape import Landscape
from edgekd.models import checkpoint, score
from edgekd.models.surgery import Kept, Surgery
from edgekd.pipeline import landscape, single
from edgekd.pipeline.landscape import Settings
from tests.report.reading import read

SMALL = Settings(points=3, images=40, device="cpu")
FLAT = Settings(points=3, images=40, plane=False, device="cpu")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints: two of one shape (one, two), one that is pruned (cut)."""
    root = tmp_path_factory.mktemp("checkpoints")
    for seed, name in enumerate(("one", "two")):
        torch.manual_seed(seed)
        save(root / name)
    arguments = single.ModelArguments(str(root / "one"))
    single.prune(arguments, specs.Prune(recalibrate_images=0), None, root / "cut", seed=0)
    return root


def save(folder: Path, classes: int = 10, shape: tuple[int, int, int] = (1, 8, 8)) -> Path:
    model = checkpoint.open_model("digits_resnet", classes=classes, input_shape=shape)
    checkpoint.save(folder, model.module, model.record, model.surgery)
    return folder


@pytest.fixture(scope="module")
def looked(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Landscape, Path]:
    """The record of all three, and where it was written."""
    out = tmp_path_factory.mktemp("landscape") / "out"
    found = landscape.landscape(
        [folders / name for name in ("one", "two", "cut")], "digits", out, settings=SMALL
    )
    return found, out


def test_record_and_page_have_the_numbers(looked: tuple[Landscape, Path]) -> None:
    found, out = looked
    assert sorted(path.name for path in out.iterdir()) == ["landscape.html", "landscape.json"]
    assert records.read(Landscape, out / "landscape.json") == found
    text = read((out / "landscape.html").read_text(encoding="utf-8")).text
    for terrain in found.terrains:
        assert terrain.subject in text
        assert f"{terrain.loss:.3g}" in text
        assert f"{terrain.curvature.sharpness:.3g}" in text


def test_the_middle_of_every_picture_is_the_loss(looked: tuple[Landscape, Path]) -> None:
    found, _ = looked
    assert found.positions == (-1.0, 0.0, 1.0)
    for terrain in found.terrains:
        assert terrain.plane is not None
        assert terrain.line[1] == pytest.approx(terrain.loss, rel=1e-9)
        assert terrain.plane[1] == terrain.line


def test_the_loss_is_cross_entropy_on_the_images_that_are_recorded(
    looked: tuple[Landscape, Path], folders: Path
) -> None:
    found, _ = looked
    images = landscape._images([folders / "one"], "digits", SMALL)
    assert (len(images), images.sha256) == (40, found.images_sha256)
    model = checkpoint.load(folders / "one")
    logits_nk = torch.from_numpy(score.predict(model.module, images, model.record.normalisation))
    labels_n = torch.from_numpy(images.labels_n.copy())
    expected = float(torch.nn.functional.cross_entropy(logits_nk, labels_n))
    assert found.terrains[0].loss == pytest.approx(expected, rel=1e-5)


def test_paths_join_what_has_equal_shapes_and_end_at_the_losses(
    looked: tuple[Landscape, Path],
) -> None:
    found, _ = looked
    (passage,) = found.passages
    assert (passage.start, passage.end) == ("one", "two")
    losses = [terrain.loss for terrain in found.terrains[:2]]
    assert [passage.losses[0], passage.losses[-1]] == pytest.approx(losses, rel=1e-9)


def test_looking_writes_nothing_into_the_checkpoints_and_repeats_itself(
    folders: Path, tmp_path: Path
) -> None:
    def digests() -> dict[str, str]:
        files = [path for path in folders.rglob("*") if path.is_file()]
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    before = digests()
    first, second = (
        landscape.landscape([folders / "one"], "digits", tmp_path / name, settings=FLAT)
        for name in ("a", "b")
    )
    assert digests() == before
    assert first.terrains == second.terrains
    assert first.terrains[0].plane is None


def test_names_are_as_short_as_they_can_be_told_apart() -> None:
    paths = [Path("runs/1/checkpoints/deep"), Path("runs/2/checkpoints/deep")]
    assert landscape._names(paths) == ["1/checkpoints/deep", "2/checkpoints/deep"]
    assert landscape._names(paths[:1]) == ["deep"]


def refusal(look: Callable[[], object]) -> str:
    with pytest.raises(UsageError) as caught:
        look()
    return str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Settings(points=4), "--points is 4; expected an odd number"),
        (Settings(points=1), "--points is 1; expected an odd number"),
        (Settings(reach=0), "--range is 0; expected a number above 0"),
        (Settings(images=0), "--images is 0; expected 1 or more"),
    ],
)
def test_settings_out_of_range_are_refused(
    settings: Settings, message: str, folders: Path, tmp_path: Path
) -> None:
    one = [folders / "one"]
    found = refusal(lambda: landscape.landscape(one, "digits", tmp_path, settings=settings))
    assert message in found


@pytest.mark.parametrize(
    ("names", "message"),
    [((), "no checkpoint to look at"), (("one", "../{root}/one"), "is named twice")],
)
def test_checkpoints_are_named_once_each(
    names: tuple[str, ...], message: str, folders: Path, tmp_path: Path
) -> None:
    paths = [folders / name.format(root=folders.name) for name in names]
    found = refusal(lambda: landscape.landscape(paths, "digits", tmp_path, settings=FLAT))
    assert message in found


def test_images_that_a_checkpoint_does_not_take_are_refused(tmp_path: Path) -> None:
    few = save(tmp_path / "few", classes=3)
    wide = save(tmp_path / "wide", shape=(1, 16, 16))
    out = tmp_path / "out"
    found = refusal(lambda: landscape.landscape([few], "digits", out, settings=FLAT))
    assert re.search(r"few' has 3 classes, but the images have 10: .* --data", found)
    found = refusal(lambda: landscape.landscape([wide], "digits", out, settings=FLAT))
    assert re.search(r"\[1, 16, 16\] .* they are \[1, 8, 8\]: .* --image-size", found)
    assert not out.exists()


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ((0, 1), "no straight path leads from 'one' to 'cut': their shapes differ. Leave"),
        ((0, 0), "--path 1:1: expected two different numbers from 1 to 2"),
        ((0, 2), "--path 1:3: expected two different numbers from 1 to 2"),
    ],
)
def test_a_path_that_cannot_be_gone_is_refused(
    pair: tuple[int, int], message: str, folders: Path, tmp_path: Path
) -> None:
    both = [folders / "one", folders / "cut"]
    found = refusal(
        lambda: landscape.landscape(both, "digits", tmp_path, settings=FLAT, pairs=[pair])
    )
    assert message in found


def test_networks_of_one_cut_are_joined_and_those_of_two_cuts_are_not(
    folders: Path, tmp_path: Path
) -> None:
    cut = checkpoint.load(folders / "cut")
    checkpoint.save(tmp_path / "tuned", cut.module, cut.record, cut.surgery)
    kept = {
        name: Kept(part.out and tuple(channel + 1 for channel in part.out), part.into)
        for name, part in cut.surgery.kept.items()
    }
    checkpoint.save(tmp_path / "other", cut.module, cut.record, Surgery(kept))
    tuned, other = (
        replace(cut, record=records.read(records.Checkpoint, tmp_path / name / "checkpoint.json"))
        for name in ("tuned", "other")
    )
    assert landscape._obstacle(cut, tuned) is None
    assert landscape._obstacle(cut, other) == "kept channels"


def test_a_loss_that_is_not_finite_is_refused(folders: Path, tmp_path: Path) -> None:
    far = Settings(points=3, images=40, reach=1e30, plane=False, device="cpu")
    found = refusal(
        lambda: landscape.landscape([folders / "one"], "digits", tmp_path, settings=far)
    )
    assert "around 'one' is not finite everywhere: look less far with --range" in found
