//! Token files, whole, different and cut off.

use super::{Difference, differences};

fn file(documents: &[&[u32]]) -> Vec<u8> {
    let words = documents.iter().flat_map(|ids| [ids.len() as u32].into_iter().chain(ids.iter().copied()));
    words.flat_map(u32::to_le_bytes).collect()
}

#[test]
fn documents_with_other_tokens_are_counted() {
    let ours = file(&[&[1, 2], &[], &[7], &[8, 9]]);
    let check = |theirs: &[&[u32]], n_different| {
        let expected = Difference { n_documents: theirs.len(), n_different };
        assert_eq!(differences(&ours, &file(theirs)).unwrap(), expected);
    };
    check(&[&[1, 2], &[], &[7], &[8, 9]], 0);
    check(&[&[1, 2], &[]], 0);
    check(&[&[2, 1], &[], &[7]], 1);
    check(&[&[1], &[2], &[7]], 2);
}

#[test]
fn files_that_are_no_token_files_are_refused() {
    let ours = file(&[&[1, 2]]);
    for theirs in [vec![], ours[..3].to_vec(), ours[..11].to_vec(), file(&[&[1, 2], &[]])] {
        assert!(differences(&ours, &theirs).is_err(), "{theirs:?}");
    }
}
