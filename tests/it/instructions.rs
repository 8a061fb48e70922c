//! Instructions from the file to the tokens: what carries loss is the answers of the file and the ends of texts, no more.

use std::collections::BTreeMap;

use corpus::{DocId, Document, Kind, Manifest, read_documents, read_tokens};
use serde_json::Value;

use crate::harness::Bench;

#[test]
fn loss_is_on_the_answers_of_the_file_and_the_end_of_the_text() {
    let bench = Bench::new();
    for stage in ["ingest", "tokenizer", "tokenize"] {
        bench.succeed(stage, "out");
    }
    let out = bench.path("out");
    let paths = |folder: &str| Manifest::read(&out.join(folder)).unwrap().paths(&out.join(folder));
    let documents: BTreeMap<DocId, Document> =
        paths("documents").iter().flat_map(|path| read_documents(path).unwrap().0).map(|one| (one.id, one)).collect();
    let vocabulary = tokenize::load_tokenizer(&out).unwrap();
    let text = |tokens: &[u32]| tokenize::decode(&vocabulary, tokens);
    let records = std::fs::read(bench.path("corpus/preferences-en.jsonl.zst")).unwrap();
    let records = String::from_utf8(zstd::decode_all(&records[..]).unwrap()).unwrap();
    let records: Vec<Value> = records.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (mut n_of_answers, mut n_of_all) = (0, 0);
    for one in paths("tokens").iter().flat_map(|path| read_tokens(path).unwrap()) {
        let document = &documents[&one.id];
        let end = one.tokens.len() - 1;
        match (one.kind, &one.source[..]) {
            (Kind::Instruction, "answers-en") => n_of_answers += 1,
            (Kind::Proposition, _) => {
                let spans = one.loss.unwrap();
                assert_eq!(spans.len(), 1);
                assert_eq!((spans[0].start as usize, spans[0].end as usize), (end - 1, end));
                continue;
            }
            _ => {
                n_of_all += usize::from(one.kind == Kind::Instruction);
                assert!(one.loss.is_none() && document.loss.is_none());
                continue;
            }
        }
        let (of_tokens, of_bytes) = (one.loss.unwrap(), document.loss.clone().unwrap());
        let answers: Vec<&str> =
            of_bytes.iter().map(|span| &document.text[span.start as usize..span.end as usize]).collect();
        let learnt: Vec<Vec<u8>> = of_tokens
            .iter()
            .map(|span| text(&one.tokens[span.start as usize..(span.end as usize).min(end)]))
            .filter(|bytes| !bytes.is_empty())
            .collect();
        assert_eq!(learnt, answers.iter().map(|answer| answer.as_bytes().to_vec()).collect::<Vec<_>>());
        assert_eq!(of_tokens.last().unwrap().end as usize, end + 1, "the end of the text is learnt, too");
        // As the file has them, but for what repair changes.
        let locator = serde_json::from_str::<Value>(&document.meta).unwrap()["locator"].as_str().unwrap().to_owned();
        let record = &records[locator.rsplit(':').next().unwrap().parse::<usize>().unwrap() - 1];
        let earlier = record["conversations"].as_array().unwrap().iter().filter(|turn| turn["from"] == "gpt");
        let said: Vec<String> = earlier
            .chain([&record["chosen"]])
            .map(|turn| ::ingest::normalise_with(turn["value"].as_str().unwrap(), &REPAIR).text)
            .collect();
        assert_eq!(said, answers);
    }
    assert!(n_of_answers > 20 && n_of_all > 20, "{n_of_answers} and {n_of_all}");
}

/// What `tiny.toml` says.
const REPAIR: ::ingest::Normalise = ::ingest::Normalise {
    misreadings: true,
    entities: true,
    escaped_line_ends: true,
    full_width: true,
    form: ::ingest::UnicodeForm::Nfc,
    boilerplate_lines: false,
};
