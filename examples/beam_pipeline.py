"""A Beam pipeline of your own that keeps the images which look clean, and says why others do not.

    python examples/beam_pipeline.py photos/ kept.txt removed.txt --runner=FnApiRunner

Everything behind the three paths goes to Beam.
"""

import sys

import apache_beam as beam
from apache_beam.io import WriteToText
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.transforms import JudgedImage, ReadImages, ScoreImages, SplitByVerdict


def id_of(judged: JudgedImage) -> str:
    """The line on an image that is kept."""
    return judged.sample_id


def why(judged: JudgedImage) -> str:
    """The line on an image that is not."""
    return f"{judged.sample_id}\t{judged.verdict}\t{judged.reason}"


def main(photos: str, kept: str, removed: str, *beam_options: str) -> None:
    """Read, score, split, and write two lists."""
    with beam.Pipeline(options=PipelineOptions(list(beam_options))) as pipeline:
        verdicts = (
            pipeline
            | ReadImages(photos)
            | ScoreImages("freqsan-small")
            | SplitByVerdict(max_clean_loss=0.01)
        )
        verdicts.clean | beam.Map(id_of) | "Keep" >> WriteToText(kept, shard_name_template="")
        (
            (verdicts.poisoned, verdicts.rejected)
            | beam.Flatten()
            | beam.Map(why)
            | "Remove" >> WriteToText(removed, shard_name_template="")
        )


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(f"usage: {sys.argv[0]} PHOTOS KEPT REMOVED [BEAM_OPTIONS]")
    main(*sys.argv[1:])
