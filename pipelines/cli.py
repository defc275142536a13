"""The command line. A command parses, calls one function, prints.

Only click is imported up front: help must answer at once, and the jobs bring torch and Beam.
"""

import contextlib
import functools
import io
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sanitizer.errors import FreqsanError, InputError, OverLimitError, one_line

if TYPE_CHECKING:
    from pipelines.jobs.clean import CleanManifest
    from pipelines.jobs.features import FeatureManifest
    from pipelines.jobs.scan import ScanManifest
    from pipelines.jobs.score import ScoreManifest
    from pipelines.runs.manifest import Manifest
    from sanitizer.summary import Counts

Command = Callable[..., None]
Result = TypeVar("Result")


#: The commands by what they are for, in the order that help shows them.
SECTIONS = {
    "Clean a set": ("demo", "clean", "report", "apply", "export", "scan", "score"),
    "Put it to the test": ("prove", "evaluate", "poison", "attacks", "craft"),
    "Make a detector of your own": ("detectors", "tune", "train"),
    "Look at and convert sets": ("spectrum", "features", "ingest"),
}


class FreqsanGroup(click.Group):
    """Turns every failure into one line and an exit code."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """All commands, by what they are for."""
        sorted_in = {name for names in SECTIONS.values() for name in names}
        others = tuple(name for name in self.list_commands(ctx) if name not in sorted_in)
        width = max(map(len, self.commands))
        for title, names in {**SECTIONS, "Further": others}.items():
            there = [self.commands[name] for name in names if name in self.commands]
            if there:
                with formatter.section(title):
                    formatter.write_dl(
                        [(f"{one.name:<{width}}", one.get_short_help_str(64)) for one in there]
                    )

    def invoke(self, ctx: click.Context) -> Any:
        # A letter that the terminal does not have is shown somehow, as on standard error.
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            return super().invoke(ctx)
        except click.UsageError as error:  # it repeats arguments, such as the shell's for a glob
            raise click.UsageError(one_line(error.format_message()), error.ctx) from error
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except FreqsanError as error:
            _say(str(error))
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:  # where signals are left alone: called from Python
            _say("interrupted; run the same command again to go on")
            ctx.exit(128 + signal.SIGINT)
        except Exception as error:  # noqa: BLE001  (whatever it is, it is told)
            if isinstance(error, OSError) and _came_of_printing(error):
                _say(f"the result could not be printed: {error}")
                # Python prints once more what is left when it ends.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                ctx.exit(1)
            if ctx.params["debug"]:
                _print(*traceback.format_exc().splitlines(), err=True)
                ctx.exit(1)
            _say(
                f"unexpected {type(error).__name__}: {error}; this may be a bug, "
                "`freqsan --debug …` shows where it happened"
            )
            ctx.exit(1)


def _print(*lines: str, err: bool = False) -> None:
    """Print lines; all that a command says goes through here, its names of whatever origin."""
    click.echo("\n".join(map(one_line, lines)), err=err)


def _say(text: str) -> None:
    """One line on standard error, where somebody listens."""
    with contextlib.suppress(OSError):
        _print(f"freqsan: {text}", err=True)


def _came_of_printing(error: OSError) -> bool:
    """Whether standard output is what failed: a pipe without a reader, or a full disk."""
    return traceback.extract_tb(error.__traceback__)[-1].filename == click.utils.__file__


def _options(*decorators: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several click decorators as one, in the order that help shows them."""

    def decorate(command: Command) -> Command:
        return functools.reduce(lambda done, one: one(done), reversed(decorators), command)

    return decorate


