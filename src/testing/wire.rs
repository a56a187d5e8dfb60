//! What stands on the wire: times, numbers, pages, query parameters.

use super::failure::Failure;
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde::{Serialize, Serializer};
use serde_json::{Map, Number, Value};

/// A time as the master writes it: UTC, with no, three, six or nine digits of fraction.
pub(super) fn time(at: Timestamp) -> String {
    let nanos = at.subsec_nanosecond();
    let digits = match nanos {
        0 => 0,
        n if n % 1_000_000 == 0 => 3,
        n if n % 1_000 == 0 => 6,
        _ => 9,
    };
    format!("{at:.digits$}")
}

pub(super) fn serialize_time<S: Serializer>(
    at: &Timestamp,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time(*at))
}

pub(super) fn serialize_optional_time<S: Serializer>(
    at: &Option<Timestamp>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => serialize_time(at, serializer),
        None => serializer.serialize_none(),
    }
}

/// A 64-bit integer, which the master writes as a string.
pub(super) fn serialize_long<S: Serializer>(
    number: &u64,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(number)
}

/// Free-form JSON after its way through the master, where each number is a double and keys are sorted.
pub(super) fn through_struct(value: &Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().map_or(Value::Null, double),
        Value::Array(items) => items.iter().map(through_struct).collect(),
        Value::Object(map) => Value::Object(object_through_struct(map)),
        other => other.clone(),
    }
}

pub(super) fn object_through_struct(map: &Map<String, Value>) -> Map<String, Value> {
    let mut map: Map<String, Value> = map
        .iter()
        .map(|(key, value)| (key.clone(), through_struct(value)))
        .collect();
    map.sort_keys();
    map
}

/// A double as the master writes it: without a fraction where there is none, and as a word where JSON has no number.
pub(super) fn double(number: f64) -> Value {
    if number.is_nan() {
        return "NaN".into();
    }
    if number.is_infinite() {
        return if number > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        }
        .into();
    }
    if number.fract() == 0.0 && number.abs() < 1e21 {
        // The shortest digits that give the double again, not all of its digits.
        let digits = number.to_string();
        if let Ok(whole) = digits.parse::<i64>() {
            return Value::Number(whole.into());
        }
        if let Ok(whole) = digits.parse::<u64>() {
            return Value::Number(whole.into());
        }
    }
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

/// Where a page stands in its list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Pagination {
    offset: i64,
    limit: i64,
    start_index: usize,
    end_index: i64,
    total: usize,
}

/// The page of a list that the master sorts and cuts in memory: an offset past the end is refused.
pub(super) fn page<T>(mut items: Vec<T>, query: &Query) -> Result<(Vec<T>, Pagination), Failure> {
    let (offset, limit) = (query.int("offset")?, query.int("limit")?);
    let total = items.len();
    let from_end = usize::try_from(offset.unsigned_abs()).unwrap_or(usize::MAX);
    if from_end > total {
        return Err(Failure::invalid("offset out of bounds"));
    }
    let start = if offset < 0 {
        total - from_end
    } else {
        from_end
    };
    let end = match usize::try_from(limit) {
        Ok(0) => total,
        Ok(limit) => start.saturating_add(limit).min(total),
        Err(_) => {
            return Err(Failure::internal(
                "reflect.Value.Slice: slice index out of bounds",
            ));
        }
    };
    items.truncate(end);
    items.drain(..start);
    Ok((items, pagination(offset, limit, start, end as i64, total)))
}

/// The page of a list that the database cuts: an offset past the end gives an empty page, no limit means `default_limit`, -1
/// all, and -2 nothing but the total.
pub(super) fn database_page<T>(
    mut items: Vec<T>,
    query: &Query,
    default_limit: usize,
) -> Result<(Vec<T>, Pagination), Failure> {
    let (offset, limit) = (query.int("offset")?, query.int("limit")?);
    let total = items.len();
    let distance = usize::try_from(offset.unsigned_abs()).unwrap_or(usize::MAX);
    let start = match offset {
        _ if distance > total => total,
        offset if offset < 0 => total - distance,
        _ => distance,
    };
    let end = match limit {
        -2 => start,
        0 => start.saturating_add(default_limit).min(total),
        limit if limit < 0 => total,
        limit => start.saturating_add(limit as usize).min(total),
    };
    items.truncate(end);
    items.drain(..start);
    // Other negative limits are no limits to the database, and counted with all the same.
    let told = if limit < -2 {
        start as i64 + limit
    } else {
        end as i64
    };
    Ok((items, pagination(offset, limit, start, told, total)))
}

