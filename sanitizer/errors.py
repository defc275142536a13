"""The two failures that a user is told of in one line, and their exit codes."""

from typing import Any

#: The end of the line on a run that failed half-way through no fault of its own.
GO_ON = "finished shards are kept: mend that and run the same command again to go on"


class FreqsanError(Exception):
    """An expected failure; its message says what was found, what was expected, what to do."""

    exit_code = 1


class InputError(FreqsanError):
    """Bad usage or bad input: exit code 2."""

    exit_code = 2


class RunError(FreqsanError):
    """A run that failed on good input, such as a full disk: exit code 1."""


class UnjudgedError(RunError):
    """A run that is complete, but could judge less than half of the images: exit code 1.

    Attributes:
        manifest: of the run, as it was written.
    """

    def __init__(self, message: str, manifest: Any):
        super().__init__(message)
        self.manifest = manifest
