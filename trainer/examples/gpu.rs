//! Does a GPU compute what the CPU does, and where does its time go?
//!
//! `gpu check CONTEST` compares losses and gradients of a batch, CONTEST being a JSON file of `step rows`. `gpu parts` times the parts of a
//! block of a model of 1.4 billion parameters, in milliseconds: forward, and forward and backward.
#![expect(clippy::print_stdout, reason = "the result is read from there")]

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::Instant;

use corpus::Seed;
use loader::{Loader, LoaderSettings};
use planner::{Depth, MuP, Precision, Recompute, Shape};
use serde_json::Value;
use tch::{Cuda, Kind, Tensor};
use trainer::batch::load_batch;
use trainer::gradients::{Workers, run_batch};
use trainer::{Device, Masks, cuda_device, initial_tensors};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let gpu = cuda_device()?;
    match &arguments[..] {
        [task, contest] if task == "check" => check(Path::new(contest), gpu),
        [task] if task == "parts" => parts(gpu),
        _ => Err("usage: gpu check CONTEST, or gpu parts".into()),
    }
}

/// The loss and gradients of a batch.
struct Computed {
    loss: f64,
    gradients: Vec<Tensor>,
}

struct Case<'a> {
    loader: &'a Loader,
    shape: Shape,
    tensors: &'a [Tensor],
}

impl Case<'_> {
    fn run(&self, device: Device, precision: Precision, recompute: Recompute, is_masked: bool) -> Outcome<Computed> {
        let tensors: Vec<Tensor> = self.tensors.iter().map(|tensor| tensor.to_device(device)).collect();
        let mup = MuP { base_width: self.shape.hidden, input_multiplier: 1.5, output_multiplier: 2.0, init_std: 0.02 };
        let from =
            Shape { heads: self.shape.heads - 1, hidden: self.shape.hidden - self.shape.head_size, ..self.shape };
        let masks = is_masked.then_some(Masks { from, depth: Depth::Stack, value: 0.5 });
        let mut workers = Workers::new(&tensors, (self.shape, mup, masks.as_ref()), precision, recompute, 1);
        let batch = load_batch(self.loader, 0, 8, 4, self.shape.context, device)?;
        let result = run_batch(&batch, &mut workers, true)?;
        let gradients = result.gradients.iter().map(|gradient| gradient.to_device(Device::Cpu).copy()).collect();
        Ok(Computed { loss: result.loss, gradients })
    }
}

fn check(contest: &Path, gpu: Device) -> Outcome<()> {
    let settings: Value = serde_json::from_slice(&fs::read(contest)?)?;
    let shape: Shape = serde_json::from_value(settings["shape"].clone())?;
    let folder = contest.with_extension("").join("packed");
    let loader = Loader::open(&[folder], &LoaderSettings::of_context(shape.context as usize))?;
    let odd = Shape {
        layers: 2,
        hidden: 18,
        heads: 3,
        head_size: 6,
        ffn: 30,
        vocabulary: shape.vocabulary + 2,
        context: shape.context,
    };
    for shape in [shape, odd] {
        println!("{shape:?}");
        let mup = MuP { base_width: shape.hidden, input_multiplier: 1.0, output_multiplier: 1.0, init_std: 0.02 };
        let tensors = initial_tensors(&shape, &mup, &Seed::root(1));
        tch::manual_seed(5);
        let tensors: Vec<Tensor> = tensors.iter().map(|tensor| tensor + Tensor::randn_like(tensor) * 0.02).collect();
        compare(&Case { loader: &loader, shape, tensors: &tensors }, gpu)?;
    }
    Ok(())
}

fn compare(case: &Case<'_>, gpu: Device) -> Outcome<()> {
    let exact = case.run(Device::Cpu, Precision::Float32, Recompute::None, false)?;
    for (precision, is_masked) in [
        (Precision::Float32, false),
        (Precision::Float32, true),
        (Precision::Bfloat16, false),
        (Precision::Bfloat16, true),
    ] {
        let cpu = case.run(Device::Cpu, precision, Recompute::None, is_masked)?;
        let found = case.run(gpu, precision, Recompute::None, is_masked)?;
        let again = case.run(gpu, precision, Recompute::None, is_masked)?;
        let blocks = case.run(gpu, precision, Recompute::Blocks, is_masked)?;
        println!(
            "{precision:?} masked {is_masked}: loss {} on the GPU, {} on the CPU, {} exact; gradients differ by {:.1e} from the CPU's, the \
             CPU's by {:.1e} from exact ones; again {}, blocks twice {}",
            found.loss,
            cpu.loss,
            exact.loss,
            furthest(&found, &cpu),
            furthest(&cpu, &exact),
            same(&again, &found),
            same(&blocks, &found),
        );
    }
    Ok(())
}

/// Largest difference of any gradient as a share of the largest value there.
fn furthest(found: &Computed, expected: &Computed) -> f64 {
    let largest = |tensor: &Tensor| tensor.abs().max().double_value(&[]);
    let differences = found.gradients.iter().zip(&expected.gradients);
    differences.map(|(found, expected)| largest(&(found - expected)) / largest(expected)).fold(
        0.0,
        |most, difference| {
            if difference > most || difference.is_nan() { difference } else { most }
        },
    )
}

