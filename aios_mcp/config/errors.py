"""What can be wrong with a configuration, and with what it names."""


class ConfigError(Exception):
    """The configuration, or a secret or model it names, cannot be used.

    Attributes:
        problems: One line each: file, line, key, what was found and the fix. Never a secret.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
