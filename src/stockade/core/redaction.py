"""Takes credentials out of texts that are kept or shown, wherever somebody has put them.

The last line: nothing here logs a credential by intent. But a caller may send a key as a name or in
a path, and a library may put what it was given into its error.
"""

import re

HIDDEN = "***"
_KEY = re.compile(r"(stk_[a-z0-9]{1,16}_[a-z0-9]{12}_)[a-z0-9]{8,}")
_TOKEN = re.compile(r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}", re.ASCII)
_SECRET_KEY = re.compile(
    r"(-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----).*?(-----END|\Z)", re.DOTALL | re.ASCII
)


def redact(text: str) -> str:
    """The text with API keys cut behind their id, and signed tokens and secret keys hidden."""
    if "stk_" in text:
        text = _KEY.sub(rf"\1{HIDDEN}", text)
    if "eyJ" in text:
        text = _TOKEN.sub(HIDDEN, text)
    if "PRIVATE KEY-----" in text:
        text = _SECRET_KEY.sub(rf"\1{HIDDEN}\2", text)
    return text