fn pagination(offset: i64, limit: i64, start: usize, end: i64, total: usize) -> Pagination {
    Pagination {
        offset,
        limit,
        start_index: start,
        end_index: end,
        total,
    }
}

/// The parameters of a query, decoded. A name may be in camelCase or in snake_case, as on the real master.
#[derive(Debug, Clone, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(text: &str) -> Self {
        Self(
            text.split('&')
                .filter(|pair| !pair.is_empty())
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (camel_case(&decode_query(name)), decode_query(value))
                })
                .collect(),
        )
    }

    /// The parameter, unless it is missing or empty.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.all(name).find(|value| !value.is_empty())
    }

    pub(super) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// The number, or 0 when there is none.
    pub(super) fn int(&self, name: &str) -> Result<i64, Failure> {
        self.text(name).map_or(Ok(0), parse_int)
    }

    /// The same query with this limit, if it has none.
    pub(super) fn or_limit(&self, limit: i64) -> Self {
        let mut query = self.clone();
        if query.text("limit").is_none_or(|text| text == "0") {
            query.0.retain(|(name, _)| name != "limit");
            query.0.push(("limit".into(), limit.to_string()));
        }
        query
    }

    pub(super) fn ints(&self, name: &str) -> Result<Vec<i64>, Failure> {
        self.all(name).map(parse_int).collect()
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Failure> {
        match self.text(name) {
            None => Ok(None),
            Some("true" | "1" | "True" | "TRUE" | "t" | "T") => Ok(Some(true)),
            Some("false" | "0" | "False" | "FALSE" | "f" | "F") => Ok(Some(false)),
            Some(other) => Err(Failure::of_gateway(format!("bad BoolValue: {other}"))),
        }
    }

    /// The words of an enumeration, all of which must be among `known`; `kind` is what the API calls it.
    pub(super) fn words(
        &self,
        name: &str,
        kind: &str,
        known: &[&str],
    ) -> Result<Vec<&str>, Failure> {
        let words: Vec<&str> = self.all(name).collect();
        let is_known = |word: &&str| {
            let bare = word.strip_prefix("STATE_");
            bare.is_some_and(|bare| known.contains(&bare))
        };
        match words.iter().find(|word| !is_known(word)) {
            Some(word) => Err(not_of(word, kind)),
            None => Ok(words),
        }
    }

    /// Refuses what no list takes, whichever it is.
    pub(super) fn check(&self) -> Result<(), Failure> {
        for name in ["offset", "limit", "trialIds", "rankIds", "projectId"] {
            self.ints(name)?;
        }
        match self.text("orderBy") {
            None | Some("ORDER_BY_UNSPECIFIED" | "ORDER_BY_ASC" | "ORDER_BY_DESC") => Ok(()),
            Some(other) => Err(not_of(other, "apiv1.OrderBy")),
        }
    }

    /// Whether the list is to be in descending order.
    pub(super) fn descending(&self) -> bool {
        self.text("orderBy") == Some("ORDER_BY_DESC")
    }

    /// The sort key without its prefix, if one is named.
    pub(super) fn sort_key(&self, name: &str) -> Option<&str> {
        self.text(name)
            .map(|key| key.strip_prefix("SORT_BY_").unwrap_or(key))
            .filter(|key| *key != "UNSPECIFIED")
    }
}

/// The refusal of a word that an enumeration does not have.
pub(super) fn not_of(word: &str, kind: &str) -> Failure {
    Failure::of_gateway(format!("{word} is not a valid {kind}"))
}

/// The refusal of a sort key that the list of a request does not have.
pub(super) fn unknown_sort_key(key: &str, request: &str) -> Failure {
    not_of(
        &format!("SORT_BY_{key}"),
        &format!("apiv1.{request}_SortBy"),
    )
}

fn parse_int(value: &str) -> Result<i64, Failure> {
    value
        .parse::<i32>()
        .map(i64::from)
        .map_err(|error| Failure::of_gateway(parse_int_message(value, &error)))
}

/// What Go says of a number that is none.
pub(super) fn parse_int_message(value: &str, error: &std::num::ParseIntError) -> String {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    let why = match error.kind() {
        PosOverflow | NegOverflow => "value out of range",
        _ => "invalid syntax",
    };
    format!("strconv.ParseInt: parsing {value:?}: {why}")
}

fn decode_query(text: &str) -> String {
    percent_decode_str(&text.replace('+', " "))
        .decode_utf8_lossy()
        .into_owned()
}

fn camel_case(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut upper = false;
    for letter in name.chars() {
        match letter {
            '_' => upper = true,
            letter if upper => {
                out.extend(letter.to_uppercase());
                upper = false;
            }
            letter => out.push(letter),
        }
    }
    out
}

