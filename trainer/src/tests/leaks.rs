//! Documents of a long row do not leak into each other: attention works on pieces of a row, whose borders lie elsewhere than those of documents.

use super::*;

const LONG: i64 = 1120;

/// Where documents begin and end; pieces have at most 512 positions.
const BORDERS: [i64; 4] = [0, 600, 1000, LONG];

/// In the middle, and beside every border.
const CHANGED: [i64; 6] = [100, 511, 599, 600, 999, 1000];

fn long_shape() -> Shape {
    Shape { context: LONG as u64, ..shape(2, 2, 32) }
}

/// Logits of the document between `start` and `end`, and the gradient of the first block's queries, keys and values for what only they say.
fn seen_by(model: &Model, tokens: &Tensor, documents: Option<&Tensor>, (start, end): (i64, i64)) -> (Tensor, Tensor) {
    let hidden = model.hidden(tokens, documents).unwrap();
    let of = |tensor: &Tensor| tensor.narrow(0, start, end - start);
    let pattern = Tensor::arange(hidden.numel() as i64, (Kind::Float, Device::Cpu)).sin().view(&hidden.size()[..]);
    let d_hidden = hidden.zeros_like();
    of(&d_hidden).copy_(&of(&pattern));
    let mut gradients = torch_ext::gradients(&hidden, &d_hidden, &[&model.weights(0)[2]]).unwrap();
    (of(&model.logits(&hidden)).detach(), gradients.remove(0).unwrap())
}

#[test]
fn documents_of_a_long_row_do_not_leak_into_each_other() {
    let shape = long_shape();
    let tensors = initial_tensors(&shape, &mup(), &Seed::root(5));
    let row = |changed: Option<i64>| {
        let token = |place: i64| (place * 37 + 11 + i64::from(changed == Some(place))) % VOCABULARY as i64;
        Tensor::from_slice(&(0..LONG).map(token).collect::<Vec<i64>>()).unsqueeze(0)
    };
    let number = |place: i64| BORDERS.iter().filter(|&&border| border <= place).count() as i32;
    let documents = Tensor::from_slice(&(0..LONG).map(number).collect::<Vec<i32>>()).unsqueeze(0);
    for (precision, is_fused) in [
        (Precision::Float32, true),
        (Precision::Float32, false),
        (Precision::Bfloat16, true),
        (Precision::Bfloat16, false),
    ] {
        let model = Model::new(shape, mup(), precision, &tensors, None).replica();
        let model = if is_fused { model } else { model.plain() };
        for span in BORDERS.windows(2).map(|span| (span[0], span[1])) {
            let (logits, gradient) = seen_by(&model, &row(None), Some(&documents), span);
            for changed in CHANGED {
                let (now, gradient_now) = seen_by(&model, &row(Some(changed)), Some(&documents), span);
                let is_inside = (span.0..span.1).contains(&changed);
                let what = format!("{precision:?}, fused {is_fused}, token {changed}, positions {span:?}");
                assert_eq!(now.equal(&logits), !is_inside, "logits: {what}");
                assert_eq!(gradient_now.equal(&gradient), !is_inside, "gradient: {what}");
            }
        }
        let last = (BORDERS[2], LONG);
        let unmasked = |changed| seen_by(&model, &row(changed), None, last).0;
        assert!(!unmasked(Some(100)).equal(&unmasked(None)), "without masks the last document sees the first");
    }
}
