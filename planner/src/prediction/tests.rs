//! The published points of Mu-scaling, a slow twin, and how often the band holds.

use proptest::prelude::*;

use super::*;

fn points(values: &[(f64, f64)]) -> Vec<SizedLoss> {
    values.iter().map(|&(n_parameters, loss)| SizedLoss { n_parameters, loss }).collect()
}

/// Parameters in millions and training loss after 20,000 steps of a GPT-2 of constant depth, widths 128, 256, ..., 896, 1024,
/// 2048, 3072: cofe-ai/Mu-scaling, fit_scale_loss_prediction.py.
const MU_SCALING: [(f64, f64); 10] = [
    (8.53, 3.9181),
    (21.56, 3.6054),
    (39.09, 3.4431),
    (61.12, 3.3542),
    (87.65, 3.2902),
    (118.68, 3.2478),
    (154.21, 3.224),
    (194.24, 3.1797),
    (676.48, 3.0854),
    (1446.72, 3.0425),
];

/// The law of its seven smallest models, as scipy's curve_fit has it, and what it is off by at the three largest.
#[test]
fn the_published_points_give_the_published_law() {
    let points = points(&MU_SCALING);
    let law = fit(&points[..7]).unwrap();
    assert!((law.a - 2.469).abs() < 5e-4 && (law.b + 0.423).abs() < 5e-4 && (law.c - 2.923).abs() < 5e-4, "{law:?}");
    for (point, expected) in points[7..].iter().zip([0.009, -0.005, -0.006]) {
        let found = law.at(point.n_parameters) - point.loss;
        assert!((found - expected).abs() < 5e-4, "{found} instead of {expected}");
        let band = law.band(point.n_parameters, 0.9);
        assert!(band.holds(point.loss) && band.high - band.low < 0.09, "{band:?} for {}", point.loss);
    }
}

/// Parameters and held-out loss of `configs/prediction.toml`: widths 64 to 256, the mean of four seeds each (docs/log.md).
const SMALL_ONES: [(f64, f64); 9] = [
    (232_832.0, 3.0723),
    (352_480.0, 3.0151),
    (496_704.0, 2.9819),
    (665_504.0, 2.9515),
    (858_880.0, 2.9196),
    (1_319_360.0, 2.8849),
    (1_878_144.0, 2.8626),
    (2_535_232.0, 2.8471),
    (3_290_624.0, 2.8193),
];

/// The width of 1,024, with a seed that none of the others had. That widths and steps like these would do was known from a grid.
#[test]
fn a_model_of_four_times_the_width_is_predicted_within_two_hundredths() {
    let (n_parameters, found) = (50_911_232.0, 2.7186);
    let law = fit(&points(&SMALL_ONES)).unwrap();
    assert!((law.at(n_parameters) - found).abs() < 0.02, "{law:?}");
    let band = law.band(n_parameters, 0.9);
    assert!(band.holds(found) && band.high - band.low < 0.08, "{band:?}");
}

/// A law through exact points is found again, and is sure of itself.
#[test]
fn exact_points_give_their_law_back() {
    for (a, b, c) in [(2.5, -0.4, 2.9), (300.0, -0.34, 1.69), (9.0, -0.08, 0.0), (4e6, -1.3, 3.0)] {
        let sizes = [1e4, 3e4, 1e5, 2e5, 7e5];
        let law = fit(&points(&sizes.map(|n: f64| (n, a * n.powf(b) + c)))).unwrap();
        let expected = a * 1e7_f64.powf(b) + c;
        assert!((law.at(1e7) - expected).abs() < 1e-6, "{law:?} for {a} {b} {c}");
        assert!((law.b - b).abs() < 1e-4, "{law:?} for {a} {b} {c}");
    }
}

#[test]
fn what_is_no_law_is_refused() {
    let line = [(1.0, 4.0), (2.0, 3.0), (3.0, 2.5), (2.0, 3.1)];
    assert_eq!(fit(&points(&line)), Err(LawError::TooFew { n_sizes: 3 }));
    assert_eq!(fit(&points(&[(1.0, 2.0), (2.0, 2.5), (3.0, 2.75), (4.0, 3.0)])), Err(LawError::DoesNotFall));
    let holed = [(1.0, 2.0), (2.0, f64::NAN), (3.0, 2.75), (4.0, 3.0)];
    assert!(matches!(fit(&points(&holed)), Err(LawError::NotPositive { n_parameters: 2.0, .. })));
    // A loss below that of any a >= 0 would need c < 0.
    let steep = fit(&points(&[(1.0, 4.0), (2.0, 3.0), (3.0, 2.0), (4.0, 1.0)])).unwrap();
    assert_eq!(steep.c, 0.0);
}

/// Quantiles of the tables (Abramowitz and Stegun, table 26.10).
#[test]
fn quantiles_are_those_of_the_tables() {
    for (confidence, n_free, expected) in [
        (0.9, 1, 6.314),
        (0.9, 2, 2.920),
        (0.95, 1, 12.706),
        (0.95, 2, 4.303),
        (0.95, 3, 3.182),
        (0.95, 4, 2.776),
        (0.95, 7, 2.365),
        (0.99, 10, 3.169),
        (0.5, 5, 0.727),
    ] {
        let found = student_quantile(confidence, n_free);
        assert!((found - expected).abs() < 6e-4, "{found} for {confidence} and {n_free}");
    }
}

