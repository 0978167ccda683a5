"""Stage 4: the page data of each bucket's features: statistics, histogram, examples."""

from saelab.features import marked
from saelab.features.indexing.buckets import read_bucket
from saelab.features.indexing.job import Job
from saelab.features.indexing.keys import Buckets
from saelab.features.indexing.peaks import choose
from saelab.features.indexing.statistics import histograms, statistics
from saelab.features.indexing.windows import examples

TABLES = ("statistics", "histogram", "examples")


def write_pages(job: Job, buckets: Buckets) -> None:
    """The three tables of every bucket that lacks one."""
    job.progress.start("choosing examples", job.n_features, "features")
    for number in range(buckets.count):
        paths = {name: job.layout.table(name, number) for name in TABLES}
        if any(marked.facts(path) is None for path in paths.values()):
            bucket = read_bucket(job, buckets, number)
            peaks = choose(bucket, job.contexts, job.cfg)
            marked.put_table(paths["statistics"], statistics(bucket, job.n_tokens, peaks.contexts))
            marked.put_table(paths["histogram"], histograms(bucket))
            marked.put_table(paths["examples"], examples(bucket, peaks, job.tokens, job.contexts, job.cfg))
        job.progress.advance(len(buckets.features(number)))
