"""What datatrove's quality filters decide about documents, rule by rule, and every number that a decision rests on.

Usage: datatrove_rules.py LANGUAGE DOCUMENTS_JSONL OUT_JSONL

English runs the filters with their defaults, C4 also as FineWeb sets it (a line may end as it likes); Chinese with the settings that
FineWeb2 uses for `cmn_Hani` (its three filters; FineWeb2 does not run C4). A filter stops at the first rule that fails, so the numbers are
computed here again with the filter's own helper functions, and the filter's answer is checked against the answer that these numbers
give: a mismatch ends the program.

One output line a document: {id, filters: {FILTER: null or its reason}, rules: {FILTER/RULE: [number, whether it is broken]}}. Rules have the
names that moso's settings give them. A ratio whose denominator is zero is null and not broken.
"""
import json
import sys

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


def quality(text, words, f):
    spoken = [w for w in words if any(c not in PUNCTUATION_SET for c in w)]
    lines = text.splitlines()
    mean = float(numpy.mean([len(w) for w in spoken])) if spoken else None
    hashes, ellipses = ratio(text.count("#"), len(words)), ratio(text.count("...") + text.count("…"), len(words))
    bullets = ratio(sum(s.lstrip().startswith(("•", "-")) for s in lines), len(lines))
    trailing = ratio(sum(s.rstrip().endswith(("...", "…")) for s in lines), len(lines))
    letters = ratio(sum(any(c.isalpha() for c in w) for w in words), len(words))
    return [
        ("words_min", len(spoken), least(f.min_doc_words), "gopher_short_doc"),
        ("words_max", len(spoken), most(f.max_doc_words), "gopher_long_doc"),
        ("mean_word_length_min", mean, least(f.min_avg_word_length), "gopher_below_avg_threshold"),
        ("mean_word_length_max", mean, most(f.max_avg_word_length), "gopher_above_avg_threshold"),
        ("symbol_ratio_max", hashes, most(f.max_symbol_word_ratio), "gopher_too_many_hashes"),
        ("symbol_ratio_max", ellipses, most(f.max_symbol_word_ratio), "gopher_too_many_ellipsis"),
        ("bullet_lines_max", bullets, most(f.max_bullet_lines_ratio), "gopher_too_many_bullets"),
        ("ellipsis_lines_max", trailing, most(f.max_ellipsis_lines_ratio), "gopher_too_many_end_ellipsis"),
        ("letter_ratio_min", letters, least(f.max_non_alpha_words_ratio), "gopher_below_alpha_threshold"),
        ("stop_words_min", len(f.stop_words.intersection(words)), least(f.min_stop_words), "gopher_enough_stop_words"),
    ]


def repetitions(text, words, f):
    n_paragraphs, paragraph_chars = repetition.find_duplicates(paragraphs := f.paragraph_exp.split(text.strip()))
    n_lines, line_chars = repetition.find_duplicates(lines := f._line_splitter.split(text))
    rules = [
        ("duplicate_paragraphs_max", n_paragraphs / len(paragraphs), most(f.dup_para_frac), "dup_para_frac"),
        ("duplicate_paragraph_chars_max", ratio(paragraph_chars, len(text)), most(f.dup_para_char_frac), "dup_para_char_frac"),
        ("duplicate_lines_max", n_lines / len(lines), most(f.dup_line_frac), "dup_line_frac"),
        ("duplicate_line_chars_max", ratio(line_chars, len(text)), most(f.dup_line_char_frac), "dup_line_char_frac"),
    ]
    for n, limit in f.top_n_grams:
        grams = repetition.get_n_grams(words, n)
        value = repetition.find_top_duplicate(grams) / len(text) if grams else None
        rules.append((f"top_{n}_words_max", value, most(limit), f"top_{n}_gram"))
    for n, limit in f.dup_n_grams:
        value = ratio(repetition.find_all_duplicate(words, n), len(text))
        rules.append((f"duplicate_{n}_words_max", value, most(limit), f"duplicated_{n}_n_grams"))
    return rules


