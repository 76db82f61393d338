import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch

from edgekd.core.errors import CheckpointError, EnvironmentMissingError
from edgekd.core.progress import Silent
from edgekd.distill import cache
from edgekd.distill.batches import Batch, Batches
from edgekd.distill.cache import Cached
from edgekd.distill.hardware import Arithmetic
from edgekd.distill.method import Outputs
from edgekd.distill.processes import Processes
from edgekd.distill.teacher import Frozen, Online
from tests.distill import toys

ALONE = Processes("cpu")
VIEWS = 3


class Counting:
    """A teacher that counts how often it is asked."""

    def __init__(self, factor: float = 1.0) -> None:
        frozen = Frozen(toys.network(5), torch.randn(2, 1, 6, 6))
        normalisation = (toys.NORMALISATION, toys.NORMALISATION)
        self._online = Online(frozen, {}, normalisation, Arithmetic(ALONE.device))
        self._factor = factor
        self.asked = 0

    def __call__(self, batch: Batch) -> Outputs:
        self.asked += 1
        return Outputs(self._online(batch).logits_nk * self._factor)


def batches(images: int = 40) -> Batches:
    return Batches(toys.images(images, 1), toys.NORMALISATION, toys.DATA, 7, ALONE)


def build(folder: Path, teacher: Counting, key: str = "key") -> Cached:
    return cache.build(folder, key, VIEWS, batches(), teacher, ALONE, Silent())


def test_cached_answers_are_those_of_the_online_teacher(tmp_path: Path) -> None:
    teacher = Counting()
    cached = build(tmp_path, teacher)
    assert cached.views == VIEWS
    for view in range(VIEWS):
        for batch in batches().epoch(epoch=9, view=view):
            expected = teacher(batch).logits_nk
            found = cached(batch).logits_nk
            assert found.dtype == torch.float32
            # FP16 has 11 bits of mantissa.
            assert torch.allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_views_differ(tmp_path: Path) -> None:
    build(tmp_path, Counting())
    logits_vnk = np.load(tmp_path / cache.LOGITS)
    assert logits_vnk.shape == (VIEWS, 40, 3)
    assert logits_vnk.dtype == np.float16
    assert not np.array_equal(logits_vnk[0], logits_vnk[1])


def test_a_cache_that_is_there_is_used_again_without_asking(tmp_path: Path) -> None:
    build(tmp_path, Counting())
    again = Counting()
    build(tmp_path, again)
    assert again.asked == 0


def test_a_cache_of_something_else_is_made_anew(tmp_path: Path) -> None:
    build(tmp_path, Counting())
    other = Counting(factor=2.0)
    cached = build(tmp_path, other, key="another")
    batch = next(batches().epoch(0, 0))
    assert torch.allclose(cached(batch).logits_nk, other(batch).logits_nk, rtol=1e-3, atol=2e-3)


def test_an_interrupted_cache_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    class Stops(Counting):
        def __call__(self, batch: Batch) -> Outputs:
            if self.asked == 2:
                raise KeyboardInterrupt
            return super().__call__(batch)

    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, Stops())
    teacher = Counting()
    build(tmp_path, teacher)
    assert teacher.asked == VIEWS * 3


def test_a_logit_beyond_fp16_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not finite in FP16"):
        build(tmp_path, Counting(factor=1e6))


def test_a_disk_without_room_is_named_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")  # noqa: PYI024
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1, 1, 10))
    with pytest.raises(EnvironmentMissingError, match=r"MiB are free.*fewer views"):
        build(tmp_path, Counting())
    assert not list(tmp_path.iterdir())