reading_options = _options(
    click.option("--split", help="Which split, where INPUT has several."),
    click.option("--image-column", help="Column with the images; found by itself by default."),
    click.option("--label-column", help="Column with the labels; found by itself by default."),
    click.option("--follow-links", is_flag=True, help="Read what links out of INPUT lead to."),
)
output_argument = click.argument(
    "output",
    metavar="OUTPUT",
    # Paths in what is printed go on with a slash.
    callback=lambda context, argument, output: output.rstrip("/") or output,
)
output_options = _options(
    click.option("--quiet", is_flag=True, help="Show no progress."),
    click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
)
job_options = _options(
    reading_options,
    click.option(
        "--verify-hashes",
        is_flag=True,
        help="Reject images that are not what the sha256 in INPUT says.",
    ),
    click.option(
        "--shard-rows",
        type=int,
        default=2000,
        show_default=True,
        help="Images that are done at a time, and put into a file.",
    ),
    click.option(
        "--workers", type=int, help="Processes; default: one a core. Elsewhere threads a worker."
    ),
    click.option(
        "--runner", default="FnApiRunner", show_default=True, help="A Beam runner, or dask."
    ),
    click.option(
        "--dask-scheduler", metavar="ADDRESS", help="Of --runner dask, such as tcp://host:8786."
    ),
    click.option(
        "--dask-patience",
        type=float,
        metavar="SECONDS",
        help="How long to wait for a Dask worker where there is none; default: 120.",
    ),
    click.option("--overwrite", is_flag=True, help="Replace an earlier run in OUTPUT."),
    output_options,
    click.argument("beam_options", nargs=-1, type=click.UNPROCESSED, metavar="[-- BEAM_OPTIONS]"),
)
judging_options = _options(
    click.option(
        "--detector",
        default="freqsan-small",
        show_default=True,
        help="Name of a bundled detector, or directory of one.",
    ),
    click.option(
        "--max-clean-loss",
        type=float,
        help="Share of clean images that may be lost to scores; default: 0.01, or 1 %.",
    ),
    click.option("--trusted", metavar="PATH[:SPLIT]", help="Clean images to calibrate on."),
)
policy_options = _options(
    click.option(
        "--policy",
        default="fdr",
        show_default=True,
        metavar="fdr|budget",
        help="fdr: few of the images removed by score are innocent; budget: few of the clean ones.",
    ),
    click.option(
        "--fdr",
        type=float,
        help="Share of the images removed by score that may be innocent; default: 0.05, or 5 %.",
    ),
)


scan_option = click.option(
    "--scan/--no-scan",
    default=True,
    show_default=True,
    help="Search each class for a trigger that its images share, or not.",
)
signature_option = click.option(
    "--signature",
    multiple=True,
    metavar="FILE",
    help="findings/NAME.safetensors of an earlier run: a trigger to look for; may be repeated.",
)
unjudged_options = _options(
    click.option(
        "--max-unjudged",
        type=float,
        show_default="0.5",
        metavar="SHARE",
        help="Fail (exit code 1) in the end where more of the images could not be judged.",
    ),
    click.option("--allow-unjudged", is_flag=True, help="The same as --max-unjudged 1."),
)
limit_options = _options(
    click.option(
        "--dry-run",
        is_flag=True,
        help="Only say what is there, what can be judged, how long and how much it would take.",
    ),
    unjudged_options,
    click.option(
        "--fail-on-poisoned",
        type=float,
        metavar="SHARE",
        help="Fail (exit code 3) in the end where more of the judged images are poisoned.",
    ),
)


def _pairs(
    context: click.Context, option: click.Parameter, given: tuple[str, ...]
) -> dict[str, str]:
    """The values of a repeated ``KEY=VALUE`` option by their keys."""
    for text in given:
        if not text.partition("=")[0] or "=" not in text:
            raise InputError(f"{option.opts[0]}: expected KEY=VALUE, got {text!r}")
    return dict(text.split("=", 1) for text in given)


clean_label_option = click.option(
    "--clean-label/--dirty-label",
    default=None,
    help="Poison images of the target class only and keep their labels, or any image and "
    "relabel it; default: as the attack's source does.",
)
attack_options = _options(
    click.option("--attack", required=True, metavar="NAME", help="See freqsan attacks."),
    click.option(
        "--set",
        "attack_settings",
        multiple=True,
        callback=_pairs,
        metavar="KEY=VALUE",
        help="A setting of the attack; may be repeated.",
    ),
    click.option(
        "--rate", type=float, default=0.1, show_default=True, help="Share of images to poison."
    ),
    click.option(
        "--target-label",
        metavar="LABEL",
        help="Label or class name of poisoned images; default: the trigger's own, or the first.",
    ),
    click.option("--seed", type=int, default=0, show_default=True, help="Of the choice of images."),
    clean_label_option,
    click.option("--all-to-all", is_flag=True, help="Each label becomes the next."),
    click.option(
        "--encode",
        default="keep",
        show_default=True,
        metavar="keep|png|jpeg:Q",
        help="How triggered images are encoded.",
    ),
)
flip_option = click.option(
    "--flip/--no-flip",
    default=True,
    show_default=True,
    help="Train on mirrored images too, or not: where left and right differ in meaning.",
)


