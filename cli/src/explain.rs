//! `moso explain`: every stage's plan as text. A function of the run file alone.

use std::fmt::Write;

use corpus::Count;
use planner::{Curve, Layout, LearningRate, Moments, SpikePolicy, Stability, StagePlan, Trial};

use crate::run_file::Run;

/// The whole plan.
pub(crate) fn explain(run: &Run) -> String {
    let mut text = format!("run {}, seed {}\n\n", run.name, run.seed_value);
    text.push_str(&ingest::explain(&run.sources, &run.ingest));
    text.push_str("\ntokenizer\n");
    text.push_str(&run.tokenizer.explain());
    text.push_str("\ntokenize\n  every document: its tokens, then <|endoftext|>; a proposition: its tokens, its label, then <|endoftext|>\n");
    text.push_str("  loss: on every token; propositions on the label only; instructions with loss \"responses\" on answers and <|endoftext|>\n");
    text.push_str("\nmix\n");
    let (share, rows) = (run.eval.held_out.0 * 100.0, run.eval.rows);
    let _ = writeln!(text, "  held out by document: {share} %, packed/validation has {rows} rows of each language");
    text.push_str(&mixer::explain(&run.mixes, run.context()));
    text.push_str("\ntrain\n");
    for (stage, layout) in run.plan.stages.iter().zip(&run.layouts) {
        explain_stage(&mut text, run, stage);
        if *layout != Layout::ONE {
            let _ = writeln!(
                text,
                "    layout     {layout}: {} devices; planned only, this version trains in one process",
                layout.n_devices()
            );
        }
    }
    explain_settings(&mut text, run);
    explain_trials(&mut text, run);
    explain_eval(&mut text, run);
    text
}

fn explain_stage(text: &mut String, run: &Run, stage: &StagePlan) {
    let shape = &stage.shape;
    let _ = writeln!(text, "  stage {}", stage.name);
    let _ = writeln!(
        text,
        "    model      {} layers, hidden {}, {} heads of {}, ffn {}: {} parameters ({:.2} x muP base width)",
        shape.layers,
        shape.hidden,
        shape.heads,
        shape.head_size,
        shape.ffn,
        Count(shape.n_parameters()),
        run.plan.mup.width_ratio(shape),
    );
    explain_growth(text, run, stage);
    let _ = writeln!(
        text,
        "    steps      {} to {}: {} tokens, {} rows a step in micro-batches of {}",
        stage.first_step + 1,
        stage.first_step + stage.n_steps,
        stage.n_tokens(),
        stage.batch.rows,
        stage.batch.micro_rows
    );
    explain_rate(text, &stage.learning_rate, run.plan.mup.width_ratio(shape));
    let _ = writeln!(text, "    compute    {:.2} TFLOP", stage.flops() / 1e12);
}

fn explain_growth(text: &mut String, run: &Run, stage: &StagePlan) {
    let before = run.plan.stages.iter().take_while(|other| other.first_step < stage.first_step).last();
    let Some((growth, old)) = stage.growth.zip(before.map(|before| before.shape)) else {
        let what = if before.is_some() { "the weights of the stage before" } else { "new weights" };
        let _ = writeln!(text, "    starts     from {what}");
        return;
    };
    let masks = match stage.n_ramp_steps {
        0 => "no masks".to_owned(),
        steps => format!("masks rise from 0 to 1 over {} tokens = {steps} steps", growth.ramp_tokens),
    };
    let promise = match growth.broken_promise(&old, &stage.shape) {
        None => "keeps the function".to_owned(),
        Some(why) => format!("does NOT keep the function: {why}"),
    };
    let moments = match growth.moments {
        Moments::Grown => "grow like weights",
        Moments::Old => "are kept in old places, zero in new ones",
        Moments::Reset => "start anew",
    };
    let _ = writeln!(text, "    grows      {}; {masks}; Adam's moments {moments}", growth.name());
    let _ = writeln!(text, "               {promise}");
}

fn explain_rate(text: &mut String, curve: &Curve, width_ratio: f64) {
    let rate = &curve.rate;
    let descent = match rate {
        LearningRate::Cosine { .. } => "cosine".to_owned(),
        LearningRate::WarmupStableDecay { decay_tokens, .. } => {
            format!("the same until the last {decay_tokens} tokens, then 1 - sqrt")
        }
    };
    let begun = match curve.tokens_before {
        0 => String::new(),
        tokens => format!("goes on behind {tokens} tokens of "),
    };
    let _ = writeln!(
        text,
        "    lr         {begun}{:e}, warm-up over {} tokens, {descent} to {:e}; hidden matrices / {width_ratio:.2}",
        rate.peak(),
        rate.warmup_tokens(),
        rate.end(),
    );
}

