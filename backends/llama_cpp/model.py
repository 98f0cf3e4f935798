"""A loaded model and its one context. Only the inference loop's thread decodes.

llama.cpp ends the process on misuse, so the rules of use are kept here: no more rows than the
batch holds, logits only of rows that asked for them, one thread on the context.
"""

import ctypes
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backends.llama_cpp.binding import (
    POOLING_NONE,
    POOLING_RANK,
    TOKEN_CONTROL,
    TOKEN_UNKNOWN,
    FloatPtr,
    Library,
    ModelPtr,
    VocabPtr,
)
from backends.llama_cpp.frames import Start
from backends.llama_cpp.settings import CONTEXT_CAP_TOKENS

CHUNK_TOKENS = 128
"""Most prompt tokens in one decode: whole blocks, or less than one (`prompts.chunk_end`)."""

EMBED_TOKENS = 512

_SPLIT_MODES = {"none": 0, "layer": 1, "row": 2}
_FLASH_ATTENTION = {"auto": -1, "off": 0, "on": 1}
_KV_TYPES = {"f16": 1, "q8_0": 8}


class LoadError(Exception):
    """The model cannot be used; the text is for people and names no path."""


class DecodeError(Exception):
    """llama.cpp refused a batch; the context is no longer to be trusted."""


class Vocab:
    """Tokens and their texts."""

    def __init__(self, library: Library, pointer: VocabPtr) -> None:
        self._library = library
        self.pointer = pointer
        self.size = library.llama_vocab_n_tokens(pointer)
        attributes = [library.llama_vocab_get_attr(pointer, token) for token in range(self.size)]
        self._special = [
            token
            for token, attribute in enumerate(attributes)
            if attribute & (TOKEN_CONTROL | TOKEN_UNKNOWN)
        ]
        self.endings = frozenset(
            token for token in range(self.size) if library.llama_vocab_is_eog(pointer, token)
        )
        self.silent = frozenset(self._special) - self.endings
        self._pieces: dict[int, bytes] = {}

    @property
    def bos(self) -> str:
        """Text of the token that begins a text, or ""."""
        return self._text(self._library.llama_vocab_bos(self.pointer))

    @property
    def eos(self) -> str:
        """Text of the token that ends a text, or ""."""
        return self._text(self._library.llama_vocab_eos(self.pointer))

    @property
    def leading(self) -> list[int]:
        """Tokens every prompt must begin with."""
        bos = self._library.llama_vocab_bos(self.pointer)
        return [bos] if bos >= 0 and self._library.llama_vocab_get_add_bos(self.pointer) else []

    def tokens_of(self, texts: Collection[str]) -> dict[int, bytes]:
        """Control tokens that stand for one of the texts, with their bytes."""
        return {
            token: text.encode() for token in self._special if (text := self._text(token)) in texts
        }

    def control_texts(self) -> list[str]:
        """Texts that would be read as control tokens."""
        return [self._text(token) for token in self._special]

    def tokenize(self, text: str, *, control: bool) -> list[int]:
        """Tokens of a text; `control` reads the texts of control tokens as those tokens."""
        return self._tokenize(text, edges=False, control=control)

    def tokenize_whole(self, text: str) -> list[int]:
        """Tokens of a text as plain words, with the edge tokens the model was trained with."""
        return self._tokenize(text, edges=True, control=False)

    def piece(self, token: int) -> bytes:
        """Bytes a token stands for; control tokens stand for none."""
        piece = self._pieces.get(token)
        if piece is None:
            piece = self._pieces[token] = self._read_piece(token, 64)
        return piece

    def _read_piece(self, token: int, capacity: int) -> bytes:
        out = ctypes.create_string_buffer(capacity)
        size = self._library.llama_token_to_piece(self.pointer, token, out, capacity, 0, False)
        return self._read_piece(token, -size) if size < 0 else out.raw[:size]

    def _tokenize(self, text: str, *, edges: bool, control: bool) -> list[int]:
        raw = text.encode("utf-8", "replace")
        capacity = len(raw) + 8
        out = (ctypes.c_int32 * capacity)()
        count = self._library.llama_tokenize(
            self.pointer, raw, len(raw), out, capacity, edges, control
        )
        assert count >= 0, "a text never has more tokens than bytes and edges"
        return list(out[:count])

    def _text(self, token: int) -> str:
        if token < 0:
            return ""
        return self._library.llama_vocab_get_text(self.pointer, token).decode("utf-8", "replace")


@dataclass(slots=True)
class Rows:
    """Rows of one decode: numpy views straight onto the arrays of llama.cpp's batch."""

    token: NDArray[np.int32]
    position: NDArray[np.int32]
    sequence: NDArray[np.int32]
    output: NDArray[np.int8]


