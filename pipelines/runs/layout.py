"""Where everything in an OUTPUT is: each file is named here, once, relative to OUTPUT.

A new file in the output is one line here; its writer and its readers use the name.
"""

from dataclasses import dataclass

#: What the run is, with the checksums of its files. Written last: it is the commit.
MANIFEST = "manifest.json"

#: The dataset card, so that ``load_dataset(OUTPUT)`` gives just the splits.
CARD = "README.md"


@dataclass(frozen=True)
class ShardedFile:
    """A Parquet file of which every shard writes one, ``<prefix>-00003-of-00012.parquet``."""

    prefix: str

    def name(self, shard: int, shards: int) -> str:
        """Of the file of shard number ``shard`` out of ``shards``.

        >>> SCORES.name(3, 12)
        'scores/part-00003-of-00012.parquet'
        """
        return f"{self.prefix}-{shard:05d}-of-{shards:05d}.parquet"

    @property
    def folder(self) -> str:
        """The folder of the files of all shards, relative to OUTPUT."""
        return self.prefix.rpartition("/")[0]

    @property
    def pattern(self) -> str:
        """A glob, relative to OUTPUT, of the files of all shards."""
        return f"{self.prefix}-*.parquet"


#: The input's rows by verdict, or all of them; columns untouched.
CLEAN, POISONED, TRAIN = map(ShardedFile, ("data/clean", "data/poisoned", "data/train"))

#: What could not be judged: original bytes and the reason.
REJECTED = ShardedFile("rejected/part")

#: One score row for every input sample.
SCORES = ShardedFile("scores/part")

#: DCT features.
FEATURES = ShardedFile("features/part")

#: What ``score`` amounts to.
SCORE_SUMMARY = "scores/summary.json"

#: What was removed and why: for people, in numbers, and checked.
PAGE = "report/index.html"
SUMMARY = "report/summary.json"
VALIDATION = "report/validation.json"
DATA_DOCS = "report/data_docs"

#: A proof: its figures, its page, its picture, and the runs that it consists of.
PROOF = "proof.json"
PROOF_PAGE = "proof.md"
PROOF_PICTURE = "proof.png"
PROOF_WORK = "proof"

#: What a run needs until it is finished; it goes with the commit.
WORK = ".freqsan"
PLAN = f"{WORK}/plan.json"
LOCK = f"{WORK}/lock"
FAILURE = f"{WORK}/failure.json"
LISTING = f"{WORK}/listing.arrow"

#: What ``--overwrite`` may remove: all that a run writes, and nothing else.
OWN_ENTRIES = (
    MANIFEST,
    CARD,
    *("data", "rejected", "scores", "features", "report"),
    *(PROOF, PROOF_PAGE, PROOF_PICTURE, PROOF_WORK),
)


def data_docs_page(suite: str) -> str:
    """Of Great Expectations' own page on the results of one suite."""
    return f"{DATA_DOCS}/{suite}.html"


def receipt(pass_name: str, shard: int) -> str:
    """Of the note that a shard of a pass is finished."""
    return f"{WORK}/{pass_name}/{shard:05d}.json"


def artefact(pass_name: str, shard: int) -> str:
    """Of what a shard of one pass leaves to the next."""
    return f"{WORK}/{pass_name}/{shard:05d}.parquet"