/// Least squares over a dense net of all three parameters, each net around the best of the one before.
fn slow_fit(points: &[SizedLoss]) -> f64 {
    let squares = |a: f64, b: f64, c: f64| {
        points.iter().map(|point| (point.loss - a * point.n_parameters.powf(b) - c).powi(2)).sum::<f64>()
    };
    let mut best = (f64::INFINITY, 1.0, 0.5, 1.0);
    let mut reach = (4.0, 3.5, 4.0);
    for _ in 0..60 {
        let (_, a, u, c) = best;
        for i in -6..=6 {
            for j in -6..=6 {
                for k in -6..=6 {
                    let a = (a + reach.0 * f64::from(i) / 6.0).max(0.0);
                    let u = (u + reach.1 * f64::from(j) / 6.0).clamp(0.002, 8.0);
                    let c = (c + reach.2 * f64::from(k) / 6.0).max(0.0);
                    let found = squares(a, -u, c);
                    if found < best.0 {
                        best = (found, a, u, c);
                    }
                }
            }
        }
        reach = (reach.0 * 0.75, reach.1 * 0.75, reach.2 * 0.75);
    }
    best.0
}

/// Numbers that look random, from 0 to 1.
fn scatter(number: u64) -> f64 {
    let mut bits = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (bits ^ (bits >> 31)) as f64 / u64::MAX as f64
}

/// Nearly normal: the sum of twelve uniform numbers.
fn normal(number: u64) -> f64 {
    (0..12).map(|part| scatter(number * 12 + part)).sum::<f64>() - 6.0
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_fit_is_no_worse_than_a_search_over_everything(a in 0.5_f64..3.0, b in 0.1_f64..1.0, c in 0.0_f64..3.0, seed in any::<u32>()) {
        let sizes = [1.0, 1.7, 2.6, 4.0, 6.5, 9.0];
        let noisy = |(index, n): (usize, &f64)| {
            (*n, (a * n.powf(-b) + c + 0.02 * normal(u64::from(seed) * 8 + index as u64)).max(0.01))
        };
        let points = points(&sizes.iter().enumerate().map(noisy).collect::<Vec<_>>());
        if let Ok(law) = fit(&points) {
            let slow = slow_fit(&points);
            prop_assert!(law.squares <= slow * (1.0 + 1e-9) + 1e-15, "{} and {slow}", law.squares);
            prop_assert!(law.b < 0.0 && law.a > 0.0 && law.c >= 0.0);
        }
    }

    /// Other units of size or another order of the points are the same law, as far as a valley's floor can be told in floating point.
    #[test]
    fn units_and_order_do_not_matter(factor in 1e-3_f64..1e9, rotate in 0_usize..7) {
        let values: Vec<(f64, f64)> = MU_SCALING[..7].to_vec();
        let mut other: Vec<(f64, f64)> = values.iter().map(|(n, loss)| (n * factor, *loss)).collect();
        other.rotate_left(rotate);
        let (law, other) = (fit(&points(&values)).unwrap(), fit(&points(&other)).unwrap());
        prop_assert!((law.at(1000.0) - other.at(1000.0 * factor)).abs() < 1e-6);
        prop_assert!((law.band(1000.0, 0.9).low - other.band(1000.0 * factor, 0.9).low).abs() < 1e-6);
    }
}

/// Of many laws with scatter, the band at four times the largest size holds the true observation about as often as it says.
#[test]
fn the_band_holds_about_as_often_as_it_says() {
    let sizes = [1.0, 2.0, 4.0, 7.0, 11.0, 16.0];
    let n_laws = 400;
    let (mut n_held, mut n_fitted) = (0, 0);
    for seed in 0..n_laws {
        let observe = |index: usize, n: f64| 2.5 * n.powf(-0.5) + 2.0 + 0.01 * normal(seed * 8 + index as u64);
        let values: Vec<(f64, f64)> = sizes.iter().enumerate().map(|(index, &n)| (n, observe(index, n))).collect();
        let Ok(law) = fit(&points(&values)) else { continue };
        n_fitted += 1;
        n_held += usize::from(law.band(64.0, 0.8).holds(observe(6, 64.0)));
    }
    let share = n_held as f64 / n_fitted as f64;
    assert!(n_fitted == n_laws && (0.74..=0.86).contains(&share), "{share} of {n_fitted}");
}

/// The band holds the fit, grows with confidence, and is narrower where the points are than far away.
#[test]
fn the_band_is_around_the_law() {
    let law = fit(&points(&MU_SCALING[..7])).unwrap();
    let width = |n: f64, confidence: f64| {
        let band = law.band(n, confidence);
        assert!(band.low < band.loss && band.loss < band.high && band.loss == law.at(n), "{band:?}");
        band.high - band.low
    };
    assert!(width(60.0, 0.9) < width(1500.0, 0.9) && width(1500.0, 0.5) < width(1500.0, 0.9));
}