fn same(one: &Computed, other: &Computed) -> String {
    let n_same = one.gradients.iter().zip(&other.gradients).filter(|(one, other)| one.equal(other)).count();
    format!("{n_same} of {} gradients are the same to the bit", one.gradients.len())
}

const N: i64 = 8192;
const H: i64 = 2048;
const F: i64 = 8192;
const ROWS: i64 = 4;
const HEADS: i64 = 16;
const V: i64 = 100_352;

fn parts(gpu: Device) -> Outcome<()> {
    let random = |size: &[i64], kind| (Tensor::randn(size, (Kind::Float, gpu)) * 0.02).to_kind(kind);
    let leaf = |size: &[i64], kind| random(size, kind).set_requires_grad(true);
    let (kind, sums) = (Kind::BFloat16, Kind::Float);
    let (x, normed) = (leaf(&[N, H], sums), leaf(&[N, H], kind));
    let (gain, bias) = (leaf(&[H], sums), leaf(&[H], sums));
    let (up, up_bias, down) = (leaf(&[F, H], kind), leaf(&[F], sums), leaf(&[H, F], kind));
    let (qkv, qkv_bias, tables) =
        (leaf(&[3 * H, H], kind), leaf(&[3 * H], sums), random(&[4, N / ROWS, H / HEADS / 2], sums));
    let product = 2.0 * (N * H * F) as f64;
    let (wide, shares) = (random(&[N, F], kind), Tensor::full([H], 1.0 / H as f64, (sums, gpu)));
    tch::no_grad(|| {
        time("product (n, h) (h, f)", product, || Ok(normed.matmul(&up.tr())))?;
        time("product (n, f) (f, h)", product, || Ok(wide.matmul(&up)))?;
        time("product (f, n) (n, h)", product, || Ok(wide.tr().matmul(&normed)))
    })?;
    pair("norm", 0.0, &[&x, &gain, &bias], || Ok(torch_ext::norm(&x, &gain, &bias, &shares, 1e-5, kind)?.1))?;
    pair("residual", 0.0, &[&x, &normed, &bias], || Ok(torch_ext::residual(&x, &normed, &bias)?))?;
    pair("feed forward", 2.0 * product, &[&normed, &up, &up_bias, &down], || {
        Ok(torch_ext::feed_forward(&normed, &up, &up_bias, &down)?)
    })?;
    let attend = || Ok(torch_ext::attention(&normed, (&qkv, &qkv_bias), &tables, None, ROWS, HEADS)?);
    pair("attention with projection", 0.75 * product, &[&normed, &qkv, &qkv_bias], attend)?;
    let heads = random(&[ROWS, N / ROWS, 3, HEADS, H / HEADS], kind).set_requires_grad(true);
    let part = |index: i64| heads.select(2, index).transpose(1, 2).detach().set_requires_grad(true);
    let [query, key, value] = [part(0), part(1), part(2)];
    pair("attention alone", 2.0 * (N * N / ROWS * H) as f64, &[&query, &key, &value], || {
        Ok(Tensor::scaled_dot_product_attention(&query, &key, &value, None::<Tensor>, 0.0, true, None, false))
    })?;
    tch::no_grad(|| {
        let (mut logits, targets) = (random(&[4096, V], kind), Tensor::randint(V, [4096], (Kind::Int64, gpu)));
        let embedding = random(&[V, H], kind);
        let hidden = random(&[4096, H], kind);
        let product = 2.0 * (4096 * H * V) as f64;
        time("logits", product, || Ok(hidden.matmul(&embedding.tr())))?;
        time("logits backward", product, || Ok(logits.matmul(&embedding)))?;
        time("embedding backward", product, || Ok(logits.tr().matmul(&hidden)))?;
        time("cross entropy", 0.0, || Ok(torch_ext::cross_entropy(&mut logits, &targets, 1.0)?))?;
        let mut sum = random(&[V, H], sums);
        time("adding the embedding's gradient", 0.0, || Ok(sum.f_add_(&embedding)?))?;
        let tokens = Tensor::randint(V, [N], (Kind::Int, gpu));
        time("adding the rows of tokens", 0.0, || Ok(sum.f_index_add_(0, &tokens, &x)?))
    })
}

/// Milliseconds of one call, and what that makes of `flops`.
fn time(name: &str, flops: f64, mut call: impl FnMut() -> Outcome<Tensor>) -> Outcome<()> {
    const CALLS: usize = 10;
    drop(call()?);
    Cuda::synchronize(0);
    let start = Instant::now();
    for _ in 0..CALLS {
        drop(call()?);
    }
    Cuda::synchronize(0);
    let seconds = start.elapsed().as_secs_f64() / CALLS as f64;
    println!("{name}: {:.3} ms, {:.0} TFLOP/s", seconds * 1e3, flops / seconds / 1e12);
    Ok(())
}

/// Forward alone, then with the gradients of `inputs`, which take twice as much again.
fn pair(name: &str, flops: f64, inputs: &[&Tensor], call: impl Fn() -> Outcome<Tensor>) -> Outcome<()> {
    tch::no_grad(|| time(name, flops, &call))?;
    let d_out = call()?.detach();
    time(&format!("{name}, with gradients"), 3.0 * flops, || {
        let mut gradients = torch_ext::gradients(&call()?, &d_out, inputs)?;
        Ok(gradients.remove(0).expect("the output depends on every input"))
    })
}