/// Whether `text` contains `pattern` as SQL's `ILIKE '%pattern%'` has it: without regard to case, `%` and `_` being wildcards.
pub(super) fn ilike_contains(text: &str, pattern: &str) -> bool {
    like(&format!("%{pattern}%").to_lowercase(), &text.to_lowercase())
}

/// Whether `text` is like `pattern`, without regard to case.
pub(super) fn ilike(text: &str, pattern: &str) -> bool {
    like(&pattern.to_lowercase(), &text.to_lowercase())
}

/// SQL's LIKE.
pub(super) fn like(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Where to try again: after the last `%`, one more letter on.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('%') => {
                retry = Some((p + 1, t));
                p += 1;
            }
            Some('\\') if pattern.get(p + 1) == text.get(t) => {
                p += 2;
                t += 1;
            }
            Some('_') => {
                p += 1;
                t += 1;
            }
            // A backslash stands for itself only after another.
            Some(letter) if *letter == text[t] && *letter != '\\' => {
                p += 1;
                t += 1;
            }
            _ => match retry {
                Some((after, from)) => {
                    retry = Some((after, from + 1));
                    p = after;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|letter| *letter == '%')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn times_have_as_many_digits_as_they_need() {
        let at = |nanos| time(Timestamp::new(1_795_464_631, nanos).unwrap());
        assert_eq!(at(0), "2026-11-23T20:10:31Z");
        assert_eq!(at(130_000_000), "2026-11-23T20:10:31.130Z");
        assert_eq!(at(416_970_000), "2026-11-23T20:10:31.416970Z");
        assert_eq!(at(1), "2026-11-23T20:10:31.000000001Z");
    }

    #[test]
    fn numbers_become_doubles() {
        let sent = json!({"a": 1.0, "b": 1_152_921_504_606_846_976_u64, "c": [0.5, null], "d": -3});
        let back = json!({"a": 1, "b": 1_152_921_504_606_847_000_u64, "c": [0.5, null], "d": -3});
        assert_eq!(through_struct(&sent), back);
        assert_eq!(double(f64::NAN), json!("NaN"));
        assert_eq!(double(f64::NEG_INFINITY), json!("-Infinity"));
    }

    #[test]
    fn a_page_in_memory_has_bounds() {
        let page = |query: &str| page(vec![1, 2, 3, 4, 5], &Query::parse(query)).map(|page| page.0);
        assert_eq!(page(""), Ok(vec![1, 2, 3, 4, 5]));
        assert_eq!(page("offset=1&limit=2"), Ok(vec![2, 3]));
        assert_eq!(page("offset=-2"), Ok(vec![4, 5]));
        assert_eq!(page("offset=5"), Ok(vec![]));
        assert_eq!(
            page("offset=6"),
            Err(Failure::invalid("offset out of bounds"))
        );
        assert!(page("limit=-1").is_err());
    }

    #[test]
    fn a_page_of_the_database_may_be_past_the_end() {
        let page = |query: &str| {
            database_page(vec![1, 2, 3, 4, 5], &Query::parse(query), 4)
                .unwrap()
                .0
        };
        assert_eq!(page(""), [1, 2, 3, 4]);
        assert_eq!(page("offset=3&limit=9"), [4, 5]);
        assert_eq!(page("offset=9"), Vec::<i32>::new());
        assert_eq!(page("limit=-1"), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_query_is_decoded_once() {
        let query = Query::parse("name=a+b%2B%25&trial_ids=1&trialIds=2&empty=&archived=true");
        assert_eq!(query.text("name"), Some("a b+%"));
        assert_eq!(query.ints("trialIds"), Ok(vec![1, 2]));
        assert_eq!(query.text("empty"), None);
        assert_eq!(query.flag("archived"), Ok(Some(true)));
        assert!(Query::parse("limit=x").int("limit").is_err());
    }

    #[test]
    fn like_knows_its_wildcards() {
        assert!(ilike("Spec3-full", "spec3_f%"));
        assert!(ilike_contains("a spec3-full b", "SPEC3_F"));
        assert!(!ilike("spec3-full", "spec3"));
        assert!(ilike(r"a\b", r"a\\b") && ilike("a%", r"a\%"));
        assert!(!ilike(r"a\b", r"a\b") && ilike("ab", r"a\b"));
        assert!(like("%ab", "aab"));
        assert!(like("a%b%c", "axxbyybzc"));
        assert!(!like("a%b%c", "axxbyybz"));
        assert!(like("", ""));
        assert!(!like("", "x"));
        assert!(like("100\\%", "100%"));
    }
}
