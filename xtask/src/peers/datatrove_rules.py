"""What datatrove's quality filters decide about documents, and every number that a decision rests on.

Usage: datatrove_rules.py LANGUAGE DOCUMENTS_JSONL OUT_JSONL [--words]

English runs the filters with their defaults; Chinese with the settings that FineWeb2 uses for `cmn_Hani` (its three filters; FineWeb2 does
not run C4). A filter stops at the first rule that fails, so the numbers are computed here again with the filter's own helper functions,
and the filter's answer is checked against the answer that these numbers give: a mismatch ends the program.

One output line a document: {id, filters: {FILTER: null or the reason}, values: {RULE: number}, n_words}. A ratio whose denominator is
zero is null.
"""
import json
import sys
import types

import numpy
from datatrove.data import Document
from datatrove.pipeline.filters import C4QualityFilter, FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter
from datatrove.pipeline.filters import c4_filters, gopher_repetition_filter as repetition
from datatrove.utils.text import PUNCTUATION_SET, split_into_sentences, split_into_words

# FineWeb2's configs/cmn_Hani.yml and the settings its pipeline gives to every language.
CHINESE = {
    "language": "cmn_Hani",
    "stop_words": list("的年在月是和日了於·為有被人中为他與後也而由"),
    "top_n_grams": [(2, 0.256), (3, 0.201), (4, 0.171)],
    "dup_n_grams": [(5, 0.198), (6, 0.182), (7, 0.167), (8, 0.154), (9, 0.14), (10, 0.127)],
}


def filters_of(language):
    if language == "en":
        return {
            "gopher-quality": GopherQualityFilter(),
            "gopher-repetition": GopherRepetitionFilter(),
            "c4": C4QualityFilter(),
            "c4-any-ending": C4QualityFilter(filter_no_terminal_punct=False),
            "fineweb": FineWebQualityFilter(),
        }
    code = CHINESE["language"]
    return {
        "gopher-quality": GopherQualityFilter(
            language=code,
            min_avg_word_length=1,
            max_avg_word_length=5,
            stop_words=CHINESE["stop_words"],
            max_non_alpha_words_ratio=0.735,
            min_stop_words=2,
        ),
        "gopher-repetition": GopherRepetitionFilter(
            language=code,
            dup_para_frac=0,
            dup_line_char_frac=0,
            dup_para_char_frac=0,
            dup_line_frac=0.287,
            top_n_grams=CHINESE["top_n_grams"],
            dup_n_grams=CHINESE["dup_n_grams"],
        ),
        "fineweb": FineWebQualityFilter(
            language=code, short_line_thr=999, char_duplicates_ratio=0.1, line_punct_thr=0.106, new_line_ratio=0.178
        ),
    }


def ratio(part, whole):
    return part / whole if whole else None


def quality_values(text, words, filter_):
    spoken = [w for w in words if any(c not in PUNCTUATION_SET for c in w)]
    lines = text.splitlines()
    return {
        "words": len(spoken),
        "mean-word-length": float(numpy.mean([len(w) for w in spoken])) if spoken else None,
        "hash-ratio": ratio(text.count("#"), len(words)),
        "ellipsis-ratio": ratio(text.count("...") + text.count("…"), len(words)),
        "bullet-lines": ratio(sum(s.lstrip().startswith(("•", "-")) for s in lines), len(lines)),
        "ellipsis-lines": ratio(sum(s.rstrip().endswith(("...", "…")) for s in lines), len(lines)),
        "alphabetic-words": ratio(sum(any(c.isalpha() for c in w) for w in words), len(words)),
        "stop-words": len(filter_.stop_words.intersection(words)),
    }


def quality_reason(v, f):
    if v["words"] < f.min_doc_words:
        return "gopher_short_doc"
    if v["words"] > f.max_doc_words:
        return "gopher_long_doc"
    if v["mean-word-length"] < f.min_avg_word_length:
        return "gopher_below_avg_threshold"
    if v["mean-word-length"] > f.max_avg_word_length:
        return "gopher_above_avg_threshold"
    if v["hash-ratio"] > f.max_symbol_word_ratio:
        return "gopher_too_many_hashes"
    if v["ellipsis-ratio"] > f.max_symbol_word_ratio:
        return "gopher_too_many_ellipsis"
    if v["bullet-lines"] > f.max_bullet_lines_ratio:
        return "gopher_too_many_bullets"
    if v["ellipsis-lines"] > f.max_ellipsis_lines_ratio:
        return "gopher_too_many_end_ellipsis"
    if v["alphabetic-words"] < f.max_non_alpha_words_ratio:
        return "gopher_below_alpha_threshold"
    return "gopher_enough_stop_words" if v["stop-words"] < f.min_stop_words else None


def repetition_values(text, words, f):
    paragraphs = f.paragraph_exp.split(text.strip())
    paragraph_n, paragraph_chars = repetition.find_duplicates(paragraphs)
    lines = f._line_splitter.split(text)
    line_n, line_chars = repetition.find_duplicates(lines)
    values = {
        "dup-paragraphs": paragraph_n / len(paragraphs),
        "dup-paragraph-chars": ratio(paragraph_chars, len(text)),
        "dup-lines": line_n / len(lines),
        "dup-line-chars": ratio(line_chars, len(text)),
    }
    for n, _ in f.top_n_grams:
        grams = repetition.get_n_grams(words, n)
        values[f"top-{n}-gram"] = repetition.find_top_duplicate(grams) / len(text) if grams else None
    for n, _ in f.dup_n_grams:
        values[f"dup-{n}-gram"] = ratio(repetition.find_all_duplicate(words, n), len(text))
    return values


