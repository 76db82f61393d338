"""What ``edgekd sensitivity`` writes: what INT8 costs a network, layer by layer.

All is measured on the same validation images, against the float network.
"""

from pydantic import Field

from edgekd.core.records import Interval, Part, Record, State


class Damage(Part):
    """How far a network with some layers in INT8 is from the float one."""

    relative_l2: float  # RMS of the logits' differences / RMS of the float network's logits
    kl_nats: float  # mean over the images of KL(float's softmax || this one's); >= 0
    max_error: float  # the largest |difference| of two logits
    top1_percent: float
    lost: int  # images that only the float network has right
    gained: int  # images that only this one has right
    drop_pp: Interval  # of top-1 below the float network's, paired by image


class Variant(Record):
    """The damage of one choice of layers; kept, so that nothing is computed twice."""

    keep_float: tuple[str, ...]  # layers that stay float beside those that the target leaves so
    damage: Damage


class Layer(Part):
    """One layer that the target computes in INT8."""

    layer: str  # its module
    operator: str
    alone: Damage  # this layer in INT8, all others in float
    without: Damage | None  # all in INT8 but this layer; None: not asked for


class Trial(Part):
    """One choice of float layers that the search judged."""

    keep_float: tuple[str, ...]
    drop_pp: Interval
    state: State


class Mixed(Part):
    """Which layers must stay float for the accuracy rule to hold on these images."""

    margin: float  # pp
    confidence: float  # one-sided
    state: State  # passed: ``keep_float`` satisfies the rule
    keep_float: tuple[str, ...]  # beside those that the target leaves float; empty: none must
    trials: tuple[Trial, ...]  # in the order in which they were judged
    images_needed: int | None  # inconclusive: about so many would decide; None: unknown
    message: str  # one line for people


class Sensitivity(Record):
    """What INT8 costs, layer by layer, the most sensitive first."""

    subject: str  # the checkpoint, as it was named
    target: str
    calibration: str  # "entropy on 512 training images"
    source: str  # of the images
    images: int  # of the validation set
    images_sha256: str
    top1_percent: float  # of the float network
    left_float: tuple[str, ...]  # weighted layers that the target or training leaves float
    everything: Damage  # every layer that the target takes, in INT8
    layers: tuple[Layer, ...] = Field(min_length=1)
    mixed: Mixed | None = None  # None: not asked for
