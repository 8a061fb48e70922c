"""text-dedup: its MinHash program, called in this process so that imports stay outside of the clock.

It reads and writes its own files. It parts words at what is no letter, so that a run of Chinese is one word: it has no row for Chinese.
"""
import json
import pathlib
import shutil

import harness
from text_dedup.minhash import main as minhash


def main(system, task, path, megabytes, scratch):
    scratch = pathlib.Path(scratch) / "text-dedup"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    documents = harness.documents(path, megabytes)
    source = scratch / "documents.jsonl"
    source.write_text("".join(json.dumps({"id": d["id"], "text": d["text"]}) + "\n" for d in documents), "utf-8")
    options = ["--path", "json", "--data_files", str(source), "--split", "train", "--cache_dir", str(scratch / "cache")]
    options += ["--output", str(scratch / "out"), "--column", "text", "--num_proc", "1", "--hash_func", "xxh3"]
    options += ["--ngram", "5", "--min_length", "0", "--num_perm", "112", "--b", "14", "--r", "8"]
    with harness.Clock() as clock:
        minhash(options, standalone_mode=False)
    from datasets import load_from_disk

    n_removed = len(documents) - len(load_from_disk(str(scratch / "out")))
    shutil.rmtree(scratch)
    remark = f"{n_removed} documents removed; a shared band is enough, nothing is verified; reading and writing files included"
    harness.report(documents, clock, "text-dedup", remark=remark)


if __name__ == "__main__":
    main(*harness.arguments())
