import numpy as np
import pytest
import torch

from edgekd.core.errors import DataError, UsageError
from edgekd.data.augment import normalise
from edgekd.distill.batches import Batches
from edgekd.distill.processes import Processes
from tests.distill import toys

ALONE = Processes("cpu")


def batches(images: int = 40, seed: int = 0, processes: Processes = ALONE) -> Batches:
    return Batches(toys.images(images, 1), toys.NORMALISATION, toys.DATA, seed, processes)


def ids(found: Batches, epoch: int) -> list[int]:
    return [int(i) for batch in found.epoch(epoch, 0) for i in batch.ids_n]


def test_an_epoch_shows_no_image_twice_and_drops_what_is_left_over() -> None:
    found = ids(batches(40), 0)
    assert len(found) == len(set(found)) == 32
    assert batches(40).steps == 2


def test_order_depends_on_seed_and_epoch_alone() -> None:
    assert ids(batches(), 3) == ids(batches(), 3)
    assert ids(batches(), 3) != ids(batches(), 4)
    assert ids(batches(seed=0), 3) != ids(batches(seed=1), 3)


def test_pixels_of_an_image_depend_on_the_view_and_not_on_the_epoch() -> None:
    def pixels(epoch: int, view: int) -> dict[int, torch.Tensor]:
        found = batches(48).epoch(epoch, view)
        return {int(i): x for b in found for i, x in zip(b.ids_n, b.images_nchw, strict=True)}

    one, same, other = pixels(0, 5), pixels(1, 5), pixels(0, 6)
    assert all(torch.equal(one[i], same[i]) for i in range(48))
    assert not all(torch.equal(one[i], other[i]) for i in range(48))


def test_images_and_labels_belong_to_the_ids() -> None:
    images = toys.images(20, 1)
    data = toys.DATA.model_copy(update={"augment": "none"})
    (batch,) = Batches(images, toys.NORMALISATION, data, 0, ALONE).epoch(0, 0)
    expected = normalise(images.batch(batch.ids_n), toys.NORMALISATION, "cpu")
    assert torch.equal(batch.images_nchw, expected)
    assert np.array_equal(batch.labels_n.numpy(), images.labels_n[batch.ids_n])


def test_images_lie_channels_last_in_memory() -> None:
    (batch, *_) = batches().epoch(0, 0)
    assert batch.images_nchw.is_contiguous(memory_format=torch.channels_last)


def test_in_order_shows_all_images_in_full_batches() -> None:
    found = list(batches(40).in_order(0))
    assert [len(batch.ids_n) for batch in found] == [16, 16, 16]
    assert [int(i) for batch in found for i in batch.ids_n] == [*range(40), *range(8)]


def test_fewer_images_than_a_batch_are_refused() -> None:
    with pytest.raises(DataError, match="batch_size is 16, but there are 15 training images"):
        batches(15)


def test_processes_take_equal_parts_of_the_same_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = []
    for rank in range(2):
        share = Processes("cpu")
        share.count, share.rank = 2, rank
        parts.append([batch.ids_n for batch in batches(processes=share).epoch(0, 0)])
    together = [np.concatenate(pair) for pair in zip(*parts, strict=True)]
    alone = [batch.ids_n for batch in batches().epoch(0, 0)]
    assert all(np.array_equal(a, b) for a, b in zip(together, alone, strict=True))


def test_a_batch_that_cannot_be_divided_is_refused() -> None:
    share = Processes("cpu")
    share.count = 3
    with pytest.raises(UsageError, match="multiple of 3"):
        batches(processes=share)


def test_images_that_stay_on_the_device_give_the_same_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    travelling = [batch.images_nchw for batch in batches().epoch(1, 2)]
    monkeypatch.setattr("edgekd.distill.batches._fits", lambda *_: True)
    kept = batches()
    monkeypatch.setattr(kept.images.pixels, "_pixels_nhwc", None)  # no longer asked
    resident = [batch.images_nchw for batch in kept.epoch(1, 2)]
    assert all(torch.equal(one, other) for one, other in zip(travelling, resident, strict=True))