class LoadedModel:
    """Weights, vocabulary, context and batch."""

    def __init__(self, library: Library, start: Start, log: Callable[[str], None]) -> None:
        """Load the model; llama.cpp's own log goes to `log`.

        Raises:
            LoadError: llama.cpp cannot load it, or there is no memory for its context.
        """
        self._library = library
        # Kept as long as the library may call it.
        self._log = _install_log(library, log)
        self._embed = start["mode"] == "embed"
        self._model = _load(library, start)
        self.vocab = Vocab(library, library.llama_model_get_vocab(self._model))
        self.dimensions = library.llama_model_n_embd_out(self._model)
        template = library.llama_model_chat_template(self._model, None)
        self.chat_template = (template or b"").decode("utf-8", "replace")
        self.slots = start["slots"]
        self._make_context(start)
        self._make_rows()
        self._logits_address = 0
        self._logits = np.zeros((0, self.vocab.size), np.float32)

    def _make_context(self, start: Start) -> None:
        library = self._library
        trained = library.llama_model_n_ctx_train(self._model)
        params = library.llama_context_default_params()
        if self._embed:
            params.n_ctx = params.n_batch = params.n_ubatch = min(EMBED_TOKENS, trained)
            params.n_seq_max = 1
            params.n_outputs_max_per_seq = 0
            params.embeddings = True
        else:
            per_slot = start["context_tokens"] or min(trained, CONTEXT_CAP_TOKENS)
            params.n_ctx = per_slot * self.slots
            params.n_batch = params.n_ubatch = max(CHUNK_TOKENS, self.slots)
            params.n_seq_max = params.n_outputs_max = self.slots
        # Split KV keeps the sequences' cells apart: needed to be deterministic.
        params.kv_unified = False
        params.n_threads = params.n_threads_batch = self.threads = start["threads"]
        params.flash_attn_type = _FLASH_ATTENTION[start["flash_attention"]]
        params.type_k = params.type_v = _KV_TYPES[start["kv_type"]]
        params.no_perf = True
        self._context = library.llama_init_from_model(self._model, params)
        if not self._context:
            raise LoadError(
                "no context could be made for the model; lower slots or context_tokens,"
                ' or set flash_attention = "auto" and kv_type = "f16"'
            )
        self._memory = library.llama_get_memory(self._context)
        self.context_tokens = (
            int(params.n_ctx) if self._embed else library.llama_n_ctx_seq(self._context)
        )
        self.batch_rows = library.llama_n_batch(self._context)
        pooling = library.llama_pooling_type(self._context)
        if self._embed and pooling in {POOLING_NONE, POOLING_RANK}:
            raise LoadError("the model makes no text embeddings; set an embedding model")
        if not self._embed and not library.llama_model_has_decoder(self._model):
            raise LoadError("the model generates no text; set a language model")

    def _make_rows(self) -> None:
        size = self.batch_rows
        batch = self._batch = self._library.llama_batch_init(size, 0, 1)

        def view(pointer: object, kind: type[ctypes.c_int32 | ctypes.c_int8]) -> NDArray[np.int32]:
            array = ctypes.cast(pointer, ctypes.POINTER(kind))  # type: ignore[arg-type]
            return np.ctypeslib.as_array(array, shape=(size,))

        self._sequence = np.zeros(size, np.int32)
        view(batch.n_seq_id, ctypes.c_int32)[:] = 1
        pointers = np.ctypeslib.as_array(
            ctypes.cast(batch.seq_id, ctypes.POINTER(ctypes.c_uint64)),  # type: ignore[arg-type]
            shape=(size,),
        )
        # Each row's list of sequences is one cell of a flat array, so that rows are set at once.
        pointers[:] = self._sequence.ctypes.data + 4 * np.arange(size, dtype=np.uint64)
        self.rows = Rows(
            token=view(batch.token, ctypes.c_int32),
            position=view(batch.pos, ctypes.c_int32),
            sequence=self._sequence,
            output=view(batch.logits, ctypes.c_int8).view(np.int8),
        )

    def decode(self, count: int) -> None:
        """Compute the first `count` of `rows`.

        Raises:
            DecodeError: llama.cpp refused the batch.
        """
        assert 0 < count <= self.batch_rows, "more rows than the batch holds end the process"
        self._batch.n_tokens = count
        code = self._library.llama_decode(self._context, self._batch)
        if code:
            raise DecodeError(f"llama_decode returned {code} for {count} rows")

    def logits(self, outputs: int) -> NDArray[np.float32]:
        """Logits of the rows that asked for output, shape `(outputs, vocabulary)`; a view."""
        pointer = self._library.llama_get_logits(self._context)
        assert pointer, "output of rows that did not ask for it"
        # Making a view costs more than all else here, and the buffer hardly ever moves.
        address = ctypes.addressof(pointer.contents)
        if address != self._logits_address:
            whole = _view(pointer, self.slots * self.vocab.size)
            self._logits = whole.reshape(self.slots, self.vocab.size)
            self._logits_address = address
        return self._logits[:outputs]

    def close(self) -> None:
        """Free weights and context; nothing else may be called after it."""
        self._library.llama_free(self._context)
        self._library.llama_model_free(self._model)

    def use_threads(self, *, lone: int, many: int) -> None:
        """Set the threads for a decode of one row and for larger ones."""
        self._library.llama_set_n_threads(self._context, lone, many)

    def forget(self, sequence: int, start: int) -> bool:
        """Drop a sequence's cells from position `start` on; False if the model cannot."""
        return self._library.llama_memory_seq_rm(self._memory, sequence, start, -1)

    def copy(self, source: int, target: int, count: int) -> bool:
        """Give a sequence the first `count` cells of another; False if the model cannot.

        Costs a copy of all the cells of a sequence in memory, far less than computing a chunk.
        """
        # Part of a sequence cannot be copied where sequences have cells of their own.
        self._library.llama_memory_seq_cp(self._memory, source, target, -1, -1)
        return self.forget(target, count)

    def save(self, sequence: int) -> NDArray[np.uint8]:
        """Copy a sequence's cells out, shape `(size_bytes,)`."""
        size = self._library.llama_state_seq_get_size(self._context, sequence)
        state = np.empty(size, np.uint8)
        taken = self._library.llama_state_seq_get_data(
            self._context, _bytes_at(state), size, sequence
        )
        return state[:taken]

    def load(self, sequence: int, state: NDArray[np.uint8]) -> bool:
        """Fill an empty sequence; False, and still empty, if the state does not fit."""
        taken = self._library.llama_state_seq_set_data(
            self._context, _bytes_at(state), state.nbytes, sequence
        )
        if taken != state.nbytes:
            self.forget(sequence, 0)
        return taken == state.nbytes

    def embed(self, tokens: list[int]) -> NDArray[np.float32]:
        """Pooled embedding of one text, not normalised, shape `(dimensions,)`."""
        count = len(tokens)
        rows = self.rows
        rows.token[:count] = tokens
        rows.position[:count] = np.arange(count)
        rows.sequence[:count] = 0
        rows.output[:count] = 1
        if self._memory:
            self._library.llama_memory_clear(self._memory, False)
        self.decode(count)
        pointer = self._library.llama_get_embeddings_seq(self._context, 0)
        return _view(pointer, self.dimensions).copy()


