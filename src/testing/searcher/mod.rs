//! Which trials an experiment has: its searcher and the values that it gives to hyperparameters.

mod mersenne_twister;

use super::wire;
use mersenne_twister::MersenneTwister;
use serde_json::{Map, Value};

/// The hyperparameters of a trial.
pub(super) type Sample = Map<String, Value>;

/// Makes up the trials of an experiment, one after the other.
#[derive(Debug, Clone)]
pub(super) struct Searcher {
    method: Method,
    /// How many trials may be under way at once.
    concurrent: usize,
}

#[derive(Debug, Clone)]
enum Method {
    /// So many more samples.
    Random {
        hyperparameters: Value,
        left: usize,
        random: Box<MersenneTwister>,
    },
    /// The points that are left; the last is the next.
    Grid(Vec<Sample>),
}

impl Searcher {
    /// The searcher that a complete configuration names. Adaptive search is random search without early stopping.
    pub(super) fn new(config: &Value) -> Self {
        let searcher = &config["searcher"];
        let count = |key: &str| {
            let count = searcher[key].as_u64().unwrap_or(0);
            usize::try_from(count).unwrap_or(usize::MAX)
        };
        let concurrent = match count("max_concurrent_trials") {
            // As many as let one come through all rungs.
            0 if searcher["name"] == "async_halving" => {
                let rungs = searcher["num_rungs"].as_f64().unwrap_or(1.0);
                let divisor = searcher["divisor"].as_f64().unwrap_or(1.0);
                (divisor.powf(rungs - 1.0) as usize).max(1)
            }
            0 => usize::MAX,
            count => count,
        };
        let hyperparameters = &config["hyperparameters"];
        if searcher["name"] == "grid" {
            return Self {
                method: Method::Grid(grid(hyperparameters)),
                concurrent,
            };
        }
        let seed = config["reproducibility"]["experiment_seed"]
            .as_u64()
            .unwrap_or(0);
        let single = searcher["name"] == "single";
        Self {
            method: Method::Random {
                hyperparameters: hyperparameters.clone(),
                left: if single { 1 } else { count("max_trials") },
                // The master cuts a seed to 32 bits too.
                random: Box::new(MersenneTwister::new(seed as u32)),
            },
            concurrent: if single { 1 } else { concurrent },
        }
    }

    /// The trials to begin with.
    pub(super) fn first(&mut self) -> Vec<Sample> {
        (0..self.concurrent).map_while(|_| self.next()).collect()
    }

    /// The trial that follows one that ended.
    pub(super) fn next(&mut self) -> Option<Sample> {
        match &mut self.method {
            Method::Grid(points) => points.pop(),
            Method::Random { left: 0, .. } => None,
            Method::Random {
                hyperparameters,
                left,
                random,
            } => {
                *left -= 1;
                let sample = sample_all(hyperparameters, random);
                // A real searcher draws the trial's id and its seed next.
                for _ in 0..4 {
                    random.bits32();
                }
                random.below(1 << 31);
                Some(sample)
            }
        }
    }

    /// How many trials are still to come.
    pub(super) fn left(&self) -> usize {
        match &self.method {
            Method::Grid(points) => points.len(),
            Method::Random { left, .. } => *left,
        }
    }

    /// Makes no more trials.
    pub(super) fn stop(&mut self) {
        match &mut self.method {
            Method::Grid(points) => points.clear(),
            Method::Random { left, .. } => *left = 0,
        }
    }
}

fn sample_all(hyperparameters: &Value, random: &mut MersenneTwister) -> Sample {
    let Value::Object(map) = hyperparameters else {
        return Map::new();
    };
    map.iter()
        .map(|(name, parameter)| (name.clone(), sample(parameter, random)))
        .collect()
}

fn sample(parameter: &Value, random: &mut MersenneTwister) -> Value {
    let number = |key: &str| parameter[key].as_f64().unwrap_or(0.0);
    match parameter["type"].as_str() {
        Some("const") => parameter["val"].clone(),
        Some("int") => {
            let (low, high) = whole_range(parameter);
            let width = high.saturating_sub(low).saturating_add(1).max(1);
            let drawn = random.below(width.unsigned_abs());
            Value::from(low.saturating_add_unsigned(drawn))
        }
        Some("double") => wire::double(random.uniform(number("minval"), number("maxval"))),
        Some("log") => {
            let exponent = random.uniform(number("minval"), number("maxval"));
            wire::double(number("base").powf(exponent))
        }
        Some("categorical") => {
            let values = parameter["vals"].as_array().map_or(&[][..], Vec::as_slice);
            let drawn = usize::try_from(random.below(values.len() as u64)).unwrap_or(0);
            values.get(drawn).cloned().unwrap_or(Value::Null)
        }
        _ => Value::Object(sample_all(parameter, random)),
    }
}

fn whole_range(parameter: &Value) -> (i64, i64) {
    let whole = |key: &str| parameter[key].as_f64().unwrap_or(0.0) as i64;
    (whole("minval"), whole("maxval"))
}

/// The values along one axis of a grid, and where they belong.
struct Axis {
    route: Vec<String>,
    values: Vec<Value>,
}

/// All points of the grid, the first axis being the slowest.
fn grid(hyperparameters: &Value) -> Vec<Sample> {
    let mut axes = Vec::new();
    collect_axes(hyperparameters, &mut Vec::new(), &mut axes);
    if axes.is_empty() {
        return Vec::new();
    }
    let mut points = vec![Map::new()];
    for axis in &axes {
        points = points
            .iter()
            .flat_map(|point| {
                axis.values.iter().map(|value| {
                    let mut point = point.clone();
                    put(&mut point, &axis.route, value.clone());
                    point
                })
            })
            .collect();
    }
    points
}

