"""Scale of the batch normalisation behind a channel."""

from torch import Tensor

from edgekd.core.errors import UsageError
from edgekd.prune.group import Criterion, Group, normalisation_scale


class BatchNormScale(Criterion):
    """Sum of |gamma|.

    Source: Liu et al., 2017, network slimming, https://arxiv.org/abs/1708.06519: the criterion
    alone, without their sparsity penalty in training.
    """

    def score(self, group: Group) -> Tensor:
        """Return [C].

        Raises:
            UsageError: no batch normalisation stands behind the channels.
        """
        scale_c = normalisation_scale(group)
        if scale_c is None:
            raise UsageError(
                f"criterion 'bn_scale' cannot judge the channels of '{group.root}': no batch "
                "normalisation follows. Use l1 or l2, or keep the layer: "
                f"student.prune.keep = ['{group.root}']"
            )
        return scale_c
