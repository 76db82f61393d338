"""A few test images on which teacher and student part ways, kept small for the report.

They lie in a run's folder as ``examples.json``: whoever reads a report may lack the images.
"""

from pydantic import Field

from edgekd.core.records import Part, Record

FILE = "examples.json"
MOST = 8  # of each kind
SIDE_PX = 80  # no image is kept larger


class Example(Part):
    """One image and what both take it for."""

    place: int = Field(ge=0)  # in the image set
    label: int = Field(ge=0)  # class
    teacher: int = Field(ge=0)  # predicted class
    student: int = Field(ge=0)
    png: str = Field(pattern="^[A-Za-z0-9+/]+=*$")  # base64


class Examples(Record):
    """Images of which exactly one of the two has the class right, spread over the image set."""

    teacher: str  # its name on the ladder
    student: str
    images_sha256: str
    lost: tuple[Example, ...] = Field(max_length=MOST)  # only the teacher has them right
    gained: tuple[Example, ...] = Field(max_length=MOST)  # only the student has