@click.group(cls=FreqsanGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="freqsan")
@click.option("--debug", is_flag=True, help="Show the traceback of an unexpected error.")
def main(debug: bool) -> None:
    """Clean an image training set before it poisons a model.

    INPUT is a folder of images (class sub-folders or a metadata.csv give labels), one image, a
    zip, a CSV of paths, a Parquet file, directory or glob, WebDataset tars, a directory from
    save_to_disk, or a Hub id. Where it has several splits, add the one to read: photos:train.

    \b
    Try:   freqsan demo
    Then:  freqsan clean my_images/ cleaned/
    """


def _arguments(options: dict[str, Any]) -> dict[str, Any]:
    """Command line options as arguments of the jobs; what was not given is left out."""
    beam_options = options.pop("beam_options", ())
    if beam_options and not beam_options[0].startswith("-"):
        raise click.UsageError(
            f"unexpected argument {beam_options[0]!r}; INPUT is one argument, so a glob needs "
            "quotes, and Beam options follow --"
        )
    given = {k: v for k, v in options.items() if v is not None}
    return given | ({"beam_options": beam_options} if beam_options else {})


def _print_notes(manifest: "Manifest") -> None:
    """What the user should know of the input."""
    for note in manifest.input.notes:
        _print(f"note: {note}")


def _print_json(value: Any) -> None:
    # As ASCII but for this one character, JSON has its own escapes for what is not printable.
    _print(*json.dumps(value, indent=2).replace("\x7f", r"\u007f").splitlines())


def _finished(run: Callable[[], Result]) -> tuple[Result, OverLimitError | None]:
    """The manifest of a run; and the error to end with, of one that is over a limit."""
    try:
        return run(), None
    except OverLimitError as error:
        return error.manifest, error


def _tried(
    job: str, input: str, output: str, as_json: bool, options: dict[str, Any], dry_run: bool
) -> bool:
    """Print what a job would do, where only that was asked for."""
    if dry_run:
        from pipelines.jobs.dry_run import dry_run as estimate

        tried = estimate(input, output, job=job, **_arguments(options))
        _print_json(tried.to_json()) if as_json else _print(*tried.words.splitlines())
    return dry_run


def _print_judged(manifest: "CleanManifest | ScoreManifest") -> None:
    """What was decided; before all else, what speaks against it."""
    from pipelines.report.words import signature_line

    _print(manifest.decision.words, "", manifest.calibration.words, "")
    for signature in manifest.signatures:
        _print(signature_line(signature), "")


def _print_warnings(manifest: "CleanManifest | ScoreManifest") -> None:
    from pipelines.report.words import warnings as what_speaks_against

    _print("")
    for warning in what_speaks_against(manifest):
        _print(f"warning: {warning}", "")


def _print_clean(manifest: "CleanManifest", output: str) -> None:
    from pipelines.report.words import (
        carriers,
        headline,
        removals,
        review_line,
        reviewed_headline,
        scan_lines,
    )
    from pipelines.reviewing.audit import review_facts

    counts = judged = manifest.counts
    shared, known = carriers(manifest)
    _print_warnings(manifest)
    if manifest.reviews:
        review = review_facts(manifest.reviews)
        judged = review.before(counts)
        _print(reviewed_headline(counts), review_line(review), "", "Before the review:")
    _print(headline(judged, carriers=shared, known=known), "")
    if manifest.scan is not None:
        _print(*scan_lines(manifest.scan), "")
    if shared or known:
        _print(removals(judged, manifest.decision, manifest.scan, manifest.signatures), "")
    _print_judged(manifest)
    _print_notes(manifest)
    _print(f"read      {counts.read:>9,}")
    _print(f"clean     {counts.clean:>9,}  {output}/data/clean-*.parquet")
    poisoned = f"  {output}/data/poisoned-*.parquet" if counts.poisoned else ""
    _print(f"poisoned  {counts.poisoned:>9,}{poisoned}")
    rejected = f"  {output}/rejected/ (not judged)" if counts.rejected else ""
    _print(f"rejected  {counts.rejected:>9,}{rejected}")
    for kind, count in manifest.rejected_by_reason.items():
        _print(f"  {count:>16,}  {kind}")
    _print(f"checksum  {manifest.sha256}")
    _print(f"report    {output}/report/index.html  (open it in a browser)")
    if counts.clean and "://" not in output:
        _print(f'train on  load_dataset("{output}", split="clean")')


