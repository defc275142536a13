"""Tables that read as text and as Markdown, and figures in their words."""

from collections.abc import Sequence

from sanitizer.metrics import Estimate


def percent(value: float | None, decimals: int = 1) -> str:
    """A share in words.

    >>> percent(0.123)
    '12.3 %'
    """
    return "none" if value is None else f"{100 * value:.{decimals}f} %"


def with_interval(figure: Estimate, decimals: int = 1) -> str:
    """A share in percent with its interval.

    >>> with_interval(Estimate(0.25, (0.2, 0.31)))
    '25.0 % [20.0, 31.0]'
    """
    if figure.interval is None:
        return percent(figure.value, decimals)
    low, high = (f"{100 * bound:.{decimals}f}" for bound in figure.interval)
    return f"{percent(figure.value, decimals)} [{low}, {high}]"


def number(figure: Estimate) -> str:
    """A figure that is no share of images, such as an AUROC, with its interval.

    >>> number(Estimate(0.9, (0.85, 0.95))), number(Estimate(1.0, None))
    ('0.900 [0.850, 0.950]', '1.000')
    """
    if figure.value is None:
        return "none"
    if figure.interval is None:
        return f"{figure.value:.3f}"
    low, high = figure.interval
    return f"{figure.value:.3f} [{low:.3f}, {high:.3f}]"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, its columns as wide as they need to be."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines = [heads, ["-" * width for width in widths], *rows]
    return "".join(
        f"| {' | '.join(cell.ljust(w) for cell, w in zip(line, widths, strict=True))} |\n"
        for line in lines
    )
