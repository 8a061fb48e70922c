//! Rules in the section of a language whose script they don't fit: an error that names the rule to take instead.
//!
//! A rule that counts words between spaces takes a Chinese page for one word and drops it; one that counts Han
//! characters drops every English page. Rivals apply them all the same and lose nearly all of one language.

use serde::de::{Deserializer, Error as _};

/// The place of a section that isn't allowed; never holds anything.
pub(super) type Misfit = ();

/// Fails with what the section counts and which one stands for it.
macro_rules! misfits {
    ($($name:ident: $message:literal;)*) => {
        $(pub(super) fn $name<'de, D: Deserializer<'de>>(_: D) -> Result<Misfit, D::Error> {
            Err(D::Error::custom($message))
        })*
    };
}

misfits! {
    gopher_quality: "gopher_quality counts words between spaces, which Chinese does not have; \
        its counterpart is [ingest.chinese.quality]";
    gopher_repetition: "gopher_repetition counts words between spaces, which Chinese does not have; \
        its counterpart is [ingest.chinese.repetition]";
    c4: "c4 counts words between spaces and English sentences; its counterpart is [ingest.chinese.lines]";
    fineweb: "fineweb counts words between spaces, which Chinese does not have; \
        its counterpart is [ingest.chinese.lines]";
    words: "this rule counts words between spaces, which Chinese does not have; its counterpart is chars_min";
    mean_word_length: "this rule counts words between spaces, which Chinese does not have; \
        its counterpart is han_ratio_min";
    stop_words: "this rule counts words between spaces, which Chinese does not have; \
        its counterpart is stop_chars_min";
    chinese_quality: "quality counts Han characters, which English does not have; \
        its counterpart is [ingest.english.gopher_quality]";
    chinese_repetition: "repetition counts runs of characters, which repeat in any English text; \
        its counterpart is [ingest.english.gopher_repetition]";
    chinese_lines: "lines counts Chinese marks and characters; its counterpart is [ingest.english.fineweb]";
    chinese_spam: "spam counts Chinese words; there is no such rule for English";
    han_ratio: "this rule counts Han characters, which English does not have; its counterpart is letter_ratio_min";
    stop_chars: "this rule counts Han characters, which English does not have; its counterpart is stop_words_min";
}