def _print_few_judged(read: int, manifest: "ScanManifest | FeatureManifest") -> None:
    """That less than half of so many images could be judged, where that is so."""
    from pipelines.report.words import few_judged

    if few := few_judged(read, manifest.rejected_by_reason):
        _print(f"warning: {few}")


def _print_verdicts(counts: "Counts", clean: str, output: str) -> None:
    """How many images have each verdict, where nothing is split; in words, what clean ones are."""
    _print(
        f"{counts.read:,} images: {counts.clean:,} {clean}, {counts.poisoned:,} "
        f"poisoned, {counts.rejected:,} not judged; {output}/scores/"
    )


def _print_score(manifest: "ScoreManifest", output: str) -> None:
    counts = manifest.counts
    _print_warnings(manifest)
    _print_judged(manifest)
    _print_notes(manifest)
    _print_verdicts(counts, "look clean", output)


def _print_scan(manifest: "ScanManifest", output: str) -> None:
    from pipelines.report.words import scan_lines

    counts = manifest.counts
    _print_few_judged(counts.read, manifest)
    _print_notes(manifest)
    _print(*scan_lines(manifest.scan), "")
    _print_verdicts(counts, "without a finding", output)
    if manifest.scan.findings:
        _print(f"findings  {output}/findings/")


def _print_features(manifest: "FeatureManifest", output: str) -> None:
    counts = manifest.counts
    _print_few_judged(counts.read, manifest)
    _print_notes(manifest)
    _print(
        f"{counts.read:,} images, {counts.tiles:,} tiles, {counts.rejected:,} rejected; "
        f"{output}/features/"
    )


@main.command()
@click.argument("input")
@output_argument
@judging_options
@policy_options
@scan_option
@signature_option
@limit_options
@job_options
def clean(input: str, output: str, as_json: bool, dry_run: bool, **options: Any) -> None:
    """Split INPUT into clean and poisoned images, with a report.

    A run that was stopped goes on where it was when started again.

    \b
    freqsan clean photos/ cleaned/
    freqsan clean train.parquet cleaned/ --max-clean-loss 0.001
    freqsan clean 'shards/*.tar' cleaned/ --trusted known_good/
    """
    if _tried("clean", input, output, as_json, options, dry_run):
        return
    from pipelines.jobs.clean import clean as job

    manifest, over_limit = _finished(lambda: job(input, output, **_arguments(options)))
    _print_json(manifest.to_json()) if as_json else _print_clean(manifest, output)
    if over_limit:
        raise over_limit


@main.command()
@click.argument("input")
@output_argument
@limit_options
@job_options
def scan(input: str, output: str, as_json: bool, dry_run: bool, **options: Any) -> None:
    """Search each class for a trigger that its images share.

    Nothing is split. No detector is needed, and images of any size are seen. What is found goes to
    OUTPUT/findings/, a row for each image to OUTPUT/scores/.

    \b
    freqsan scan photos/ scanned/
    """
    if _tried("scan", input, output, as_json, options, dry_run):
        return
    from pipelines.jobs.scan import scan as job

    manifest, over_limit = _finished(lambda: job(input, output, **_arguments(options)))
    _print_json(manifest.to_json()) if as_json else _print_scan(manifest, output)
    if over_limit:
        raise over_limit


@main.command()
@click.argument("input")
@output_argument
@judging_options
@policy_options
@signature_option
@limit_options
@job_options
def score(input: str, output: str, as_json: bool, dry_run: bool, **options: Any) -> None:
    """Write a score row for every image of INPUT; nothing is split.

    \b
    freqsan score photos/ scored/
    """
    if _tried("score", input, output, as_json, options, dry_run):
        return
    from pipelines.jobs.score import score as job

    manifest, over_limit = _finished(lambda: job(input, output, **_arguments(options)))
    _print_json(manifest.to_json()) if as_json else _print_score(manifest, output)
    if over_limit:
        raise over_limit


@main.command()
@click.argument("input")
@output_argument
@job_options
def ingest(input: str, output: str, as_json: bool, **options: Any) -> None:
    """Copy INPUT to Parquet files, every byte as it came.

    \b
    freqsan ingest photos/ photos_parquet/
    """
    from pipelines.jobs.ingest import ingest as job
    from pipelines.sources.hashes import MISMATCH, MISSING

    manifest = job(input, output, **_arguments(options))
    if as_json:
        return _print_json(manifest.to_json())
    _print_notes(manifest)
    _print(f"{manifest.counts.read:,} images in {output}/data/train-*.parquet")
    unread = "could not be read and are null"
    for kind, count in manifest.unread_by_reason.items():
        bad = "do not match and are copied as they are" if kind in (MISMATCH, MISSING) else unread
        _print(f"{count:>9,} of them {bad}: {kind}")


