//! A forecast and proposals as text for a terminal.

use std::fmt::Write;

use corpus::Count;
use planner::{
    Amounts, AvailabilitySource, Forecast, LossLaw, Memory, Proposal, Question, SpeedSource, StageForecast,
    formula_flops, operations, tensors,
};

/// Everything that a person wants to know of a run.
pub(super) fn forecast(title: &str, found: &Forecast, price_from: &str, with_tensors: bool) -> String {
    let mut text = format!("{title}, ${} an hour of each ({price_from})\n\n", found.usd_per_gpu_hour);
    let too_large: Vec<&str> = found.stages.iter().filter(|stage| !stage.fits).map(|stage| &stage.name[..]).collect();
    if !too_large.is_empty() {
        let _ = writeln!(
            text,
            "  DOES NOT FIT: {} (marked !) takes more memory than there is in this layout. Its speed, and what it saves, are of no use.\n",
            too_large.join(", ")
        );
    }
    let _ = writeln!(
        text,
        "  {:<14} {:>9} {:>9} {:>8} {:>10} {:>8} {:>12} {:>10} {:>10} {:>8} {:>9} {:>14}",
        "",
        "params",
        "tokens",
        "steps",
        "FLOPs",
        "days",
        "GPU-hours",
        "USD",
        "kWh",
        "t CO2e",
        "GiB/GPU",
        "scratch, days"
    );
    for stage in &found.stages {
        amounts_row(&mut text, (&stage.name, stage.fits), &stage.amounts, Some(&stage.from_scratch));
    }
    amounts_row(&mut text, ("in all", too_large.is_empty()), &found.total, Some(&found.from_scratch));
    amounts_row(&mut text, ("from scratch", true), &found.from_scratch, None);
    let _ = writeln!(
        text,
        "\n  Growing saves {:.1} % of the time and money of the last model from scratch on as many tokens.",
        found.saving * 100.0
    );
    text.push_str(
        "  FLOPs: k T l h^2 (1 + s/(6h) + V/(16lh)), k = 72, at each model's own feed-forward and attention widths. With everything computed\n  \
         twice (k = 96), and counted product by product:\n",
    );
    let _ = writeln!(
        text,
        "  {} and {} in all.",
        flops(found.total.zflops_recomputed * 1e21),
        flops(found.total.zflops_exact * 1e21)
    );
    found.stages.iter().for_each(|stage| stage_lines(&mut text, stage, with_tensors));
    text
}

fn amounts_row(text: &mut String, (name, fits): (&str, bool), amounts: &Amounts, from_scratch: Option<&Amounts>) {
    let tonnes = amounts.kg_co2e.map_or("-".to_owned(), |kg| significant(kg / 1000.0));
    let _ = writeln!(
        text,
        "  {name:<14} {:>9} {:>9} {:>8} {:>10} {:>8} {:>12} {:>10} {:>10} {tonnes:>8} {:>9} {:>14}",
        Count(amounts.params).to_string(),
        Count(amounts.tokens).to_string(),
        amounts.steps,
        flops(amounts.zflops * 1e21),
        time(amounts.days),
        significant(amounts.gpu_hours),
        significant(amounts.usd),
        significant(amounts.kwh),
        format!("{:.1}{}", amounts.memory_gib_per_gpu, if fits { "" } else { " !" }),
        from_scratch.map_or(String::new(), |amounts| time(amounts.days)),
    );
}

fn stage_lines(text: &mut String, stage: &StageForecast, with_tensors: bool) {
    let source = match stage.speed {
        SpeedSource::Stated => "stated",
        SpeedSource::Measured => "measured",
        SpeedSource::Modelled => "by the communication model",
    };
    let availability_source = match stage.availability_source {
        AvailabilitySource::Stated => "stated",
        AvailabilitySource::Measured => "measured",
        AvailabilitySource::Assumed => "assumed, by the table of hardware",
    };
    let _ = writeln!(
        text,
        "\nstage {}\n  speed       {} TFLOP/s of each device ({:.1} % of its peak, {source}), {:.1} % of the time ({availability_source})",
        stage.name,
        significant(stage.tflops),
        stage.share_of_peak * 100.0,
        stage.availability * 100.0
    );
    let parts = Memory::NAMES.iter().zip(stage.memory.parts()).filter(|(_, bytes)| *bytes > 0.0);
    let parts: Vec<String> = parts.map(|(name, bytes)| format!("{name} {:.2}", bytes / planner::GIB)).collect();
    let fits = if stage.fits { "" } else { ": MORE THAN THERE IS" };
    let _ = writeln!(text, "  memory      {:.2} GiB{fits} ({})", stage.memory.gib(), parts.join(", "));
    let _ = writeln!(
        text,
        "  checkpoint  {}, {} s to host memory, {} s to disk",
        bytes(stage.checkpoint_bytes),
        significant(stage.checkpoint_copy_seconds),
        significant(stage.checkpoint_write_seconds)
    );
    let _ = writeln!(
        text,
        "  data        {} of packed rows, {}/s for all loaders together",
        bytes(stage.amounts.data_bytes),
        bytes(stage.loader_bytes_per_s)
    );
    let _ = writeln!(text, "  layout      {}", stage.layout);
    if stage.n_layouts > 1 {
        let _ = writeln!(text, "  {} layouts fit; the fastest by the communication model:", stage.n_layouts);
    }
    for layout in stage.fastest.iter().filter(|_| stage.n_layouts > 1) {
        let _ = writeln!(
            text,
            "    {:<18} micro-batches of {:<3} {:>6} TFLOP/s, {:>4.1} % pipeline, {:>4.1} % communication, {:>5.1} GiB",
            layout.layout.to_string(),
            layout.micro_rows,
            significant(layout.flops_per_s / 1e12),
            layout.pipeline_share * 100.0,
            layout.communication_share * 100.0,
            layout.memory_gib
        );
    }
    if with_tensors {
        tensor_lines(text, stage);
    }
}