def c4(text, _words, f):
    """The filter ends at the first line with a phrase or a bracket; here the lines after it are looked at too."""
    n_lorem, n_curly, n_sentences, first = 0, 0, 0, None
    for line in text.splitlines():
        line = line.strip()
        words = line.split()
        if any(len(word) > f.max_word_length for word in words):
            continue
        line = c4_filters.CITATION_REGEX.sub("", line)
        ends = line.endswith(c4_filters.END_PUNCTUATION) and not line.endswith(c4_filters.ELLIPSIS)
        if (f.filter_no_terminal_punct and not ends) or len(words) < f.min_words_per_line:
            continue
        lower = line.lower()
        if "lorem ipsum" in lower:
            n_lorem += 1
            first = first or "lorem_ipsum"
        elif "javascript" in lower:
            pass
        elif "{" in line:
            n_curly += 1
            first = first or "curly_bracket"
        elif not any(phrase in lower for phrase in c4_filters.POLICY_SUBSTRINGS):
            n_sentences += len(split_into_sentences(line, f.language))
    # Where the filter has ended for another reason, it never counts sentences to their end.
    sentences = None if first else n_sentences
    # In the order in which the filter met them.
    marks = [
        ("lorem_ipsum_max", n_lorem, lambda n: n > 0, "lorem_ipsum"),
        ("curly_brackets_max", n_curly, lambda n: n > 0, "curly_bracket"),
    ]
    marks.sort(key=lambda rule: rule[3] != first)
    return marks + [("sentences_min", sentences, least(f.min_num_sentences), "too_few_sentences")]


def fineweb(text, words, f):
    lines = [line for line in text.split("\n") if line.strip() != ""]
    repeated = repetition.find_duplicates(lines)[1]
    return [
        ("terminal_lines_min", ratio(sum(l.endswith(f.stop_chars) for l in lines), len(lines)), least(f.line_punct_thr), "line_punct_ratio"),
        ("short_lines_max", ratio(sum(len(l) <= f.short_line_length for l in lines), len(lines)), most(f.short_line_threshold), "short_line_ratio"),
        ("duplicate_line_chars_max", ratio(repeated, len(text.replace("\n", ""))), most(f.char_duplicates_ratio), "char_dup_ratio"),
        ("newline_ratio_max", ratio(text.count("\n"), len(words)), most(f.new_line_ratio), "list_ratio"),
    ]


def least(limit):
    return lambda value: bool(limit) and value < limit


def most(limit):
    return lambda value: bool(limit) and value > limit


RULES = {"gopher-quality": quality, "gopher-repetition": repetitions, "c4": c4, "c4-any-ending": c4, "fineweb": fineweb}


def examine(text, name, filter_, words):
    """The filter's reason, or None, by its numbers; and its rules."""
    reason, rules = None, {}
    for rule, value, is_broken, said in RULES[name](text, words, filter_):
        broken = value is not None and is_broken(value)
        reason = reason or (said if broken else None)
        before = rules.get(f"{name}/{rule}")
        # Two of the filter's rules are one of ours: the larger number counts.
        if before is None or (value is not None and value > (before[0] or 0)):
            rules[f"{name}/{rule}"] = [value, broken or bool(before and before[1])]
    return reason, rules


def main(language, documents, out):
    filters = filters_of(language)
    with open(documents, encoding="utf-8") as lines, open(out, "w", encoding="utf-8") as file:
        for line in lines:
            record = json.loads(line)
            text = record["text"]
            words = split_into_words(text, filters["gopher-quality"].language)
            row = {"id": record["id"], "filters": {}, "rules": {}}
            for name, filter_ in filters.items():
                reason, rules = examine(text, name, filter_, words)
                # C4's filter rewrites the text, so each filter gets a document of its own.
                answer = filter_.filter(Document(text=text, id=record["id"]))
                said = answer[1] if isinstance(answer, tuple) else None
                if said != reason:
                    sys.exit(f"{record['id']}: {name} says {said}, its numbers say {reason}")
                row["filters"][name] = said
                row["rules"] |= rules
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