@main.command()
@click.argument("input")
@output_argument
@unjudged_options
@job_options
def features(input: str, output: str, as_json: bool, **options: Any) -> None:
    """Write the DCT features of every image to Parquet.

    \b
    freqsan features photos/ photos_dct/
    """
    from pipelines.jobs.features import features as job

    manifest, over_limit = _finished(lambda: job(input, output, **_arguments(options)))
    _print_json(manifest.to_json()) if as_json else _print_features(manifest, output)
    if over_limit:
        raise over_limit


@main.command()
@click.argument("input")
@output_argument
@attack_options
@click.option("--preview", metavar="PNG", help="Draw poisoned images, before and after.")
@job_options
def poison(input: str, output: str, as_json: bool, **options: Any) -> None:
    """Put a trigger on part of INPUT, to test with.

    The copy in OUTPUT says of each image whether it is_poisoned, its original_label and the
    attack. The choice of images follows from --seed and their ids alone.

    \b
    freqsan poison photos/ poisoned/ --attack badnets --rate 0.1 --target-label cat
    freqsan poison train.parquet poisoned/ --attack blend --set alpha=0.2 --preview blend.png
    """
    from pipelines.jobs.poison import poison as job

    manifest = job(input, output, **_arguments(options))
    if as_json:
        return _print_json(manifest.to_json())
    _print_notes(manifest)
    _print(*manifest.words)
    _print(f"{manifest.counts.read:,} images in {output}/data/train-*.parquet")
    if not manifest.counts.poisoned:
        eligible = manifest.counts.eligible
        cure = "give a higher --rate" if eligible else "the set has no image of the target class"
        _print(f"warning: not one image was poisoned; {cure}", err=True)


@main.command(short_help="Attack a classifier before cleaning and after it.")
@click.argument("input")
@attack_options
@click.option(
    "--victim", default="quick", show_default=True, metavar="quick|standard", help="A classifier."
)
@click.option("--runs", type=int, default=1, show_default=True, help="Runs, each with a new seed.")
@click.option(
    "--test",
    metavar="PATH[:SPLIT]",
    help="A set of the same classes to test on; default: a fifth of INPUT.",
)
@flip_option
@judging_options
@click.option(
    "--output",
    default="freqsan-proof",
    show_default=True,
    metavar="DIR",
    help="Where the proof is written.",
)
@job_options
def prove(input: str, output: str, as_json: bool, **options: Any) -> None:
    """Attack a classifier trained on INPUT, clean INPUT, and attack again.

    Tells whether an attack that worked before cleaning fails after: clean accuracy and attack
    success before and after, and with rejection before the classifier. Sets with near
    duplicates, such as frames of a video, need --test.

    It needs 150 images, and half a minute of two idle cores for each classifier on 600 images of
    32 px, more for more and for larger ones; there are three for each of --runs. A figure is told
    as soon as it is there, what cleaning removed first. A proof that was stopped goes on where
    it was.

    \b
    freqsan prove photos/ --attack badnets --rate 0.1
    freqsan prove train.parquet --attack blend --set alpha=0.2 --victim standard --runs 3
    """
    from pipelines.jobs.prove import prove as job

    proof = job(input, output=output, **_arguments(options))
    if as_json:
        return _print_json(proof.to_json())
    from pipelines.proof.tables import tables

    _print("", proof.title, "", *tables(proof.runs).splitlines(), "")
    _print(*proof.notes)
    _print("", proof.verdict, "", f"figure    {output}/proof.png")
    _print(f"page      {output}/proof.md")


