"""The part of llama.cpp's C interface that this package uses, with types.

llama-cpp-python maps the whole of `llama.h` by ctypes, without checks: a structure that has
drifted from the library is read as garbage, and most misuse ends the process. `load_library`
checks the structures once; `backends.llama_cpp.model` keeps to the rules of use.
"""

import ctypes
import importlib
from collections.abc import Callable
from typing import Protocol, cast

POOLING_NONE = 0
POOLING_RANK = 4
TOKEN_UNKNOWN = 1 << 0
TOKEN_CONTROL = 1 << 3


class Pointer(Protocol):
    """A C pointer; false if it is NULL."""

    def __bool__(self) -> bool: ...


class ModelPtr(Pointer, Protocol):
    """`llama_model *`."""


class ContextPtr(Pointer, Protocol):
    """`llama_context *`."""


class VocabPtr(Pointer, Protocol):
    """`const llama_vocab *`."""


class MemoryPtr(Pointer, Protocol):
    """`llama_memory_t`."""


class SamplerPtr(Pointer, Protocol):
    """`llama_sampler *`."""


class ModelParams(Protocol):
    """`llama_model_params`."""

    n_gpu_layers: int
    split_mode: int
    main_gpu: int
    use_extra_bufts: bool


class ContextParams(Protocol):
    """`llama_context_params`."""

    n_ctx: int
    n_batch: int
    n_ubatch: int
    n_seq_max: int
    n_outputs_max: int
    n_outputs_max_per_seq: int
    n_threads: int
    n_threads_batch: int
    flash_attn_type: int
    type_k: int
    type_v: int
    embeddings: bool
    no_perf: bool
    kv_unified: bool


class Batch(Protocol):
    """`llama_batch`; the arrays are ctypes pointers."""

    n_tokens: int
    token: object
    pos: object
    n_seq_id: object
    seq_id: object
    logits: object


class TokenArray(Protocol):
    """`llama_token_data_array`."""

    size: int
    selected: int
    sorted: bool


class FloatPtr(Pointer, Protocol):
    """`float *`."""

    @property
    def contents(self) -> ctypes.c_float:
        """The first float; its address is the array's."""
        ...


class Library(Protocol):
    """The functions of `llama.h`, named as there. Pointers are NULL where they are false."""

    llama_log_callback: Callable[[Callable[[int, bytes, object], None]], object]
    llama_token_data_p: type[object]
    llama_token_data_array: Callable[..., TokenArray]

    llama_backend_init: Callable[[], None]
    llama_log_set: Callable[[object, object], None]
    llama_supports_gpu_offload: Callable[[], bool]
    llama_print_system_info: Callable[[], bytes]
    llama_model_default_params: Callable[[], ModelParams]
    llama_context_default_params: Callable[[], ContextParams]
    llama_model_load_from_file: Callable[[bytes, ModelParams], ModelPtr]
    llama_model_free: Callable[[ModelPtr], None]
    llama_model_get_vocab: Callable[[ModelPtr], VocabPtr]
    llama_model_n_ctx_train: Callable[[ModelPtr], int]
    llama_model_n_embd_out: Callable[[ModelPtr], int]
    llama_model_has_decoder: Callable[[ModelPtr], bool]
    llama_model_chat_template: Callable[[ModelPtr, None], bytes | None]
    llama_init_from_model: Callable[[ModelPtr, ContextParams], ContextPtr]
    llama_free: Callable[[ContextPtr], None]
    llama_n_ctx_seq: Callable[[ContextPtr], int]
    llama_n_batch: Callable[[ContextPtr], int]
    llama_pooling_type: Callable[[ContextPtr], int]
    llama_get_memory: Callable[[ContextPtr], MemoryPtr]
    llama_set_n_threads: Callable[[ContextPtr, int, int], None]
    llama_decode: Callable[[ContextPtr, Batch], int]
    llama_get_logits: Callable[[ContextPtr], FloatPtr]
    llama_get_embeddings_seq: Callable[[ContextPtr, int], FloatPtr]
    llama_memory_clear: Callable[[MemoryPtr, bool], None]
    llama_memory_seq_rm: Callable[[MemoryPtr, int, int, int], bool]
    llama_memory_seq_cp: Callable[[MemoryPtr, int, int, int, int], None]
    llama_state_seq_get_size: Callable[[ContextPtr, int], int]
    llama_state_seq_get_data: Callable[[ContextPtr, object, int, int], int]
    llama_state_seq_set_data: Callable[[ContextPtr, object, int, int], int]
    llama_batch_init: Callable[[int, int, int], Batch]
    llama_vocab_n_tokens: Callable[[VocabPtr], int]
    llama_vocab_is_eog: Callable[[VocabPtr, int], bool]
    llama_vocab_get_attr: Callable[[VocabPtr, int], int]
    llama_vocab_get_text: Callable[[VocabPtr, int], bytes]
    llama_vocab_bos: Callable[[VocabPtr], int]
    llama_vocab_eos: Callable[[VocabPtr], int]
    llama_vocab_get_add_bos: Callable[[VocabPtr], bool]
    llama_tokenize: Callable[[VocabPtr, bytes, int, object, int, bool, bool], int]
    llama_token_to_piece: Callable[[VocabPtr, int, object, int, int, bool], int]
    llama_sampler_init_grammar: Callable[[VocabPtr, bytes, bytes], SamplerPtr]
    llama_sampler_apply: Callable[[SamplerPtr, object], None]
    llama_sampler_accept: Callable[[SamplerPtr, int], None]
    llama_sampler_free: Callable[[SamplerPtr], None]


class LibraryError(Exception):
    """llama.cpp is not installed, or not in the shape this package was written for."""


def load_library() -> Library:
    """Load llama.cpp into this process and check its structures.

    Raises:
        LibraryError: It is missing, or its structures are not those of llama-cpp-python.
    """
    try:
        library = cast("Library", importlib.import_module("llama_cpp.llama_cpp"))
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        raise LibraryError(
            "llama-cpp-python cannot be loaded; reinstall llama-cpp-python>=0.3.36,<0.4"
        ) from error
    model = library.llama_model_default_params()
    context = library.llama_context_default_params()
    # Defaults written in llama.cpp's source; any shift of a field shows in at least one of them.
    as_expected = (
        model.use_extra_bufts is True
        and model.n_gpu_layers in {-1, 0, 999}
        and model.main_gpu == 0
        and (context.n_ctx, context.n_batch, context.n_ubatch) == (512, 2048, 512)
        and context.n_seq_max == 1
        and (context.type_k, context.type_v) == (1, 1)
        and context.embeddings is False
    )
    if not as_expected:
        raise LibraryError(
            "llama-cpp-python does not fit its llama.cpp library;"
            " reinstall llama-cpp-python>=0.3.36,<0.4"
        )
    return library
