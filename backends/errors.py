"""Backend errors: what a place that does work can say went wrong.

* BackendError
  - BackendUnavailableError    cannot be reached or has just died; another core may do
  - BackendTimeoutError        took longer than its deadline
  - BackendRefusedError        understood the request and will not do it; do not retry
    - ContextOverflowError     the prompt does not fit the context window
    - UnsupportedError         this core cannot do what the request asks for; another may
      - SchemaUnsupportedError the JSON Schema cannot be turned into a constraint
  - IncompleteAnswerError      the stream ended before the model said it was finished
* ToolServerError
  - ToolServerUnavailableError the downstream server is down; carries when to try again
  - ToolServerTimeoutError     the downstream call outlived its deadline
  - ToolNotFoundError          the server has no such tool
  - OutputTooLargeError        the result is above the size cap
* StoreError
  - StoreBusyError             too much to write, or another program holds the lock
  - StoreFullError             no room left: disk, rows or bytes
  - StoreReadOnlyError         the database cannot be written
  - MemoryNotFoundError        no such memory within reach
  - IdempotencyConflictError   the key was used before with another body
  - OverdrawnError             the account does not cover the hold
"""

from backends.messages import Usage


class BackendError(Exception):
    """An LLM core or an embedder failed to do its work."""


class BackendUnavailableError(BackendError):
    """The backend cannot be reached, or died while it worked.

    Attributes:
        retry_after_seconds: When it will be tried again, or None where that is not known.
    """

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class BackendTimeoutError(BackendError):
    """The backend did not answer before the deadline."""


class BackendRefusedError(BackendError):
    """The backend rejects this request; the same request will be rejected again."""


class ContextOverflowError(BackendRefusedError):
    """The prompt does not fit the context window.

    Attributes:
        wanted: Tokens of prompt and answer together.
        limit: Tokens the context holds for one sequence.
    """

    def __init__(self, *, wanted: int, limit: int) -> None:
        super().__init__(
            f"prompt and answer need {wanted} tokens, the context holds {limit};"
            " shorten the messages or lower max_tokens"
        )
        self.wanted = wanted
        self.limit = limit


class UnsupportedError(BackendRefusedError):
    """This core cannot do what the request asks for; the text names it. Another core may."""


class SchemaUnsupportedError(UnsupportedError):
    """The JSON Schema cannot be turned into an output constraint; the text names the part."""


class IncompleteAnswerError(BackendError):
    """The answer stopped before its end.

    Attributes:
        text: What had arrived.
        usage: What it cost so far.
    """

    def __init__(self, message: str, *, text: str, usage: Usage) -> None:
        super().__init__(message)
        self.text = text
        self.usage = usage


class ToolServerError(Exception):
    """A downstream tool server failed. A tool's own failure is a result, not this."""


class ToolServerUnavailableError(ToolServerError):
    """The server is down or failed to start.

    Attributes:
        retry_after_seconds: When the next attempt to reach it is due; None if it has given up.
    """

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class ToolServerTimeoutError(ToolServerError):
    """The call outlived its deadline; it was cancelled downstream."""


class ToolNotFoundError(ToolServerError):
    """The server publishes no tool of that name."""


class OutputTooLargeError(ToolServerError):
    """The result is above the size cap.

    Attributes:
        size_bytes: Size of the result.
        limit_bytes: The cap.
    """

    def __init__(self, *, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(
            f"the result has {size_bytes} bytes, the cap is {limit_bytes}; ask for a smaller part"
        )
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes


class StoreError(Exception):
    """The database could not do its work."""


class StoreBusyError(StoreError):
    """The database has too much to write, or another program has locked it; nothing was written."""


class StoreFullError(StoreError):
    """No room left: the disk, or the agent's quota in rows or bytes; the text says which."""


class StoreReadOnlyError(StoreError):
    """The database file or its directory cannot be written."""


class MemoryNotFoundError(StoreError):
    """No memory of that id within reach. Reads the same whether it exists elsewhere or not."""


class IdempotencyConflictError(StoreError):
    """The idempotency key was used before for another body, or its first call is unfinished."""


class OverdrawnError(StoreError):
    """An account does not cover a hold.

    Attributes:
        account: The account.
        unit: `tokens` or `micro_usd`.
        wanted: Units asked for.
        left: Units the account still has.
    """

    def __init__(self, account: str, *, unit: str, wanted: int, left: int) -> None:
        super().__init__(f"{wanted} {unit} wanted, {left} left in this period")
        self.account = account
        self.unit = unit
        self.wanted = wanted
        self.left = left