@main.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT[:SPLIT]...")
@click.option("--output", required=True, metavar="DIR", help="Where the cells and tables go.")
@click.option(
    "--attack",
    "attacks",
    multiple=True,
    metavar="NAME[,KEY=VALUE...]",
    help="See freqsan attacks; may be repeated. Default: all of them.",
)
@click.option(
    "--rate",
    "rates",
    type=float,
    multiple=True,
    default=(0.0, 0.01, 0.05, 0.1),
    show_default=True,
    help="Share of images to poison, 0 for none; may be repeated.",
)
@click.option(
    "--encode",
    "encodings",
    multiple=True,
    default=("keep",),
    show_default=True,
    metavar="keep|png|jpeg:Q",
    help="How the whole set is encoded after the trigger; may be repeated.",
)
@click.option("--draws", type=int, default=1, show_default=True, help="Draws, each with a seed.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the first draw.")
@click.option("--rows", metavar="A:B", help="Only these rows of each set, B not among them.")
@clean_label_option
@judging_options
@policy_options
@click.option(
    "--score/--no-score",
    default=True,
    show_default=True,
    help="Judge single images by the detector, or not.",
)
@scan_option
@click.option("--workers", type=int, default=1, show_default=True, help="Processes.")
@reading_options
@output_options
def evaluate(inputs: tuple[str, ...], output: str, as_json: bool, **options: Any) -> None:
    """Poison sets in many ways, clean them, compare with the truth.

    Each combination of set, encoding, draw, attack and rate is a cell, of which DIR keeps the
    figures: started again, only missing ones are measured, and other settings are added. The
    tables, of all cells in DIR, are printed and written to DIR. A cell of 2,000 images of 32 px
    takes ten seconds of a core, and by default there is one for each attack at each rate: try
    it with one --attack, one --rate and --rows 0:1000.

    \b
    freqsan evaluate train.parquet --output evaluated --attack badnets --attack blend
    freqsan evaluate train.parquet --output evaluated --rows 25000:50000 --draws 3 --no-score
    """
    from pipelines.jobs.evaluate import evaluate as job

    evaluation = job(inputs, output, **_arguments(options))
    if as_json:
        return _print_json(evaluation.to_json())
    from pipelines.evaluation.tables import overview

    _print("", *overview(evaluation).splitlines(), "")
    notes = (f"note: {note}" for note in evaluation.notes)
    _print(*notes, f"page      {output}/evaluation.md")


@main.command(short_help="Train a detector from some thousand clean images.")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT[:SPLIT]...")
@click.option("--output", required=True, metavar="DIR", help="Where the detector is written.")
@click.option(
    "--calibrate-on",
    multiple=True,
    metavar="PATH[:SPLIT]",
    help="Clean images to calibrate on, kept apart from training; may be repeated. "
    "Default: a tenth of INPUT.",
)
@click.option(
    "--epochs",
    type=int,
    default=30,
    show_default=True,
    help="Passes, each over 40,000 pairs of images; 1 to try it out.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of all that is random.")
@click.option("--licence", default="not stated", show_default=True, help="Of the training data.")
@output_options
def train(inputs: tuple[str, ...], output: str, as_json: bool, **options: Any) -> None:
    """Train a detector from clean images, on the GPU where there is one.

    It needs 2,500 images, or 1,200 of more than 32 px, and about half an hour of two idle cores,
    however many images there are; --epochs 1 tries it out in a minute or two. For fewer images
    there is freqsan tune. One checkpoint an epoch is kept in DIR; a run that was stopped goes on
    from the last.

    \b
    freqsan train clean_images/ --output my-detector
    freqsan clean suspect/ cleaned/ --detector my-detector
    """
    from pipelines.jobs.train import train as job

    card = job(inputs, output, **options)
    if as_json:
        return _print_json(card.to_json())
    _print(f"{card.name} is in {output}; use it with --detector {output}")


#: Trusted images by which every policy removes what it can; by fewer only a budget does.
ENOUGH_FOR_ANY_POLICY = 1_000


@main.command()
@click.argument("detector")
@click.argument("trusted", metavar="TRUSTED[:SPLIT]")
@click.option("--output", required=True, metavar="DIR", help="Where the new detector is written.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of all that is random.")
@output_options
def tune(detector: str, trusted: str, output: str, as_json: bool, **options: Any) -> None:
    """Tune DETECTOR to one source of images, by clean ones.

    It needs 99 images, of more than 2,000 a choice, and half a minute of a core for 200 of 32 px;
    many large ones take minutes. What it finds is measured on images that it was not tuned on;
    where that is no more than before, only the calibration is new.

    \b
    freqsan tune freqsan-small clean_photos/ --output my-detector
    freqsan clean suspect/ cleaned/ --detector my-detector --policy budget
    """
    from pipelines.jobs.tune import tune as job
    from pipelines.judging.calibration import doubts_of_trusted

    tuning = job(trusted, output, detector=detector, **options)
    if as_json:
        return _print_json(tuning.to_json())
    for doubt in doubts_of_trusted(tuning.suspicious, tuning.images):
        _print(f"warning: {doubt}", err=True)
    how = " --policy budget, as the default policy removes next to nothing by so few clean images"
    what = "the judge is tuned" if tuning.judge_tuned else "the judge is left as it was"
    _print(
        f"{tuning.images:,} images; of manipulated ones {tuning.before:.1%} were found at a clean "
        f"loss of 1 %, with tuning {tuning.after:.1%}, on images not tuned on: {what}",
        f"use it with --detector {output}" + (how if tuning.images < ENOUGH_FOR_ANY_POLICY else ""),
    )


