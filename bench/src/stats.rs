//! Medians and spreads: a handful of runs, told without pretending that they are many.

/// What some runs say of one figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The least.
    pub least: f64,
    /// The one in the middle, or the mean of the two in the middle.
    pub median: f64,
    /// The most.
    pub most: f64,
    /// How many runs.
    pub count: usize,
}

impl Spread {
    /// Of these values; nothing of none. Values that are no numbers are left out.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let (count, middle) = (values.len(), values.len() / 2);
        let median = match count % 2 {
            1 => values[middle],
            _ => f64::midpoint(values[middle - 1], values[middle]),
        };
        Some(Self { least, median, most, count })
    }
}

/// What pairs say of a ratio: in each pair the one over the other, so that what slows both at once cancels out.
pub fn ratios(pairs: impl IntoIterator<Item = (f64, f64)>) -> Option<Spread> {
    Spread::of(pairs.into_iter().map(|(a, b)| a / b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_in_the_middle_whatever_the_order() {
        let odd = Spread::of([5.0, 1.0, 4.0, 2.0, 3.0]).unwrap();
        assert_eq!((odd.least, odd.median, odd.most, odd.count), (1.0, 3.0, 5.0, 5));
        let even = Spread::of([4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!(even.median, 2.5);
        assert_eq!(Spread::of([7.0]).unwrap().median, 7.0);
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn one_wild_run_moves_the_spread_and_not_the_median() {
        let calm = Spread::of([10.0, 10.1, 9.9, 10.0, 10.0]).unwrap();
        let wild = Spread::of([10.0, 10.1, 9.9, 10.0, 90.0]).unwrap();
        assert_eq!(calm.median, wild.median);
        assert_eq!((calm.most, wild.most), (10.1, 90.0));
    }

    #[test]
    fn what_is_no_number_is_left_out() {
        let spread = Spread::of([f64::NAN, 1.0, f64::INFINITY, 3.0]).unwrap();
        assert_eq!((spread.median, spread.count), (2.0, 2));
        assert_eq!(Spread::of([f64::NAN]), None);
    }

    #[test]
    fn a_ratio_is_taken_within_each_pair() {
        // The machine slows down threefold in between; the ratio does not change.
        let spread = ratios([(20.0, 10.0), (6.0, 3.0), (2.0, 1.0)]).unwrap();
        assert_eq!((spread.least, spread.median, spread.most), (2.0, 2.0, 2.0));
        assert_eq!(ratios([(1.0, 0.0)]), None);
    }
}
