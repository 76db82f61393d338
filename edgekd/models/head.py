"""Give a trained network a new classifier, for images of other classes than it was trained on."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from edgekd.models import checkpoint, score
from edgekd.models.build import build
from edgekd.models.checkpoint import Model
from edgekd.models.surgery import replay

_DEVIATION = 0.01  # small, so that the first gradients leave the features alone


def renewed(model: Model, class_names: Sequence[str]) -> Model:
    """Return the network with a random classifier for these classes, and all else as it was.

    Args:
        model: is left as it is.
        class_names: K of them.

    Source: weights ~ N(0, 0.01^2) and biases 0, as is usual for fine-tuning, e.g. Kumar et al.,
    2022, https://arxiv.org/abs/2202.10054, section 2.
    """
    module = build(model.record.model, len(class_names))
    replay(module, model.surgery)
    fresh = module.state_dict()
    kept = {
        name: tensor
        for name, tensor in model.module.state_dict().items()
        if name in fresh and fresh[name].shape == tensor.shape
    }
    module.load_state_dict(kept, strict=False)
    classifier = module.get_submodule(score.classifier(module, len(class_names)))
    assert isinstance(classifier, nn.Linear | nn.Conv2d)
    nn.init.normal_(classifier.weight, std=_DEVIATION)
    if classifier.bias is not None:
        nn.init.zeros_(classifier.bias)
    with torch.no_grad():
        parameters, macs = checkpoint.count(module, model.record.input_shape)
    record = model.record.model_copy(
        update={
            "stage": "initial",
            "classes": len(class_names),
            "class_names": tuple(class_names),
            "parameters": parameters,
            "macs": macs,
        }
    )
    return replace(model, module=module, record=record, folder=None)
