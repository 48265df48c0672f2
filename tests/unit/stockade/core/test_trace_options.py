"""Where spans may be sent."""

import pytest

from stockade.core.trace_options import parse_otlp_endpoint


@pytest.mark.parametrize("text", ["", "http://127.0.0.1:4318", "https://collector/otlp"])
def test_a_plain_url_is_taken(text: str) -> None:
    assert parse_otlp_endpoint(text) == text


@pytest.mark.parametrize(
    "text", ["collector:4317", "ftp://a", "http://", "https://u:p@a", "http://a?k=v", "http://a#f"]
)
def test_anything_else_is_refused_unsaid(text: str) -> None:
    with pytest.raises(ValueError, match="must be http") as caught:
        parse_otlp_endpoint(text)
    assert text == "http://" or text not in str(caught.value)