def _install_log(library: Library, write: Callable[[str], None]) -> object:
    def on_log(_level: int, text: bytes, _user: object) -> None:
        # An exception that left this callback would end the process.
        try:
            write(text.decode("utf-8", "replace"))
        except (OSError, ValueError):
            return

    callback = library.llama_log_callback(on_log)
    library.llama_log_set(callback, ctypes.c_void_p(0))
    return callback


def _load(library: Library, start: Start) -> ModelPtr:
    if start["gpu_layers"] and not library.llama_supports_gpu_offload():
        raise LoadError(
            "gpu_layers is set, but this llama.cpp was built without GPU support; set"
            " gpu_layers = 0, or reinstall llama-cpp-python with CMAKE_ARGS=-DGGML_CUDA=on"
        )
    params = library.llama_model_default_params()
    params.n_gpu_layers = start["gpu_layers"]
    params.split_mode = _SPLIT_MODES[start["split_mode"]]
    params.main_gpu = start["main_gpu"]
    params.use_extra_bufts = start["extra_buffers"]
    library.llama_backend_init()
    model = library.llama_model_load_from_file(start["model"].encode(), params)
    if not model:
        raise LoadError(
            "llama.cpp cannot load the model file: it is damaged, or its architecture is newer"
            " than this llama.cpp; download it again or update llama-cpp-python"
        )
    return model


def _view(pointer: FloatPtr, size: int) -> NDArray[np.float32]:
    assert pointer, "output of rows that did not ask for it"
    floats = (ctypes.c_float * size).from_address(ctypes.addressof(pointer.contents))
    return np.ctypeslib.as_array(floats)


def _bytes_at(state: NDArray[np.uint8]) -> object:
    return state.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
