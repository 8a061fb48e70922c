//! What becomes of a document whose repeated pieces are cut out.

use corpus::Document;

use crate::config::IngestConfig;
use crate::duplicates::{Comparable, remove_repeats};
use crate::examine::examine_again;
use crate::language::Unit;
use crate::rules::Scratch;

/// Cuts repeated pieces out of a document and judges what is left. Gives the number of characters that went, or the rule that
/// drops the whole document, which then has its text as before, and the evidence.
pub(super) fn cut(
    document: &mut Document,
    config: &IngestConfig,
    repeated: &[[u64; 2]],
    scratch: &mut Scratch,
) -> Result<usize, (&'static str, String)> {
    let (Some(repeats), [_, ..]) = (&config.duplicates.repeats, repeated) else { return Ok(0) };
    let comparable = Comparable { unit: Unit::of(&document.lang), text: std::mem::take(&mut document.text) };
    let n_chars = comparable.text.chars().count();
    let (text, n_removed) = remove_repeats(&comparable, repeats, repeated);
    if text.is_empty() || n_removed as f64 > repeats.repeated_max.0 * n_chars as f64 {
        document.text = comparable.text;
        let detail = format!("{n_removed} of {n_chars} characters stood in earlier documents");
        return Err(("duplicates.repeated", detail));
    }
    document.text = text;
    if n_removed == 0 {
        return Ok(0);
    }
    examine_again(document, config, scratch).inspect_err(|_| document.text = comparable.text)?;
    Ok(n_removed)
}