fn explain_settings(text: &mut String, run: &Run) {
    let optimizer = &run.optimizer;
    let mup = &run.plan.mup;
    let _ = writeln!(
        text,
        "  optimizer    AdamW, betas {} and {}, epsilon {:e}, weight decay {}, clip {}",
        optimizer.beta1, optimizer.beta2, optimizer.epsilon, optimizer.weight_decay, optimizer.clip
    );
    let _ = writeln!(
        text,
        "  muP          base width {}, init std {}, input x {}, logits x {}",
        mup.base_width, mup.init_std, mup.input_multiplier, mup.output_multiplier
    );
    explain_stability(text, &run.stability);
    let _ = writeln!(
        text,
        "  checkpoints  every {} steps and at every stage's end; the last {} and every stage's last are kept",
        run.checkpoint_every, run.keep_last
    );
    let _ = writeln!(text, "  validation   every {} steps and at every stage's end", run.validate_every);
    let (grown, scratch) = (run.plan.flops() / 1e12, run.plan.from_scratch_flops() / 1e12);
    let _ = writeln!(
        text,
        "  in all       {} tokens, {} steps, {grown:.2} TFLOP; the last model from scratch on as many tokens: {scratch:.2} TFLOP",
        run.plan.n_tokens(),
        run.plan.n_steps()
    );
}

fn explain_stability(text: &mut String, stability: &Stability) {
    let Stability { window, loss_sigma, norm_sigma, policy, skips_max, step_seconds_max } = *stability;
    let then = match policy {
        SpikePolicy::Skip => "is passed over".to_owned(),
        SpikePolicy::Stop => "stops the run".to_owned(),
        SpikePolicy::Rollback { batches } => {
            format!("takes the run back to a checkpoint, and {batches} batches up to it are passed over")
        }
    };
    let _ = writeln!(
        text,
        "  spikes       loss above mean + {loss_sigma} sigma or gradient norm above mean + {norm_sigma} sigma of the last {window} steps: {then}"
    );
    let _ = writeln!(
        text,
        "               more than {skips_max} in a row stop the run; so does a step that hangs for {step_seconds_max} s"
    );
}

fn explain_eval(text: &mut String, run: &Run) {
    let eval = &run.eval;
    let _ = writeln!(
        text,
        "\neval\n  loss and bits per byte on packed/validation; iq_counting (148), iq_replace_lowercase (300)"
    );
    let _ = writeln!(
        text,
        "  {} samples of {} tokens, temperature {}, top {}",
        eval.prompts.len(),
        eval.sample_tokens,
        eval.temperature,
        eval.top_k
    );
    let cost = run.report.cost;
    let _ = writeln!(text, "\nreport\n  {:?}; ${} an hour, {} W", run.report.title, cost.usd_per_hour, cost.watts);
}

/// The small models that are trained first.
fn explain_trials(text: &mut String, run: &Run) {
    let mut tell = |name: &str, what: &str, trials: &[Trial]| {
        let flops: f64 = trials.iter().map(Trial::flops).sum();
        let _ = writeln!(
            text,
            "\n{name}\n  {what}\n  {} trials of {} tokens, {:.2} TFLOP in all: {:.1} % of the run",
            trials.len(),
            Count(trials[0].n_tokens()),
            flops / 1e12,
            flops / run.plan.flops() * 100.0
        );
    };
    if let Some(sweep) = &run.sweep {
        let (request, shape) = (&sweep.request, &sweep.request.shape);
        let what = format!(
            "learning rates {:?}, init std {:?}, logits x {:?}, seeds {:?}{}\n  model      {} layers, hidden {}, {} heads of {}, ffn {}: {} parameters",
            request.learning_rates,
            request.init_stds,
            request.output_multipliers,
            request.seeds,
            request.points.map_or_else(String::new, |points| format!("; {points} points of the grid")),
            shape.layers,
            shape.hidden,
            shape.heads,
            shape.head_size,
            shape.ffn,
            Count(shape.n_parameters())
        );
        tell("sweep", &what, &sweep.trials);
    }
    if let Some(predict) = &run.predict {
        let request = &predict.request;
        let what = format!(
            "widths {:?} at {} layers with heads of {}, seeds {:?}: L(N) = a N^b + c, with a band of {} %",
            request.widths,
            request.shape.layers,
            request.shape.head_size,
            request.seeds,
            request.confidence * 100.0
        );
        tell("predict", &what, &predict.trials);
    }
}
