"""datamap-rs: Gopher's rules on quality and on repetition, as its own DCLM recipe has them, by its program, one thread.

The program reads and writes JSON lines, and that is counted. C4's and FineWeb's rules are not among its filters.
"""
import json
import pathlib
import shutil
import subprocess

import harness

STEPS = [
    ("page_len_filter", {"length_type": "word", "lower_bound": 50, "upper_bound": 100000, "ignore_punctuation": True}),
    ("word_len_filter", {"lower_bound": 3, "upper_bound": 10}),
    ("symbol_ratio_filter", {"max_symbol_to_word_ratio": 0.1}),
    ("bullet_filter", {"max_bullet_ratio": 0.9}),
    ("ellipsis_line_ratio_filter", {"max_ratio": 0.3}),
    ("alphabetic_word_ratio_filter", {"max_ratio": 0.2}),
    ("stop_word_filter", {"count_unique": False, "min_stop_word": 2}),
    ("massive_web_repetition_filter", {}),
]


def main(system, task, path, megabytes, scratch):
    program = pathlib.Path(scratch).parent / "datamap-rs" / "target" / "release" / "datamap-rs"
    scratch = pathlib.Path(scratch) / "datamap"
    shutil.rmtree(scratch, ignore_errors=True)
    (scratch / "in").mkdir(parents=True)
    documents = harness.documents(path, megabytes)
    lines = (json.dumps({"id": d["id"], "text": d["text"]}, ensure_ascii=False) + "\n" for d in documents)
    (scratch / "in" / "documents.jsonl").write_text("".join(lines), "utf-8")
    recipe = {"name": "gopher", "text_field": "text", "pipeline": [{"name": n, "kwargs": k} for n, k in STEPS]}
    (scratch / "recipe.yaml").write_text(json.dumps(recipe))
    command = [program, "--threads", "1", "map", "--config", scratch / "recipe.yaml"]
    command += ["--input-dir", scratch / "in", "--output-dir", scratch / "out"]
    with harness.Clock() as clock:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    kept = scratch / "out" / "step_final" / "documents.jsonl"
    n_kept = len(kept.read_text("utf-8").splitlines()) if kept.exists() else 0
    shutil.rmtree(scratch)
    harness.report(
        documents,
        clock,
        None,
        version="0.1.0 (f771794)",
        remark=f"Gopher quality and repetition only, no C4 and FineWeb rules; JSON lines in and out included; {n_kept} of {len(documents)} kept",
    )


if __name__ == "__main__":
    main(*harness.arguments())