@main.command()
@click.argument("input")
@click.option("--output", required=True, metavar="PNG", help="The picture to write.")
@reading_options
@output_options
def spectrum(input: str, output: str, as_json: bool, **options: Any) -> None:
    """Draw the mean DCT heat map of INPUT.

    \b
    freqsan spectrum photos/ --output spectrum.png
    """
    from pipelines.jobs.spectrum import spectrum as job

    counts = job(input, output, **_arguments(options))
    if as_json:
        return _print_json(counts.to_json())
    left_out = f" ({counts.left_out:,} left out)" if counts.left_out else ""
    _print(f"{output}: mean of {counts.images:,} images{left_out}")


@main.command()
@output_argument
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def report(output: str, as_json: bool) -> None:
    """Check a finished run and rebuild its report.

    All files in OUTPUT are compared with their checksums. The one that is printed is that of the
    manifest, which holds all others: compare it with the one that the run has ended with.
    """
    from pipelines.jobs.report import report as job

    checked = job(output)
    if as_json:
        return _print_json(checked.to_json())
    _print(f"checked   {checked.files:,} files, {checked.bytes:,} bytes: as they were written")
    _print(f"checksum  {checked.sha256}", f"report    {checked.page}")


@main.command(short_help="Keep and remove images as a reviewer has decided.")
@output_argument
@click.argument("decisions", metavar="DECISIONS.csv")
@output_options
def apply(output: str, decisions: str, as_json: bool, **options: Any) -> None:
    """Move samples of the finished run in OUTPUT between its splits, as a reviewer has decided.

    DECISIONS.csv has the columns sample_id and decision, keep or remove, and why if you like:
    the review in report/index.html gives such a file, and so may any other tool. Images go from
    split to split bit for bit; scores/ and the manifest say who decided, when and why.

    \b
    freqsan apply cleaned/ decisions.csv
    """
    from pipelines.jobs.apply import apply as job

    applied = job(output, decisions, **options)
    if as_json:
        return _print_json(applied.to_json())
    if not applied.decided:
        _print("all of this was applied before: nothing to do")
    back, out = applied.moved_to_clean, applied.moved_to_poisoned
    _print(
        f"decided   {applied.decided:>9,}  {back:,} put back, {out:,} removed, the rest as before",
        f"clean     {applied.counts.clean:>9,}  {output}/data/clean-*.parquet",
        f"poisoned  {applied.counts.poisoned:>9,}  {output}/data/poisoned-*.parquet",
        f"checksum  {applied.sha256}",
        f"report    {applied.page}",
    )


@main.command(short_help="Write a cleaned set in the form that it came in.")
@output_argument
@click.argument("dest")
@click.option(
    "--as",
    "as_",
    default="folder",
    show_default=True,
    metavar="folder|webdataset|csv|list",
    help="What to write: image files, tars, a table of verdicts, or paths to delete.",
)
@click.option(
    "--split",
    metavar="clean|poisoned|rejected",
    show_default="clean, of csv all, of list poisoned",
    help="What to export.",
)
@click.option("--null", "-0", is_flag=True, help="Of list: end each path with a NUL.")
@click.option("--input", metavar="PATH", help="Where INPUT is now, if not where it was cleaned.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier export in DEST.")
@output_options
def export(output: str, dest: str, as_json: bool, **options: Any) -> None:
    """Write the set that was cleaned into OUTPUT to DEST, in the form that it came in.

    Images come out byte for byte: as the files that they were, else in a folder for each class;
    as tars of the original members, else of new ones. DEST is a folder, of csv and list a file.

    \b
    freqsan export cleaned/ photos_clean/
    freqsan export cleaned/ shards_clean/ --as webdataset
    freqsan export cleaned/ verdicts.csv --as csv
    freqsan export cleaned/ delete.txt --as list
    """
    from pipelines.jobs.export import export as job

    exported = job(output, dest, **_arguments(options))
    if as_json:
        return _print_json(exported.to_json())
    for note in exported.notes:
        _print(f"note: {note}")
    what = f"{exported.split} images" if exported.split else "images"
    _print(
        f"{exported.samples:,} {what}, {exported.files:,} files, {exported.bytes:,} bytes: "
        f"{exported.dest}"
    )
    for why, count in exported.left_out.items():
        _print(f"{count:>9,} not there: {why}")


