"""Run a model over many images and write its logits."""

from __future__ import annotations

from typing import Any, Dict

from . import engines
from .protocol import AgentError, emit
from .telemetry import allowed_cores


def infer(request: Dict[str, Any]) -> None:
    """Write the logits of all images of a file.

    Request: "engine"; "model"; "images" (a .npy of uint8 [N, H, W, C], N > 0, mapped, not read);
    "mean" and "std" (for each channel, pixels in [0, 1]); "batch" (used as far as the model
    leaves it free); "threads" (None: one a core); "logits" (the .npy of float32 [N, K] to write).

    Lines: "opened", "progress" for each batch.

    Raises:
        AgentError: a model or images that do not fit.
    """
    import numpy as np

    images_nhwc = np.load(request["images"], mmap_mode="r", allow_pickle=False)
    threads = request["threads"] or len(allowed_cores())
    model = engines.open_model(request["engine"], request["model"], threads)
    emit("opened", engine=model.engine, load_ms=None, cold_ms=None)
    fewest, most = model.batches
    batch = max(fewest, min(request["batch"], most or request["batch"]))
    count = len(images_nhwc)
    with open(request["logits"], "wb") as file:
        for start in range(0, count, batch):
            chunk = np.asarray(images_nhwc[start : start + batch])
            images_nchw = normalise(chunk, request["mean"], request["std"])
            outputs_nk = model.infer(_padded(images_nchw, fewest))[: len(chunk)]
            _check(outputs_nk, len(chunk), request["model"])
            if start == 0:
                _begin(file, (count, outputs_nk.shape[1]))
            file.write(np.ascontiguousarray(outputs_nk).tobytes())
            emit("progress", done=start + len(chunk), total=count, note="")


def normalise(images_nhwc: Any, mean: Any, std: Any) -> Any:
    """Return (pixel / 255 - mean) / std, float32 [N, C, H, W], contiguous.

    Raises:
        AgentError: there are not as many means as channels.
    """
    import numpy as np

    channels = images_nhwc.shape[3]
    if len(mean) != channels or len(std) != channels:
        raise AgentError(
            "request",
            "images of %d channels need as many means and standard deviations, but there are %d "
            "and %d" % (channels, len(mean), len(std)),
        )
    mean_c = np.asarray(mean, np.float32).reshape(-1, 1, 1)
    std_c = np.asarray(std, np.float32).reshape(-1, 1, 1)
    # One factor and one summand, as in training: rounded alike, so the pixels are the same bits.
    scale_c, shift_c = 1 / (np.float32(255) * std_c), -mean_c / std_c
    images_nchw = images_nhwc.transpose(0, 3, 1, 2).astype(np.float32, order="C")
    images_nchw *= scale_c
    images_nchw += shift_c
    return images_nchw


def _check(outputs_nk: Any, images: int, path: str) -> None:
    if outputs_nk.ndim != len("NK") or len(outputs_nk) != images:
        raise AgentError(
            "model",
            "'%s' must give one row of logits for each image, but gives %s for %d images"
            % (path, outputs_nk.shape, images),
        )


def _begin(file: Any, shape: Any) -> None:
    """Write the head of a .npy file whose rows follow: no map, which dies when the disk is full."""
    import numpy as np

    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _padded(images_nchw: Any, fewest: int) -> Any:
    """Fill the last batch of a model that takes no fewer images, by repeating one."""
    import numpy as np

    missing = fewest - len(images_nchw)
    if missing <= 0:
        return images_nchw
    return np.concatenate([images_nchw, np.repeat(images_nchw[-1:], missing, axis=0)])