def repetition_reason(v, f):
    rules = [
        ("dup-paragraphs", f.dup_para_frac, "dup_para_frac"),
        ("dup-paragraph-chars", f.dup_para_char_frac, "dup_para_char_frac"),
        ("dup-lines", f.dup_line_frac, "dup_line_frac"),
        ("dup-line-chars", f.dup_line_char_frac, "dup_line_char_frac"),
    ]
    rules += [(f"top-{n}-gram", limit, f"top_{n}_gram") for n, limit in f.top_n_grams]
    rules += [(f"dup-{n}-gram", limit, f"duplicated_{n}_n_grams") for n, limit in f.dup_n_grams]
    for name, limit, reason in rules:
        if limit and v[name] is not None and v[name] > limit:
            return reason
    return None


def c4_values(text, f, name):
    """Counts of the lines that each line rule takes, of sentences that stay, and the document rules' hits, in the filter's own order."""
    counts = dict.fromkeys(["long-word", "ending", "few-words", "javascript", "policy", "kept"], 0)
    sentences, stop = 0, None
    for line in text.splitlines():
        line = line.strip()
        words = line.split()
        if any(len(word) > f.max_word_length for word in words):
            counts["long-word"] += 1
            continue
        line = c4_filters.CITATION_REGEX.sub("", line)
        ends = line.endswith(c4_filters.END_PUNCTUATION) and not line.endswith(c4_filters.ELLIPSIS)
        if f.filter_no_terminal_punct and not ends:
            counts["ending"] += 1
            continue
        if len(words) < f.min_words_per_line:
            counts["few-words"] += 1
            continue
        lower = line.lower()
        if "lorem ipsum" in lower:
            stop = stop or "lorem_ipsum"
            break
        if "javascript" in lower:
            counts["javascript"] += 1
            continue
        if "{" in line:
            stop = stop or "curly_bracket"
            break
        if any(p in lower for p in c4_filters.POLICY_SUBSTRINGS):
            counts["policy"] += 1
            continue
        sentences += len(split_into_sentences(line, f.language))
        counts["kept"] += 1
    reason = stop or ("too_few_sentences" if sentences < f.min_num_sentences else None)
    return {f"{name}:{key}-lines": n for key, n in counts.items()} | {f"{name}:sentences": sentences}, reason


def fineweb_values(text, words, f):
    lines = [line for line in text.split("\n") if line.strip() != ""]
    return {
        "lines-ending-in-punctuation": ratio(sum(line.endswith(f.stop_chars) for line in lines), len(lines)),
        "short-lines": ratio(sum(len(line) <= f.short_line_length for line in lines), len(lines)),
        "duplicate-line-chars": ratio(repetition.find_duplicates(lines)[1], len(text.replace("\n", ""))),
        "newlines-per-word": ratio(text.count("\n"), len(words)),
    }


def fineweb_reason(v, f):
    if v["lines-ending-in-punctuation"] is None:
        return "empty"
    if v["lines-ending-in-punctuation"] < f.line_punct_thr:
        return "line_punct_ratio"
    if v["short-lines"] > f.short_line_threshold:
        return "short_line_ratio"
    if v["duplicate-line-chars"] > f.char_duplicates_ratio:
        return "char_dup_ratio"
    return "list_ratio" if v["newlines-per-word"] > f.new_line_ratio else None


def examine(text, filters):
    words = split_into_words(text, filters["gopher-quality"].language)
    values = quality_values(text, words, filters["gopher-quality"])
    reasons = {"gopher-quality": quality_reason(values, filters["gopher-quality"])}
    more = repetition_values(text, words, filters["gopher-repetition"])
    reasons["gopher-repetition"] = repetition_reason(more, filters["gopher-repetition"])
    values |= more
    more = fineweb_values(text, words, filters["fineweb"])
    reasons["fineweb"] = fineweb_reason(more, filters["fineweb"])
    values |= more
    for name in ("c4", "c4-any-ending"):
        if name in filters:
            more, reasons[name] = c4_values(text, filters[name], name)
            values |= more
    return words, values, reasons


def main(language, documents, out, with_words):
    filters = filters_of(language)
    with open(documents, encoding="utf-8") as lines, open(out, "w", encoding="utf-8") as file:
        for line in lines:
            record = json.loads(line)
            words, values, reasons = examine(record["text"], filters)
            for name, filter_ in filters.items():
                # C4's filter rewrites the text, so each filter gets a document of its own.
                answer = filter_.filter(Document(text=record["text"], id=record["id"]))
                said = answer[1] if isinstance(answer, tuple) else None
                if said != reasons[name]:
                    sys.exit(f"{record['id']}: {name} says {said}, its numbers say {reasons[name]}")
            row = {"id": record["id"], "filters": reasons, "values": values, "n_words": len(words)}
            if with_words:
                row["words"] = words
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:4], "--words" in sys.argv)
