"""The rivals' tokenizers with cl100k_base, and the training of a vocabulary by `tokenizers`.

Every rival is called in the way that was found to be its fastest on one thread:
gigatoken: `encode` of one document's bytes a call; its batches of strings or bytes, its `BytesSource` and its `encode_files` are slower.
fastokens: `encode_ordinary` of one document a call; `encode_batch` and `encode_batch_flat` are slower. Of one long document a call the latter,
which is faster there.
tokenizers-1.0rc3: `encode` of one document a call; `encode_batch` is slower.
bpe-openai: its binding, around the Python wrapper, which copies every list and refuses texts of a million characters.
tiktoken: `encode_ordinary`; `encode_to_numpy` is slower.
tokenizers: `encode_batch_fast` of a batch, which keeps no offsets.

What a document becomes is counted and let go. Rivals that take strings find the UTF-8 of each made already. A task whose name ends in
`-tokens` measures nothing: the same calls, and all ids into SCRATCH/tokens-SYSTEM.bin for the comparison with ours (see `tokens.rs`).
"""
import array
import ctypes
import json
import math
import pathlib
import typing

import harness

LONG_BYTES = 1_000_000
BATCH_BYTES = 256_000
SAMPLE_MEGABYTES = 2.0
N_IDS = 64_000

CL100K = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
)


def list_bytes(ids):
    found = array.array("I", ids)
    assert found.itemsize == 4, "ids are compared as 32 bits"
    return found.tobytes()


class Rival(typing.NamedTuple):
    package: str
    how: str
    # What each document of a batch becomes, something with as many items as it has tokens.
    encode: typing.Callable
    # The ids of one document, out of that, as bytes.
    ids: typing.Callable = list_bytes
    takes_bytes: bool = False


def one_by_one(encode):
    return lambda batch: map(encode, batch)


def gigatoken(path):
    import gigatoken

    encode = gigatoken.Tokenizer.from_json(path.read_bytes()).encode
    return Rival("gigatoken", "encode(bytes) by document", one_by_one(encode), lambda ids: ids.tobytes(), True)


def fastokens(path):
    import fastokens

    encode = fastokens.Tokenizer.from_file(str(path)).encode_ordinary
    return Rival("fastokens", "encode_ordinary by document", one_by_one(encode), lambda encoding: list_bytes(encoding.ids))


def fastokens_long(path):
    import fastokens

    encode_flat = fastokens.Tokenizer.from_file(str(path)).encode_batch_flat

    def encode(text):
        return memoryview(encode_flat([text])[0]).cast("I")

    return Rival("fastokens", "encode_batch_flat by document", one_by_one(encode), lambda ids: ids.tobytes())


def tokenizers_rc(path):
    import tokenizers

    encode = tokenizers.Tokenizer.from_file(str(path)).encode
    return Rival("tokenizers", "encode by document", one_by_one(encode), lambda encoding: list_bytes(encoding.ids))


def bpe_openai(path):
    from bpe_openai import _bindings

    encode = _bindings.tokenizer_for_encoding("cl100k_base").encode
    return Rival("bpe-openai", "its binding's encode by document; its own copy of the vocabulary", one_by_one(encode))


def tiktoken(path):
    import tiktoken

    spelling = json.loads(path.read_text("utf-8"))["model"]["vocab"]
    byte_of = {character: byte for byte, character in enumerate(byte_characters())}
    ranks = {bytes(byte_of[character] for character in token): rank for token, rank in spelling.items()}
    encoding = tiktoken.Encoding("cl100k_base", pat_str=CL100K, mergeable_ranks=ranks, special_tokens={})
    return Rival("tiktoken", "encode_ordinary by document", one_by_one(encoding.encode_ordinary))