fn collect_axes(hyperparameters: &Value, route: &mut Vec<String>, axes: &mut Vec<Axis>) {
    let Value::Object(map) = hyperparameters else {
        return;
    };
    for (name, parameter) in map {
        route.push(name.clone());
        let number = |key: &str| parameter[key].as_f64().unwrap_or(0.0);
        let count = parameter["count"].as_u64().unwrap_or(1).max(1);
        let values = match parameter["type"].as_str() {
            Some("const") => Some(vec![parameter["val"].clone()]),
            Some("categorical") => Some(parameter["vals"].as_array().cloned().unwrap_or_default()),
            Some("int") => {
                let (low, high) = whole_range(parameter);
                let width = high
                    .saturating_sub(low)
                    .saturating_add(1)
                    .max(1)
                    .unsigned_abs();
                let values = spread(number("minval"), number("maxval"), count.min(width));
                Some(
                    values
                        .map(|value| Value::from(value.round() as i64))
                        .collect(),
                )
            }
            Some("double") => Some(
                spread(number("minval"), number("maxval"), count)
                    .map(wire::double)
                    .collect(),
            ),
            Some("log") => Some(
                spread(number("minval"), number("maxval"), count)
                    .map(|exponent| wire::double(number("base").powf(exponent)))
                    .collect(),
            ),
            _ => None,
        };
        match values {
            Some(values) => axes.push(Axis {
                route: route.clone(),
                values,
            }),
            None if parameter.as_object().is_some_and(Map::is_empty) => axes.push(Axis {
                route: route.clone(),
                values: vec![Value::Object(Map::new())],
            }),
            None => collect_axes(parameter, route, axes),
        }
        route.pop();
    }
}

/// `count` values from `low` to `high`, ends included; the middle if there is but one.
fn spread(low: f64, high: f64, count: u64) -> impl Iterator<Item = f64> {
    (0..count).map(move |index| match count {
        1 => (low + high) / 2.0,
        _ => low + index as f64 * (high - low) / (count - 1) as f64,
    })
}

fn put(point: &mut Sample, route: &[String], value: Value) {
    match route {
        [] => {}
        [name] => {
            point.insert(name.clone(), value);
        }
        [name, rest @ ..] => {
            let inner = point
                .entry(name.clone())
                .or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn all(mut searcher: Searcher) -> Vec<Value> {
        std::iter::from_fn(|| searcher.next())
            .map(Value::Object)
            .collect()
    }

    #[test]
    fn random_search_draws_what_a_real_master_drew() {
        let searcher = Searcher::new(&json!({
            "searcher": {"name": "random", "max_trials": 2},
            "hyperparameters": {"decay": {"type": "double", "minval": 0.5, "maxval": 0.9}},
            "reproducibility": {"experiment_seed": 1_795_464_642},
        }));
        assert_eq!(
            all(searcher),
            [
                json!({"decay": 0.7393955121933584}),
                json!({"decay": 0.8305623348134179})
            ]
        );
    }

    #[test]
    fn a_grid_is_walked_from_its_last_point() {
        let mut searcher = Searcher::new(&json!({
            "searcher": {"name": "grid", "max_concurrent_trials": 2},
            "hyperparameters": {
                "a": {"type": "double", "minval": 0.5, "maxval": 0.9, "count": 2},
                "b": {"type": "categorical", "vals": ["x", "y"]},
                "c": {"type": "const", "val": 1},
                "d": {"e": {"type": "int", "minval": 1, "maxval": 9, "count": 1}},
            },
        }));
        let first = searcher.first();
        assert_eq!(
            first.into_iter().map(Value::Object).collect::<Vec<_>>(),
            [
                json!({"a": 0.9, "b": "y", "c": 1, "d": {"e": 5}}),
                json!({"a": 0.9, "b": "x", "c": 1, "d": {"e": 5}}),
            ]
        );
        assert_eq!(all(searcher).len(), 2);
    }

    #[test]
    fn every_kind_of_hyperparameter_stays_in_its_range() {
        let searcher = Searcher::new(&json!({
            "searcher": {"name": "adaptive_asha", "max_trials": 50, "max_concurrent_trials": 16},
            "hyperparameters": {
                "whole": {"type": "int", "minval": -2, "maxval": 3},
                "log": {"type": "log", "base": 10, "minval": -3, "maxval": -1},
                "word": {"type": "categorical", "vals": ["a", "b"]},
                "net": {"deep": {"type": "const", "val": [1]}},
            },
            "reproducibility": {"experiment_seed": 1},
        }));
        let samples = all(searcher);
        assert_eq!(samples.len(), 50);
        for sample in samples {
            assert!((-2..=3).contains(&sample["whole"].as_i64().unwrap()));
            assert!((0.001..=0.1).contains(&sample["log"].as_f64().unwrap()));
            assert!(["a", "b"].contains(&sample["word"].as_str().unwrap()));
            assert_eq!(sample["net"], json!({"deep": [1]}));
        }
    }

    #[test]
    fn a_single_search_has_one_trial_at_once() {
        let mut searcher = Searcher::new(&json!({"searcher": {"name": "single"}}));
        assert_eq!(searcher.first().len(), 1);
        assert_eq!(searcher.next(), None);
    }
}
