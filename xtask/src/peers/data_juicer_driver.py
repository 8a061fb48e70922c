"""data-juicer: its own heuristics (they are not Gopher's or C4's, which it does not have) and its MinHash deduplication."""
import harness
from data_juicer.core.data import NestedDataset
from data_juicer.ops.deduplicator.document_minhash_deduplicator import DocumentMinhashDeduplicator
from data_juicer.ops.filter.alphanumeric_filter import AlphanumericFilter
from data_juicer.ops.filter.average_line_length_filter import AverageLineLengthFilter
from data_juicer.ops.filter.character_repetition_filter import CharacterRepetitionFilter
from data_juicer.ops.filter.maximum_line_length_filter import MaximumLineLengthFilter
from data_juicer.ops.filter.special_characters_filter import SpecialCharactersFilter
from data_juicer.ops.filter.text_length_filter import TextLengthFilter
from data_juicer.ops.filter.word_repetition_filter import WordRepetitionFilter
from data_juicer.ops.filter.words_num_filter import WordsNumFilter
from data_juicer.utils.constant import Fields
from loguru import logger


def rules(documents, language):
    filters = [
        AlphanumericFilter(tokenization=False),
        AverageLineLengthFilter(),
        CharacterRepetitionFilter(),
        MaximumLineLengthFilter(),
        SpecialCharactersFilter(),
        TextLengthFilter(),
    ]
    # The two that count words need a model to cut Chinese, which it would download.
    if language == "en":
        filters += [WordRepetitionFilter(lang="en", tokenization=False), WordsNumFilter(lang="en", tokenization=False)]

    def keeps(text):
        sample = {"text": [text], Fields.stats: [{}], Fields.context: [{}]}
        for filter_ in filters:
            sample = filter_.compute_stats_batched(sample)
            if not all(filter_.process_batched(sample)):
                return False
        return True

    keeps("One sentence first, so that nothing is loaded late.")
    with harness.Clock() as clock:
        n_kept = sum(keeps(document["text"]) for document in documents)
    return clock, f"{len(filters)} heuristics of its own, not Gopher's, C4's or FineWeb's; {n_kept} of {len(documents)} kept"


def near_dedup(documents, language):
    operator = DocumentMinhashDeduplicator(
        tokenization="space" if language == "en" else "character",
        window_size=5,
        num_permutations=112,
        num_bands=14,
        num_rows_per_band=8,
    )
    operator.compute_hash({"text": "one text first, with more than five words in it"})
    with harness.Clock() as clock:
        hashed = [operator.compute_hash({"text": document["text"]}) for document in documents]
        kept, _ = operator.process(NestedDataset.from_list(hashed))
    return clock, f"{len(documents) - len(kept)} documents removed; a shared band is enough, nothing is verified"


def main(system, task, path, megabytes, scratch):
    logger.remove()
    documents = harness.documents(path, megabytes)
    kind, language = task.rsplit("-", 1)
    clock, remark = (rules if kind == "rules" else near_dedup)(documents, language)
    harness.report(documents, clock, "py-data-juicer", remark=remark)


if __name__ == "__main__":
    main(*harness.arguments())
