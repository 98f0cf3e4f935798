"""Lines, events and messages, whatever way the bytes are cut."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.tool_servers.events import EventReader
from backends.tool_servers.jsonrpc import GarbageError, encode, read_json, read_messages
from backends.tool_servers.lines import Line, LineSplitter

LIMIT = 1000


def pieces(content: bytes, cuts: list[int]) -> list[bytes]:
    ends = [*sorted(cut % (len(content) + 1) for cut in cuts), len(content)]
    return [content[start:end] for start, end in zip([0, *ends], ends, strict=False)]


lines = st.lists(
    st.one_of(st.binary(max_size=50), st.integers(LIMIT - 3, 5000).map(lambda size: b"y" * size)),
    max_size=8,
).map(lambda each: [line.replace(b"\n", b" ") for line in each])
cuts = st.lists(st.integers(0, 50_000), max_size=12)


@given(lines=lines, cuts=cuts)
def test_lines_come_out_as_they_went_in_up_to_the_limit(
    lines: list[bytes], cuts: list[int]
) -> None:
    splitter = LineSplitter(LIMIT)
    found = [
        line
        for piece in pieces(b"".join(line + b"\n" for line in lines), cuts)
        for line in splitter.feed(piece)
    ]
    assert [line.size_bytes for line in found] == [len(line) for line in lines]
    for line, original in zip(found, lines, strict=True):
        assert line.is_cut == (len(original) > LIMIT)
        if not line.is_cut:
            assert line.content == original
        else:
            assert len(line.content) <= 512
            assert line.content[:256] == original[:256]
            assert line.content[256:] == original[-256:]
    assert splitter.pending_bytes == 0


@given(
    payloads=st.lists(st.text(st.characters(exclude_characters="\r\n", codec="utf-8")), max_size=5),
    cuts=cuts,
    end=st.sampled_from([b"\n", b"\r\n"]),
)
def test_events_come_out_as_they_went_in(payloads: list[str], cuts: list[int], end: bytes) -> None:
    sent = b"".join(
        b"id: " + str(at).encode() + end + b"data: " + payload.encode() + end + end
        for at, payload in enumerate(payloads)
    )
    reader = EventReader(10_000)
    events = [event for piece in pieces(sent, cuts) for event in reader.feed(piece)]
    assert [event.payload.content.decode() for event in events] == payloads
    assert [event.id for event in events] == [str(at) for at in range(len(payloads))]


@given(parts=st.lists(st.integers(0, 800), min_size=1, max_size=6))
def test_an_event_above_the_limit_is_counted_and_not_kept(parts: list[int]) -> None:
    sent = b"".join(b"data: " + b"z" * part + b"\n" for part in parts) + b"\n"
    [event] = EventReader(LIMIT).feed(sent)
    assert event.payload.size_bytes == sum(parts) + len(parts) - 1
    assert event.payload.is_cut == (event.payload.size_bytes > LIMIT)
    assert len(event.payload.content) <= LIMIT


def test_the_fields_of_an_event_are_read_and_comments_are_not() -> None:
    sent = b": hello\nevent: endpoint\nretry: 1500\nunknown: x\ndata: a\ndata:b\n\nretry: soon\n\n"
    [event] = EventReader(LIMIT).feed(sent)
    assert (event.kind, event.retry_seconds, event.id) == ("endpoint", 1.5, None)
    assert event.payload.content == b"a\nb"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(json_values)
def test_json_is_read_as_it_was_written(value: object) -> None:
    assert read_json(json.dumps(value).encode()) == json.loads(json.dumps(value))


@given(st.binary(max_size=300))
def test_any_bytes_are_messages_or_garbage(content: bytes) -> None:
    try:
        messages = read_messages(Line(content, len(content)))
    except GarbageError:
        return
    for message in messages:
        assert message.method is not None or message.result is not None or message.error


@given(st.text(st.characters(categories=["Cs", "L", "Nd"])))
def test_what_is_read_can_be_written_again(text: str) -> None:
    read = read_json(json.dumps([text, {text: 1}]).encode())
    replaced = "".join("\ufffd" if "\ud800" <= letter <= "\udfff" else letter for letter in text)
    assert read == [replaced, {replaced: 1}]


@pytest.mark.parametrize("depth", [130, 1_000, 100_000])
def test_deep_nesting_is_garbage(depth: int) -> None:
    with pytest.raises(GarbageError):
        read_json(b"[" * depth + b"]" * depth)


def test_what_we_send_is_one_line_of_utf_8() -> None:
    sent = encode({"text": "a\nb\u2028\ud800\u00e9"})
    assert b"\n" not in sent
    assert json.loads(sent.decode())["text"] == "a\nb\u2028?\u00e9"
