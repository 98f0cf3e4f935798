from hypothesis import given
from hypothesis import strategies as st

from backends.llama_cpp.text_stream import TextStream


def run(pieces: list[bytes], stops: list[str]) -> tuple[list[str], bool]:
    stream = TextStream(stops)
    shown: list[str] = []
    for piece in pieces:
        shown.append(stream.push(piece))
        if stream.stopped:
            break
    shown.append(stream.finish())
    return shown, stream.stopped


def in_pieces(text: str, sizes: list[int]) -> list[bytes]:
    raw = text.encode()
    pieces: list[bytes] = []
    for size in sizes:
        pieces.append(raw[:size])
        raw = raw[size:]
    return [*pieces, raw]


sizes = st.lists(st.integers(1, 5), max_size=40)


@given(text=st.text(), sizes=sizes)
def test_text_comes_out_whole_however_its_bytes_are_cut(text: str, sizes: list[int]) -> None:
    shown, stopped = run(in_pieces(text, sizes), [])

    assert "".join(shown) == text
    assert not stopped


@given(
    text=st.text("abc", max_size=40),
    stops=st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=3),
)
def test_the_answer_ends_before_the_first_stop_string_to_be_complete(
    text: str, stops: list[str]
) -> None:
    shown, stopped = run([letter.encode() for letter in text], stops)

    ends = [text.index(stop) + len(stop) for stop in stops if stop in text]
    assert stopped == bool(ends)
    if ends:
        complete = text[: min(ends)]
        longest = max(len(stop) for stop in stops if complete.endswith(stop))
        assert "".join(shown) == complete[: len(complete) - longest]
    else:
        assert "".join(shown) == text


def test_the_beginning_of_a_stop_string_is_held_back_until_it_is_none() -> None:
    stream = TextStream(["STOP"])

    assert stream.push(b"go ST") == "go "
    assert stream.push(b"AY") == "STAY"


def test_a_character_cut_at_the_end_is_left_out() -> None:
    shown, _ = run(["aé".encode()[:2]], [])

    assert "".join(shown) == "a"
