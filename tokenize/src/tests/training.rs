//! Learned merges: a slow twin that counts every pair anew, threads, and what cannot be trained.

use super::*;

/// The definition: count every pair anew before each merge.
fn naive_train(texts: &[&str], n_merges: usize) -> Vec<Vec<u8>> {
    let mut pieces: Vec<Vec<u32>> = (texts.iter().flat_map(|text| pretokens(&Pattern::Bilingual, text)))
        .map(|piece| piece.bytes().map(u32::from).collect())
        .collect();
    let mut tokens: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
    for _ in 0..n_merges {
        let mut counts: BTreeMap<(u32, u32), i64> = BTreeMap::new();
        for pair in pieces.iter().flat_map(|piece| piece.windows(2)) {
            *counts.entry((pair[0], pair[1])).or_default() += 1;
        }
        let best = counts.into_iter().min_by_key(|&(pair, count)| (-count, pair));
        let Some(((left, right), _)) = best.filter(|&(_, count)| count > 1) else { break };
        let merged = tokens.len() as u32;
        tokens.push([tokens[left as usize].clone(), tokens[right as usize].clone()].concat());
        for piece in &mut pieces {
            let mut idx = 0;
            while idx + 1 < piece.len() {
                if piece[idx..idx + 2] == [left, right] {
                    piece.splice(idx..idx + 2, [merged]);
                }
                idx += 1;
            }
        }
    }
    tokens
}

fn tokens(vocabulary: &Vocabulary) -> Vec<Vec<u8>> {
    vocabulary.text_tokens().map(|(bytes, _)| bytes.to_vec()).collect()
}

fn in_pool(n_threads: usize, texts: &[&str]) -> String {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
    to_tokenizer_json(&pool.install(|| train(Pattern::Bilingual, texts, 512, &|_| {}).unwrap()))
}

#[test]
fn lays_ids_out_as_documented() {
    assert_eq!((SMALL.n_ids(), SMALL.n_ids_padded()), (512, 512));
    assert_eq!(SMALL.token_bytes(TokenId(200)), Some(&[200][..]));
    let specials: Vec<_> = SMALL.special_tokens().collect();
    let expected = [("<|endoftext|>", TokenId(509)), ("<|false|>", TokenId(510)), ("<|true|>", TokenId(511))];
    assert_eq!(specials, expected);
    assert_eq!([SMALL.end_of_text(), SMALL.label(false), SMALL.label(true)], expected.map(|(_, id)| id));
    assert_eq!((CL100K.n_ids(), CL100K.n_ids_padded()), (100_259, 100_352));
    assert_eq!(CL100K.label(true), TokenId(100_258));
}

#[test]
fn equals_its_slow_twin_on_real_text() {
    let trained = train(Pattern::Bilingual, &texts(), 512, &|_| {}).unwrap();
    assert_eq!(tokens(&trained), naive_train(&texts(), 512 - 259));
}

#[test]
fn does_not_depend_on_threads_or_order() {
    let mut texts = texts();
    let one = in_pool(1, &texts);
    assert_eq!(one, in_pool(4, &texts));
    texts.reverse();
    assert_eq!(one, in_pool(4, &texts));
}

#[test]
fn reports_every_merge() {
    let reports = std::sync::Mutex::new(Vec::new());
    train(Pattern::Bilingual, &[ENGLISH], 269, &|n_merges| reports.lock().unwrap().push(n_merges)).unwrap();
    assert_eq!(reports.into_inner().unwrap(), (1..=10).collect::<Vec<_>>());
}

#[test]
fn says_when_size_and_text_do_not_fit() {
    assert_eq!(
        train(Pattern::Bilingual, &[], 258, &|_| {}).err(),
        Some(TrainError::SizeTooSmall { size: 258, size_min: 259 })
    );
    assert_eq!(train(Pattern::Bilingual, &[], 259, &|_| {}).unwrap().n_ids(), 259);
    // "ab" twice, then nothing that occurs twice.
    let too_little = train(Pattern::Bilingual, &["ab abc"], 300, &|_| {}).err();
    assert_eq!(too_little, Some(TrainError::TooLittleText { size: 300, size_reached: 260 }));
}

proptest! {
    #[test]
    fn equals_its_slow_twin(texts in prop::collection::vec("[abc 中国1]{0,80}", 1..6)) {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let expected = naive_train(&texts, 30);
        let trained = train(Pattern::Bilingual, &texts, expected.len() + 3, &|_| {}).unwrap();
        prop_assert_eq!(tokens(&trained), expected);
    }
}
