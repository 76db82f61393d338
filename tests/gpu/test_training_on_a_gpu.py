from pathlib import Path

import pytest
import torch

from edgekd.core import specs
from edgekd.distill.batches import Batches
from edgekd.distill.processes import Processes
from tests.distill import toys
from tests.distill.toys import fit, model, same, stage

pytestmark = pytest.mark.gpu

TRAINING = specs.Training(device="cuda", amp="off", compile="off")


def training(**changes: object) -> specs.Training:
    return TRAINING.model_copy(update=changes)


def test_images_that_fit_stay_on_the_device() -> None:
    batches = Batches(toys.splits().train, toys.NORMALISATION, toys.DATA, 0, Processes("cuda"))
    pixels_nhwc, _ = batches._read(next(batches.in_order(0)).ids_n)
    assert pixels_nhwc.is_cuda


@pytest.mark.parametrize("fits", [False, True])
def test_batches_come_on_the_device_channels_last(
    monkeypatch: pytest.MonkeyPatch, *, fits: bool
) -> None:
    monkeypatch.setattr("edgekd.distill.batches._fits", lambda *_: fits)
    batches = Batches(toys.splits().train, toys.NORMALISATION, toys.DATA, 0, Processes("cuda"))
    for batch in batches.epoch(0, 0):
        assert batch.images_nchw.is_cuda
        assert batch.labels_n.is_cuda
        assert batch.images_nchw.is_contiguous(memory_format=torch.channels_last)


def test_batches_are_those_of_the_processor() -> None:
    pairs = zip(
        Batches(toys.splits().train, toys.NORMALISATION, toys.DATA, 0, Processes("cuda")).epoch(
            0, 0
        ),
        Batches(toys.splits().train, toys.NORMALISATION, toys.DATA, 0, Processes("cpu")).epoch(
            0, 0
        ),
        strict=True,
    )
    for one, other in pairs:
        assert torch.allclose(one.images_nchw.cpu(), other.images_nchw, atol=1e-5)


@pytest.mark.parametrize("amp", ["off", "bf16"])
def test_training_learns(tmp_path: Path, amp: str) -> None:
    trained, record = fit(
        tmp_path, toys.distilling(epochs=6), model(0), model(1), training=training(amp=amp)
    )
    assert max(epoch.validation_top1_percent for epoch in record.epochs) > 80
    assert all(tensor.device.type == "cpu" for tensor in trained.state_dict().values())
    assert all(parameter.dtype == torch.float32 for parameter in trained.parameters())


def test_auto_computes_in_bf16_where_the_gpu_does(tmp_path: Path) -> None:
    _, record = fit(tmp_path, stage(epochs=1), training=training(device="auto", amp="auto"))
    has = torch.cuda.is_bf16_supported(including_emulation=False)
    assert record.notes[0].startswith("amp: bf16" if has else "amp: off")


def test_compiled_training_learns(tmp_path: Path) -> None:
    _, record = fit(
        tmp_path, toys.distilling(epochs=6), model(0), model(1), training=training(compile="on")
    )
    assert max(epoch.validation_top1_percent for epoch in record.epochs) > 80


def test_a_resumed_stage_equals_an_uninterrupted_one_if_deterministic(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    exact = {"training": training(deterministic=True)}
    stage_ = stage(methods=[{"name": "kd"}], ema=0.9)
    whole, _ = fit(tmp_path / "whole", stage_, model(0), model(1), **exact)

    def stop(title: str, count: int, note: str) -> None:
        if note.startswith("epoch 3/"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "half", stage_, model(0), model(1), progress=toys.Listener(stop), **exact)
    resumed, _ = fit(tmp_path / "half", stage_, model(0), model(1), **exact)
    assert same(whole, resumed)


def test_a_cached_teacher_answers_on_the_device(tmp_path: Path) -> None:
    cached = stage(epochs=2, methods=[{"name": "kd"}], teacher="cached", views=2)
    _, record = fit(tmp_path, cached, model(0), model(1), training=TRAINING)
    assert record.epochs[-1].terms["kd"] > 0
