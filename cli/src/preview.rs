//! `moso ingest --only-rule`: what one rule would do, before anyone commits to it.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use ingest::{Preview, PreviewError, Shown};
use serde_json::json;

use crate::args::RunArguments;
use crate::failure::Failure;
use crate::progress::Console;
use crate::run_file::Run;

/// Prints what the rule would drop, and what would only just pass.
pub(crate) fn preview(arguments: &RunArguments, rule: &str, n: usize, stop: &AtomicBool) -> Result<(), Failure> {
    crate::start_threads(arguments)?;
    let run = Run::read(&arguments.run)?;
    let console = Console::new(arguments.json);
    let progress = console.start("preview", 0, "documents");
    let tell = |at: ingest::Progress| {
        progress.set(at.n_documents, "documents asked");
        if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let preview = ingest::preview(&run.sources, &run.ingest, rule, n, &tell)?;
    let Preview { n_documents, n_asked, n_dropped, dropped, passed } = preview;
    let summary =
        format!("{rule} would drop {n_dropped} of the {n_asked} documents it is asked of ({n_documents} in all)");
    let shown = |sample: &Shown| {
        let Shown { source, locator, lang, detail, text } = sample;
        json!({ "source": source, "locator": locator, "lang": lang, "detail": detail, "text": text })
    };
    let all = |samples: &[Shown]| samples.iter().map(shown).collect::<Vec<_>>();
    let result = json!({
        "rule": rule,
        "n_documents": n_documents,
        "n_asked": n_asked,
        "n_dropped": n_dropped,
        "dropped": all(&dropped),
        "passed": all(&passed),
    });
    progress.finish(&summary, result);
    if !arguments.json {
        print_samples("would be dropped", &dropped);
        print_samples("would only just pass", &passed);
    }
    Ok(())
}

fn print_samples(heading: &str, samples: &[Shown]) {
    say!("\n{} of those that {heading}:", samples.len());
    for Shown { source, locator, lang, detail, text } in samples {
        say!("\n  {lang} {source} {locator}: {detail}\n    {text}");
    }
}

impl From<PreviewError> for Failure {
    fn from(error: PreviewError) -> Self {
        match error {
            PreviewError::Ingest(error) => error.into(),
            error => Self::run_file(error),
        }
    }
}
