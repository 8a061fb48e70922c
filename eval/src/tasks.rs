//! Rule tasks of the paper's IQ evaluation, made from a seed (FLM-101B, section 4.3). No code of it was published: wording and
//! number ranges are ours, sizes and number of shots the paper's.

use corpus::Seed;

/// One question with the only right answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What the model is given.
    pub prompt: String,
    /// What it must continue with, to the letter.
    pub answer: String,
}

/// A set of items.
pub struct Task {
    /// Its name in results.
    pub name: &'static str,
    /// Examples in the prompt.
    pub n_shots: usize,
    /// The items.
    pub items: Vec<Item>,
    /// Expected share of right answers of a guesser who knows the form of the answer (its length and alphabet) and nothing else.
    pub chance: f64,
}

/// Items of the counting task in the paper.
const COUNTING_ITEMS: usize = 148;

/// Items of the replacement task in the paper.
const REPLACEMENT_ITEMS: usize = 300;

/// Both tasks.
pub fn rule_tasks(seed: &Seed) -> Vec<Task> {
    vec![counting(&seed.stream("counting")), replace_lowercase(&seed.stream("replace-lowercase"))]
}

/// "Count from 1041 to 1049: 1041,1042,1043," must go on to the end.
fn counting(seed: &Seed) -> Task {
    const SHOWN: u64 = 3;
    let item = |index: u64| {
        let first = 1000 + seed.stream("first").below(index, 9_000 - 20);
        let last = first + SHOWN + 2 + seed.stream("length").below(index, 8);
        let list = |range: std::ops::RangeInclusive<u64>| range.map(|n| n.to_string()).collect::<Vec<_>>().join(",");
        let shown = list(first..=first + SHOWN - 1);
        Item { prompt: format!("Let's count from {first} to {last}: {shown},"), answer: list(first + SHOWN..=last) }
    };
    let items: Vec<Item> = (0..COUNTING_ITEMS as u64).map(item).collect();
    let digits = |item: &Item| item.answer.bytes().filter(u8::is_ascii_digit).count() as i32;
    let chance = items.iter().map(|item| 0.1_f64.powi(digits(item))).sum::<f64>() / items.len() as f64;
    Task { name: "iq_counting", n_shots: 0, items, chance }
}

/// Four examples of replacing one letter of a word by another, then a word to do it with.
fn replace_lowercase(seed: &Seed) -> Task {
    const SHOTS: usize = 4;
    const LETTERS: usize = 5;
    let letter = |stream: &Seed, index: usize| char::from(b'a' + stream.below(index as u64, 26) as u8);
    let item = |index: usize| {
        let seed = seed.stream(&index.to_string());
        let (from, to) = (letter(&seed, 0), letter(&seed, 1).to_ascii_uppercase());
        let mut prompt = format!("Replace the letter {from} with {to}.\n");
        let mut answer = String::new();
        for shot in 0..=SHOTS {
            let stream = seed.stream(&format!("word {shot}"));
            let mut word: Vec<char> = (0..LETTERS).map(|index| letter(&stream, index)).collect();
            word[stream.below(LETTERS as u64, LETTERS as u64) as usize] = from;
            let word: String = word.into_iter().collect();
            let replaced = word.replace(from, &to.to_string());
            if shot < SHOTS {
                prompt.push_str(&format!("Input: {word} Output: {replaced}\n"));
            } else {
                prompt.push_str(&format!("Input: {word} Output:"));
                answer = format!(" {replaced}");
            }
        }
        Item { prompt, answer }
    };
    let items = (0..REPLACEMENT_ITEMS).map(item).collect();
    Task { name: "iq_replace_lowercase", n_shots: SHOTS, items, chance: (1.0_f64 / 52.0).powi(LETTERS as i32) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_right_and_reproducible() {
        let tasks = rule_tasks(&Seed::root(1));
        assert_eq!(tasks.iter().map(|task| task.items.len()).collect::<Vec<_>>(), [148, 300]);
        for (task, again) in tasks.iter().zip(rule_tasks(&Seed::root(1))) {
            assert_eq!(task.items, again.items);
        }
        for item in &tasks[0].items {
            let numbers: Vec<u64> = item.answer.split(',').map(|n| n.parse().unwrap()).collect();
            let last = item.prompt.split([' ', ':']).nth(5).unwrap();
            assert_eq!(numbers.last().unwrap().to_string(), last);
            assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1));
            assert!(item.prompt.ends_with(&format!("{},", numbers[0] - 1)));
        }
        for item in &tasks[1].items {
            let (from, to) = (&item.prompt[19..20], &item.prompt[26..27]);
            let word = item.prompt.rsplit("Input: ").next().unwrap().strip_suffix(" Output:").unwrap();
            assert!(word.contains(from));
            assert_eq!(item.answer.trim(), word.replace(from, to));
        }
    }
}
