"""Why the HTTP front does not start.

* HttpStartError
  - AddressError    the address is in use or not of this machine
  - OpenToAllError  an open door: another host than loopback, and no credential
"""


class HttpStartError(Exception):
    """The HTTP front cannot be started; the text says what to do."""


class AddressError(HttpStartError):
    """The address cannot be listened on."""

    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__(
            f"cannot listen on {host}:{port}: {reason}; name another one with --http HOST:PORT"
            " (port 0 takes a free one), or stop what uses it"
        )


class OpenToAllError(HttpStartError):
    """Others than this machine could call without a credential."""

    def __init__(self, host: str) -> None:
        super().__init__(
            f"{host} can be reached by other machines, but no agent has a credential: give one a"
            " token in the configuration (agents.NAME.token), listen on 127.0.0.1, or set"
            " http.allow_unauthenticated = true"
        )