fn tensor_lines(text: &mut String, stage: &StageForecast) {
    let _ = writeln!(text, "  {:<34} {:>16} {:>5} {:>16}", "tensor", "size", "times", "parameters");
    for tensor in tensors(&stage.shape) {
        let size = tensor.size.iter().map(u64::to_string).collect::<Vec<_>>().join(" x ");
        let _ = writeln!(text, "  {:<34} {size:>16} {:>5} {:>16}", tensor.name, tensor.n, tensor.n_parameters());
    }
    let _ = writeln!(text, "  {:<34} {:>16} {:>5} {:>16}", "in all", "", "", stage.shape.n_parameters());
    let _ = writeln!(text, "  {:<34} {:>39}", "product", "FLOPs a token, forward and backward");
    for operation in operations(&stage.shape) {
        let _ = writeln!(text, "  {:<34} {:>39}", operation.name, 3 * operation.forward);
    }
    let _ = writeln!(text, "  {:<34} {:>39}", "in all", stage.shape.flops_per_token());
    let _ = writeln!(text, "  {:<34} {:>39.0}", "by the formula, k = 72", formula_flops(72, 1, &stage.shape));
}

/// Proposals, the best first.
pub(super) fn proposals(question: &Question<'_>, proposals: &[Proposal]) -> String {
    let Question { budget_usd, n_tokens, resources, .. } = question;
    let mut text = format!(
        "Schedules for ${budget_usd} on {} x {} at ${} an hour each, {} tokens\n\n",
        resources.n_devices,
        resources.device.name,
        resources.usd_per_device_hour,
        Count(*n_tokens)
    );
    let _ = writeln!(text, "  {:>2} {:>8} {:>10} {:>8} {:>16}  stages", "", "loss", "USD", "time", "from scratch");
    for (index, proposal) in proposals.iter().enumerate() {
        let stages: Vec<String> = proposal
            .stages
            .iter()
            .map(|stage| format!("{} on {} ({})", stage.name, Count(stage.n_tokens()), stage.layout.layout))
            .collect();
        let _ = writeln!(
            text,
            "  {:>2} {:>8.4} {:>10} {:>8} {:>16}  {}",
            index + 1,
            proposal.loss,
            significant(proposal.usd),
            time(proposal.days),
            significant(proposal.from_scratch_usd),
            stages.join(", then ")
        );
    }
    let LossLaw { irreducible, parameter_factor, parameter_exponent, token_factor, token_exponent } = question.law;
    let _ = writeln!(
        text,
        "\n  Ranked by L = {irreducible} + {parameter_factor} / N^{parameter_exponent} + {token_factor} / D^{token_exponent} (Besiroglu et al. 2024, on \
         Chinchilla's runs); a grown model goes\n  on as one from scratch that has the same loss. It ranks; differences below 0.01 mean nothing \
         (docs/planning.md). {} rows a step.\n  Speeds are those of the communication model, which is 22 % slower to 12 % faster than published runs (docs/planning.md); \
         so are time and money.",
        proposals[0].stages[0].rows
    );
    text
}

/// Three digits, and all in front of the point.
pub(super) fn significant(number: f64) -> String {
    match number.abs() {
        n if n >= 100.0 => format!("{number:.0}"),
        n if n >= 10.0 => format!("{number:.1}"),
        n if n >= 1.0 || n == 0.0 => format!("{number:.2}"),
        // As many zeros more as stand behind the point.
        n => format!("{number:.0$}", (1.0 - n.log10().floor().max(-6.0)) as usize),
    }
}

/// Days, or what is shorter.
fn time(days: f64) -> String {
    let (number, unit) = match days {
        days if days >= 1.0 => (days, "d"),
        days if days * 24.0 >= 1.0 => (days * 24.0, "h"),
        days if days * 1440.0 >= 1.0 => (days * 1440.0, "min"),
        days => (days * 86_400.0, "s"),
    };
    format!("{} {unit}", significant(number))
}

fn scaled(number: f64, units: &[(f64, &'static str)]) -> String {
    let (scale, unit) = units.iter().copied().find(|(scale, _)| number >= *scale).unwrap_or(units[units.len() - 1]);
    let digits = number / scale;
    if digits >= 100.0 { format!("{digits:.0}{unit}") } else { format!("{digits:.2}{unit}") }
}

fn flops(number: f64) -> String {
    scaled(number, &[(1e21, " Z"), (1e18, " E"), (1e15, " P"), (1e12, " T")])
}

fn bytes(number: f64) -> String {
    scaled(number, &[(1e12, " TB"), (1e9, " GB"), (1e6, " MB"), (1e3, " kB")])
}
