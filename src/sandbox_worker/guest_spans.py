"""What of an executor's word on its guest's spans is believed, and how they are told."""

from collections.abc import Callable, Iterator

from sandbox_worker.guest.frames import FrameError, Ran
from stockade.core import span_names as names
from stockade.core.guest_spans import (
    GRAIN_NS,
    MOST_ATTRIBUTES,
    MOST_BYTES,
    MOST_NAME_BYTES,
    MOST_SPANS,
    MOST_VALUE_BYTES,
    GuestSpan,
)
from stockade.core.spans import Span, SpanKind, Value


def believed_spans(ran: Ran, began_ns: int, ended_ns: int) -> tuple[GuestSpan, ...]:
    """The spans, each within the one around it and the run, by the whole millisecond.

    Raises:
        FrameError: a sound executor does not say this.
    """
    if len(ran.spans) > MOST_SPANS or sum(map(_bytes, ran.spans)) > MOST_BYTES:
        raise FrameError("the executor tells of more spans than a guest may open")
    kept: list[GuestSpan] = []
    for place, span in enumerate(ran.spans):
        if not 0 <= span.parent <= place or not _is_sound(span):
            raise FrameError("the executor tells of a span that no guest can open")
        first, last = began_ns, ended_ns
        if span.parent:
            around = kept[span.parent - 1]
            first, last = around.began_ns, around.ended_ns
        start_ns = _within(span.began_ns, first, last)
        end_ns = _within(span.ended_ns, start_ns, last)
        kept.append(GuestSpan(span.name, span.parent, start_ns, end_ns, span.attributes))
    return tuple(kept)


def told_spans(
    spans: tuple[GuestSpan, ...],
    run: int,
    id_of: Callable[[int], int],
    unix_ns: Callable[[int], int],
) -> Iterator[Span]:
    """The spans of a trace that they make below the run's; `id_of` gives each number its id.

    What a guest says stands under names of its own, and control characters are escaped.
    """
    for place, span in enumerate(spans):
        attributes: dict[str, Value] = {names.GUEST: True}
        for name, value in span.attributes:
            attributes[f"{names.GUEST_PREFIX}{_visible(name)}"] = _visible(value)
        parent = id_of(span.parent) if span.parent else run
        times = unix_ns(span.began_ns), unix_ns(span.ended_ns)
        kind = int(SpanKind.INTERNAL)
        yield Span(_visible(span.name), kind, id_of(place + 1), parent, *times, attributes)


def _within(at_ns: int, first_ns: int, last_ns: int) -> int:
    return max(first_ns, min(at_ns - at_ns % GRAIN_NS, last_ns))


def _bytes(span: GuestSpan) -> int:
    said = sum(len(name.encode()) + len(value.encode()) for name, value in span.attributes)
    return len(span.name.encode()) + said


def _is_sound(span: GuestSpan) -> bool:
    return (
        0 < len(span.name.encode()) <= MOST_NAME_BYTES
        and len(span.attributes) <= MOST_ATTRIBUTES
        and all(
            0 < len(name.encode()) <= MOST_NAME_BYTES and len(value.encode()) <= MOST_VALUE_BYTES
            for name, value in span.attributes
        )
    )


def _visible(text: str) -> str:
    """The text with each character that is not to be seen escaped."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
