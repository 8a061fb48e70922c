//! Words that English splits or keeps against the general rules: contractions (`don't` is `do` and `n't`), abbreviations
//! (`Mr.` keeps its dot, so no sentence ends there), times of day, faces made of punctuation.
//!
//! The list is the one that spaCy 3.8 ships for English (MIT licence, `lang/en/tokenizer_exceptions.py`), written down
//! here as the few rules it is made by. It is built once a process: 1,340 words, under a millisecond.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::hash::hash_bytes;

/// Bits of the filter that answers for most words; at 1,340 of 16,384 bits set, one word in twelve is looked up.
const FILTER_BITS: usize = 1 << 14;

/// No exception is longer; in bytes.
pub(super) const LONGEST: usize = 36;

/// Contractions whose spelling without an apostrophe is another word.
const OTHER_WORDS: [&str; 8] = ["ill", "its", "hell", "shell", "shed", "were", "well", "whore"];

const WHOLE: &str = "and/or w/o 'S 's ‘S ‘s 're 'd 'Cause 'cause 'cos 'Cos 'coz 'Coz 'cuz 'Cuz 'bout ma'am Ma'am o'clock \
    O'clock lovin' Lovin' lovin Lovin havin' Havin' havin Havin doin' Doin' doin Doin goin' Goin' goin Goin nothin' \
    Nothin' nothin Nothin nuthin' Nuthin' nuthin Nuthin ol' Ol' ol Ol somethin' Somethin' somethin Somethin em 'em ll \
    'll nuff 'nuff \
    Mt. Ak. Ala. Apr. Ariz. Ark. Aug. Calif. Colo. Conn. Dec. Del. Feb. Fla. Ga. Ia. Id. Ill. Ind. Jan. Jul. Jun. Kan. \
    Kans. Ky. La. Mar. Mass. Mich. Minn. Miss. N.C. N.D. N.H. N.J. N.M. N.Y. Neb. Nebr. Nev. Nov. Oct. Okla. Ore. Pa. \
    S.C. Sep. Sept. Tenn. Va. Wash. Wis. a.m. Adm. Bros. co. Co. Corp. D.C. Dr. e.g. E.g. E.G. Gen. Gov. i.e. I.e. \
    I.E. Inc. Jr. Ltd. Md. Messrs. Mo. Mont. Mr. Mrs. Ms. p.m. Ph.D. Prof. Rep. Rev. Sen. St. vs. v.s. \
    — ' '' \\\") <space> C++ \\t \\n ä. ö. ü.";

/// Whole words as well, but of marks.
const FACES: &str = ":) :-) :)) :-)) :))) :-))) (: (-: =) (= :] :-] [: [-: [= =] :o) (o: :} :-} 8) 8-) (-8 ;) ;-) (; \
    (-; :( :-( :(( :-(( :((( :-((( ): )-: =( >:( :') :'-) :'( :'-( :/ :-/ =/ =| :| :-| ]= =[ :1 :P :-P :p :-p :O :-O \
    :o :-o :0 :-0 :() >:o :* :-* :3 :-3 =3 :> :-> :X :-X :x :-x :D :-D ;D ;-D =D xD XD xDD XDD 8D 8-D ^_^ ^__^ ^___^ \
    >.< >.> <.< ._. ;_; -_- -__- v.v V.V v_v V_V o_o o_O O_o O_O 0_o o_0 0_0 o.O O.o O.O o.o 0.0 o.0 0.o @_@ <3 <33 \
    <333 </3 (^_^) (-_-) (._.) (>_<) (*_*) (¬_¬) ಠ_ಠ ಠ︵ಠ (ಠ_ಠ) ¯\\(ツ)/¯ (╯°□°）╯︵┻━┻ ><(((*>";

/// Where each word is cut, by a bar.
const CUT: &str = "y'|all y|all how|'d|'y How|'d|'y not|'ve not|ve Not|'ve Not|ve can|not Can|not gon|na Gon|na got|ta \
    Got|ta let|'s Let|'s c'm|on C'm|on";

/// The exceptions of a process.
pub(super) static EXCEPTIONS: LazyLock<Exceptions> = LazyLock::new(Exceptions::build);

/// Words and the lengths of their pieces, looked up by hash.
pub(super) struct Exceptions {
    /// Sorted by hash.
    words: Vec<(u64, Box<str>, Box<[u8]>)>,
    filter: Box<[u64]>,
}