def byte_characters():
    """The printable characters by which a tokenizer.json spells the bytes, in order of the bytes."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(others)) for byte in range(0x100)]


def tokenizers(path):
    import tokenizers

    encode_batch = tokenizers.Tokenizer.from_file(str(path)).encode_batch_fast

    def encode(batch):
        return encode_batch(batch, add_special_tokens=False)

    return Rival("tokenizers", "encode_batch_fast", encode, lambda encoding: list_bytes(encoding.ids))


RIVALS = {
    "gigatoken": gigatoken,
    "fastokens": fastokens,
    "fastokens-long": fastokens_long,
    "tokenizers-1.0rc3": tokenizers_rc,
    "bpe-openai": bpe_openai,
    "tiktoken": tiktoken,
    "tokenizers": tokenizers,
}


def joined(documents):
    """Documents put together until they are long, as our program does it."""
    parts, size = [], 0
    for document in documents:
        parts.append(document["text"] + "\n")
        size += len(parts[-1].encode())
        if size >= LONG_BYTES:
            yield {"text": "".join(parts)}
            parts, size = [], 0
    if parts:
        yield {"text": "".join(parts)}


def batches(texts):
    batch, size = [], 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def as_taken(documents, rival):
    texts = [document["text"] for document in documents]
    if rival.takes_bytes:
        return [text.encode() for text in texts]
    # A string keeps its UTF-8 once that was asked for: making it is Python's work, not the rival's.
    make_utf8 = ctypes.pythonapi.PyUnicode_AsUTF8
    make_utf8.restype, make_utf8.argtypes = ctypes.c_void_p, [ctypes.py_object]
    for text in texts:
        make_utf8(text)
    return texts


def count_tokens(texts, rival):
    return sum(sum(map(len, rival.encode(batch))) for batch in batches(texts))


def write_tokens(texts, rival, path):
    with open(path, "wb") as out:
        for batch in batches(texts):
            for ids in map(rival.ids, rival.encode(batch)):
                out.write((len(ids) // 4).to_bytes(4, "little") + ids)


def encode_task(system, task, path, megabytes, scratch):
    kind = task.removesuffix("-tokens")
    is_long = kind.endswith("-long")
    make_rival = is_long and RIVALS.get(f"{system}-long") or RIVALS[system]
    rival = make_rival(scratch / "cl100k.json")
    if is_long:
        documents = harness.prefix(joined(harness.documents(path, math.inf)), megabytes)
    else:
        documents = harness.documents(path, megabytes)
    texts = as_taken(documents, rival)
    count_tokens(as_taken([{"text": "One sentence first, so that nothing is loaded late."}], rival), rival)
    if kind.endswith("-warm"):
        count_tokens(texts, rival)
    if kind != task:
        return write_tokens(texts, rival, scratch / f"tokens-{system}.bin")
    with harness.Clock() as clock:
        n_tokens = count_tokens(texts, rival)
    harness.report(documents, clock, rival.package, remark=f"{rival.how}; {n_tokens} tokens")


def train_task(path, megabytes, scratch):
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

    documents = harness.documents(path, megabytes)
    texts = [document["text"] for document in documents]
    tokenizer = Tokenizer(models.BPE())
    pattern = Regex((scratch / "bilingual.txt").read_text("utf-8"))
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(pattern, "isolated"), byte_level])
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=N_IDS, special_tokens=[], initial_alphabet=alphabet, show_progress=False)
    with harness.Clock() as clock:
        tokenizer.train_from_iterator(texts, trainer, length=len(texts))
    peak_mib = harness.peak_mib()
    rates = []
    for lang in ("en", "zh"):
        sample = harness.prefix((document for document in documents if document["lang"] == lang), SAMPLE_MEGABYTES)
        encodings = tokenizer.encode_batch_fast([document["text"] for document in sample], add_special_tokens=False)
        n_bytes = sum(len(document["text"].encode()) for document in sample)
        rates.append(f"{lang} {n_bytes / sum(map(len, encodings)):.3f}")
    remark = f"{tokenizer.get_vocab_size()} ids; bytes per token of the first {SAMPLE_MEGABYTES:.0f} MB of a language: {', '.join(rates)}"
    harness.report(documents, clock, "tokenizers", remark=remark, peak_mib=peak_mib)


def trained_tokens(system, path, megabytes, scratch):
    """Encodes the Chinese documents with the vocabulary that we trained."""
    chinese = [document["text"] for document in harness.documents(path, megabytes) if document["lang"] == "zh"]
    write_tokens(chinese, RIVALS[system](scratch / "trained.json"), scratch / f"tokens-{system}.bin")


def main(system, task, path, megabytes, scratch):
    scratch = pathlib.Path(scratch)
    if task == "train-vocab":
        train_task(path, megabytes, scratch)
    elif task == "train-vocab-tokens":
        trained_tokens(system, path, megabytes, scratch)
    else:
        encode_task(system, task, path, megabytes, scratch)
    # What is read where nothing was measured.
    if task.endswith("-tokens"):
        print("{}")


if __name__ == "__main__":
    main(*harness.arguments())