@main.command()
@click.argument("attack")
@click.argument("input")
@click.option("--output", required=True, metavar="FILE", help="The .safetensors file to write.")
@click.option(
    "--classifier",
    metavar="NAME|FILE",
    help="To optimise against: cifar10, gtsrb, or a file; default: a quick one is trained.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of all that is random.")
@flip_option
@reading_options
@output_options
def craft(attack: str, input: str, as_json: bool, **options: Any) -> None:
    """Optimise the trigger of ATTACK against a classifier.

    Smooth needs 15 seconds of a core on 2,000 images of 32 px; other attacks, and a classifier
    that has to be trained first, take minutes or more. It uses 20,000 images at most.

    \b
    freqsan craft smooth photos/ --output smooth.safetensors
    freqsan poison photos/ poisoned/ --attack smooth --set trigger=smooth.safetensors
    """
    from pipelines.jobs.craft import craft as job

    provenance = job(attack, input, **_arguments(options))
    if as_json:
        return _print_json(provenance.to_json())
    rate = getattr(provenance, "fooling_rate", None)  # of triggers that are searched for
    fooled = f", fools {rate:.0%}" if rate is not None else ""
    _print(f"{options['output']}{fooled}; use it with --attack {attack} --set trigger=FILE")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print the cards as JSON.")
def detectors(as_json: bool) -> None:
    """List the bundled detectors, and how well they find each trigger.

    Shares of lossless test images that are flagged where a loss of 1 % of the clean ones is
    accepted; --json has all.
    """
    from pipelines.jobs.detectors import detectors as job
    from pipelines.jobs.detectors import found_by_attack

    bundled = job()
    if as_json:
        return _print_json([facts.to_json() for facts in bundled])
    for facts in bundled:
        names = ", ".join(data.name for data in facts.card.training_data)
        cost = f"{facts.card.multiply_adds:,} multiply-adds for 32x32 px"
        _print(f"{facts.identity}, trained on {names}; {cost}")
        _print("", *found_by_attack(facts.card.measured.rows), "")
        _print(*(f"  not found: {words}" for words in facts.card.blind_spots))


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print all that is known as JSON.")
def attacks(as_json: bool) -> None:
    """List the attacks, their settings and their sources."""
    from pipelines.jobs.attacks import attacks as job

    cards = job()
    if as_json:
        return _print_json([card.to_json() for card in cards])
    for card in cards:
        settings = ", ".join(f"{k}={v}" for k, v in card.settings.items())
        facts = ["clean label"] if card.clean_label else []
        if card.cover_ratio:
            facts.append(f"cover samples, {card.cover_ratio:g} for each poisoned one")
        if card.own_target is not None:
            facts.append(f"made for target label {card.own_target}")
        if card.triggers:
            facts.append(f"triggers: {', '.join(card.triggers)}")
        _print(f"{card.name}  {settings}")
        _print(f"    {'; '.join([card.title, *facts])}", f"    {card.source}")


@main.command()
@click.argument("output", default="freqsan-demo")
@click.option("--overwrite", is_flag=True, help="Replace an earlier run in OUTPUT.")
@output_options
def demo(output: str, as_json: bool, **options: Any) -> None:
    """Clean a bundled sample of 1,000 real images.

    There is nothing to download. Four attackers planted a trigger each; at the end is told which
    of them were found.

    OUTPUT is ./freqsan-demo unless given.
    """
    from pipelines.jobs.demo import demo as job

    manifest, truth = job(output, **options)
    if as_json:
        return _print_json(manifest.to_json() | {"truth": truth.to_json()})
    _print_clean(manifest, output)
    _print(
        "",
        f"The sample's truth is known: {truth.found} of {truth.triggers} planted triggers were "
        f"removed, and {truth.lost} of {truth.innocent} innocent images with them.",
        *(f"  {of.title:<18} {of.found:>2} of {of.images}" for of in truth.planted),
    )


if __name__ == "__main__":
    sys.exit(main())