impl Exceptions {
    /// The bytes of each piece of `word`, where it is an exception. `hash` is that of its bytes.
    pub(super) fn pieces(&self, hash: u64, word: &[u8]) -> Option<&[u8]> {
        if self.filter[bit(hash) / 64] & (1 << (bit(hash) % 64)) == 0 {
            return None;
        }
        let at = self.words.binary_search_by_key(&hash, |(hash, _, _)| *hash).ok()?;
        let (_, found, pieces) = &self.words[at];
        (found.as_bytes() == word).then_some(pieces)
    }

    /// [`Exceptions::pieces`] for a word that hasn't been hashed.
    pub(super) fn find(&self, word: &str) -> Option<&[u8]> {
        if word.len() > LONGEST {
            return None;
        }
        self.pieces(hash_bytes(word.as_bytes()), word.as_bytes())
    }

    /// Every exception and the bytes of its pieces.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.words.iter().map(|(_, word, pieces)| (&word[..], &pieces[..]))
    }

    /// No exceptions at all.
    pub(super) fn none() -> Self {
        Self { words: Vec::new(), filter: vec![0; FILTER_BITS / 64].into() }
    }

    fn build() -> Self {
        let mut by_word: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for pieces in contractions().into_iter().chain(others()) {
            let curly: Vec<String> = pieces.iter().map(|piece| piece.replace('\'', "’")).collect();
            for pieces in [pieces, curly] {
                by_word.insert(pieces.concat(), pieces.iter().map(|piece| piece.len() as u8).collect());
            }
        }
        for word in OTHER_WORDS {
            by_word.remove(word);
            by_word.remove(&title(word));
        }
        let mut words: Vec<(u64, Box<str>, Box<[u8]>)> = by_word
            .into_iter()
            .map(|(word, pieces)| (hash_bytes(word.as_bytes()), word.into(), pieces.into()))
            .collect();
        words.sort_unstable_by_key(|&(hash, _, _)| hash);
        let mut filter = vec![0_u64; FILTER_BITS / 64];
        for &(hash, ref word, _) in &words {
            assert!(word.len() <= LONGEST, "{word} is longer than any exception");
            filter[bit(hash) / 64] |= 1 << (bit(hash) % 64);
        }
        Self { words, filter: filter.into() }
    }
}

fn bit(hash: u64) -> usize {
    hash as usize % FILTER_BITS
}

/// Pronouns, question words and verbs with what is drawn together with them, with and without the apostrophe.
fn contractions() -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut add = |word: &str, endings: &[&str]| {
        for word in [word.to_owned(), title(word)] {
            for ending in endings {
                for ending in [(*ending).to_owned(), ending.replace('\'', "")] {
                    let pieces = ending.split('|').map(str::to_owned);
                    found.push(std::iter::once(word.clone()).chain(pieces).collect());
                }
            }
        }
    };
    let always = ["'ll", "'ll|'ve", "'d", "'d|'ve"];
    for (word, endings) in [
        ("i", &["'m", "'m|a", "'ve"][..]),
        ("you", &["'ve", "'re"]),
        ("he", &["'s"]),
        ("she", &["'s"]),
        ("it", &["'s"]),
        ("we", &["'ve", "'re"]),
        ("they", &["'ve", "'re"]),
        ("that", &["'s"]),
        ("this", &["'s"]),
        ("these", &["'re", "'ve"]),
        ("those", &["'re", "'ve"]),
    ] {
        add(word, &always);
        add(word, endings);
    }
    for word in ["who", "what", "when", "where", "why", "how", "there"] {
        add(word, &always);
        add(word, &["'s", "'re", "'ve"]);
    }
    for verb in ["ca", "do", "does", "did", "had", "may", "need", "ought", "sha", "wo"] {
        add(verb, &["n't", "n't|'ve"]);
    }
    for verb in ["could", "might", "must", "should", "would"] {
        add(verb, &["n't", "n't|'ve", "'ve"]);
    }
    for verb in ["ai", "are", "is", "was", "were", "have", "has", "dare"] {
        add(verb, &["n't"]);
    }
    found
}

fn others() -> Vec<Vec<String>> {
    let mut found: Vec<Vec<String>> = WHOLE.split_whitespace().map(|word| vec![word.to_owned()]).collect();
    found.extend(FACES.split_whitespace().map(|face| vec![face.to_owned()]));
    found.extend(('a'..='z').map(|letter| vec![format!("{letter}.")]));
    found.extend(CUT.split_whitespace().map(|word| word.split('|').map(str::to_owned).collect()));
    for hour in 1..=12 {
        found.extend(["a.m.", "am", "p.m.", "pm"].map(|half| vec![hour.to_string(), half.to_owned()]));
    }
    found.extend("cfkCFK".chars().map(|scale| vec!["°".to_owned(), scale.to_string(), ".".to_owned()]));
    found
}

fn title(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
