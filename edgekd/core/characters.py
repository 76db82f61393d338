"""Text that any reader of XML, JSON, Markdown or a log can take."""

import re

# Neither XML 1.0 nor UTF-8 has these: control characters, halves of a pair, and U+FFFE, U+FFFF.
_NOWHERE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def one_line(text: str) -> str:
    """Return a text without line breaks, and with U+FFFD for what is no character of XML."""
    return _NOWHERE.sub("\ufffd", " ".join(text.splitlines()))
