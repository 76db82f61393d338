"""What ``edgekd calibration`` finds: whether images and calibrator suit a network.

Distances are between the float network and its INT8 file on validation images, which no
calibrator sees.
"""

from pydantic import Field

from edgekd.core.records import Interval, Part, Record


class Choice(Part):
    """What one calibrator makes of the network."""

    calibrator: str
    relative_l2: float  # RMS of the logits' differences / RMS of the float network's logits
    top1_agreement_ratio: float  # validation images with the float network's top-1
    drop_pp: Interval  # of top-1 below the float network's, paired by image
    median_move_percent: float  # of scales, from one half of the images to the other
    largest_move_percent: float


class Seen(Part):
    """One quantised tensor; every mapping is by calibrator."""

    tensor: str
    low_high: dict[str, tuple[float, float]]
    clipped_ratio: dict[str, float]  # values on the calibration images that lie beyond
    move_percent: dict[str, float]  # of the scale, from one half of the images to the other


class Checkup(Record):
    """Images and calibrators, examined for one network and one target."""

    source: str
    target: str
    images: int  # training images that the calibrators saw
    images_by_class: dict[str, int]
    test_images: int  # of them that are test images, too, byte by byte
    validation_images: int  # of them that are validation images, too
    evaluated_images: int  # validation images that distances rest on
    choices: tuple[Choice, ...] = Field(min_length=1)  # the least distance first
    tensors: tuple[Seen, ...]  # in the order of the graph
    trained_ranges: int  # tensors whose range comes from training; no calibrator is asked
    recommended: str  # of those about as near as the nearest, the one whose scales move least
    enough: bool  # the images lack nothing
    limit_percent: float  # by which no scale of that calibrator may move between the halves
    lacks: tuple[str, ...] = ()  # steady scales, images of each class, or balance; as findings
    findings: tuple[str, ...]
