"""MinHash signatures of 112 hashes over 5-grams, from raw text: rensa and datasketch with a shingler in Python, Daft with its own; and near
deduplication with rensa's LSH over the same signatures (14 bands of 8), unverified, as its own examples do.

Shingles are five words in small letters, or five characters of Chinese without white space. Daft parts words at white space only, so
that a Chinese page is one shingle: it has no row for Chinese.
"""
import re

import harness

N_HASHES, N_BANDS, LENGTH = 112, 14, 5
WORD = re.compile(r"\w+")


def shingles(text, task):
    if task.endswith("-zh"):
        units, gap = "".join(text.split()), ""
    else:
        units, gap = WORD.findall(text.lower()), " "
    return [gap.join(units[start : start + LENGTH]) for start in range(max(1, len(units) - LENGTH + 1))]


def rensa(documents, task):
    from rensa import RMinHash

    def sign(text):
        signature = RMinHash(num_perm=N_HASHES, seed=1)
        signature.update(shingles(text, task))
        return signature

    sign("one first")
    with harness.Clock() as clock:
        signatures = [sign(document["text"]) for document in documents]
    ready = [shingles(document["text"], task) for document in documents]
    with harness.Clock() as alone:
        for found in ready:
            RMinHash(num_perm=N_HASHES, seed=1).update(found)
    megabytes = sum(len(document["text"].encode()) for document in documents) / 1e6
    assert len(signatures) == len(documents)
    return clock, f"sketching ready-made shingles alone: {megabytes / alone.seconds:.1f} MB/s"


def datasketch(documents, task):
    from datasketch import MinHash

    def sign(text):
        signature = MinHash(num_perm=N_HASHES, seed=1)
        signature.update_batch([shingle.encode() for shingle in shingles(text, task)])
        return signature

    sign("one first")
    with harness.Clock() as clock:
        signatures = [sign(document["text"]) for document in documents]
    assert len(signatures) == len(documents)
    return clock, "shingles made in Python"


def daft(documents, task):
    import daft

    def sign(texts, is_normalised):
        frame = daft.from_pydict({"text": texts})
        text = frame["text"]
        if is_normalised:
            text = text.normalize(remove_punct=True, lowercase=True, white_space=True)
        return frame.select(text.minhash(num_hashes=N_HASHES, ngram_size=LENGTH)).to_pydict()

    texts = [document["text"] for document in documents]
    sign(["one text first"], True)
    with harness.Clock() as clock:
        signatures = sign(texts, False)
    with harness.Clock() as normalised:
        sign(texts, True)
    assert len(next(iter(signatures.values()))) == len(documents)
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    rate = megabytes / normalised.seconds
    return clock, f"words as white space parts them; with small letters and without punctuation, as the others: {rate:.1f} MB/s"


def rensa_dedup(documents, task):
    from rensa import RMinHash, RMinHashLSH

    def run(documents):
        index = RMinHashLSH(threshold=0.8, num_perm=N_HASHES, num_bands=N_BANDS)
        removed = 0
        for number, document in enumerate(documents):
            signature = RMinHash(num_perm=N_HASHES, seed=1)
            signature.update(shingles(document["text"], task))
            if index.query(signature):
                removed += 1
            else:
                index.insert(number, signature)
        return removed

    run([{"text": "one first"}])
    with harness.Clock() as clock:
        removed = run(documents)
    return clock, f"{removed} documents removed; a shared band is enough, nothing is verified"


def main(system, task, path, megabytes, scratch):
    documents = harness.documents(path, megabytes)
    work = {"rensa": rensa, "datasketch": datasketch, "daft": daft}[system]
    if task.startswith("near-dedup"):
        work = rensa_dedup
    clock, remark = work(documents, task)
    harness.report(documents, clock, system, remark=remark)


if __name__ == "__main__":
    main(*harness.arguments())
