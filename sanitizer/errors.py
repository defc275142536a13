"""What a user is told in one line: the two failures, with their exit codes, and all else."""

from typing import Any

#: The end of the line on a run that failed half-way through no fault of its own.
GO_ON = "finished shards are kept: mend that and run the same command again to go on"


def one_line(text: str) -> str:
    r"""Text as a terminal may show it: what is not printable is written as in Python.

    Names of files, columns and classes are a stranger's, and a terminal obeys what it is sent:
    a line break forges a line of ours, an escape sequence paints over others, and a mark of
    direction turns letters around. So whatever is said to a user goes through here.

    >>> one_line("a\nclean  9,999"), one_line("\x1b[31m"), one_line("caffè \u202egnp")
    ('a\\nclean  9,999', '\\x1b[31m', 'caffè \\u202egnp')
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def quoted(name: str, most: int = 200) -> str:
    r"""A name of a stranger's in a sentence: at most ``most`` of its characters, in quotes.

    Else an empty name, or one of blanks, reads as if the sentence went on. What is not printable
    is written as in :func:`one_line`.

    >>> quoted("cat"), quoted(""), quoted("a\n\u202eb")
    ("'cat'", "''", "'a\\n\\u202eb'")
    """
    return repr(shortened(name, most))


class FreqsanError(Exception):
    """An expected failure; its message says what was found, what was expected, what to do."""

    exit_code = 1

    def __str__(self) -> str:
        return one_line(super().__str__())  # a traceback prints it, too


class InputError(FreqsanError):
    """Bad usage or bad input: exit code 2."""

    exit_code = 2


class RunError(FreqsanError):
    """A run that failed on good input, such as a full disk: exit code 1."""


class OverLimitError(RunError):
    """A run that is complete, its output whole, but over a limit.

    Attributes:
        manifest: of the run, as it was written.
    """

    def __init__(self, message: str, manifest: Any):
        super().__init__(message)
        self.manifest = manifest


class UnjudgedError(OverLimitError):
    """More of the images than the limit could not be judged: exit code 1."""


class PoisonedError(OverLimitError):
    """More of the judged images than the limit are poisoned: exit code 3.

    That is no failure of the run, which says so by it; hence a code of its own.
    """

    exit_code = 3


def shortened(words: str, most: int = 200) -> str:
    """At most ``most`` characters of a name or text, for people: its start and its end.

    Names that begin alike, such as those of a folder, differ at their ends.

    >>> shortened("photographs/dog.png", 15)
    'photogr…dog.png'
    """
    if len(words) <= most:
        return words
    end = (most - 1) // 2
    return f"{words[: most - 1 - end]}…{words[-end:]}"
