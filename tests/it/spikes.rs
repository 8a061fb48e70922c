//! The tiny run under a rule that trips a few times, for the tests here and for `cargo xtask soak kills`.

/// The same run file under a rule that finds spikes in this run, and goes back.
pub(crate) fn with_spikes(run: &str) -> String {
    let calm = "window = 128, loss_sigma = 6.0, norm_sigma = 6.0, policy = \"skip\"";
    let rule = "window = 4, loss_sigma = 3.0, norm_sigma = 11.0, policy = { rollback = { batches = 3 } }";
    assert!(run.contains(calm), "the rule of the tiny run is another one");
    run.replace(calm, rule)
}
