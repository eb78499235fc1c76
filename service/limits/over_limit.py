"""The exception of a request that is over a limit."""

import math


class OverLimit(Exception):
    """A person has reached a limit.

    `setting` is the setting's name, `rule` says the limit, without a full stop, and `retry_after` is the number of seconds until
    another try may succeed. `remedy` is a sentence; None means that only waiting helps.
    """

    def __init__(self, setting: str, rule: str, retry_after: float, remedy: str | None = None) -> None:
        self.setting = setting
        self.retry_after = max(1, math.ceil(retry_after))
        self.detail = f"{setting} allows {rule}. {remedy or f'Try again in {self.retry_after} seconds.'}"
        super().__init__(self.detail)
