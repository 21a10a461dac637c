//! Placement as the app or the environment configures it.

use serde::Deserialize;

use super::{config::Options, rules::Rules};
use crate::{
    placement::{Policy, WATERMARK},
    virtual_worker::{OnPartLost, Spread},
};

/// By what rule the objects of a Router, and Workers, are placed.
pub const PLACEMENT: &str = "MEDIASOUP_HORIZONTAL_PLACEMENT";
/// On how many real workers the objects of one Worker may live.
pub const MAX_PARTS: &str = "MEDIASOUP_HORIZONTAL_MAX_PARTS";
/// The share of a core below which a worker takes more.
pub const WATERMARK_VARIABLE: &str = "MEDIASOUP_HORIZONTAL_WATERMARK";
/// Where the app is, as agents' labels say it.
pub const REGION: &str = "MEDIASOUP_HORIZONTAL_REGION";
/// How many real workers a host may run for an app; further Workers share them.
pub const WORKERS_PER_HOST: &str = "MEDIASOUP_HORIZONTAL_WORKERS_PER_HOST";
/// What becomes of a Worker that loses one of them: `continue` or `died`.
pub const ON_PART_LOST: &str = "MEDIASOUP_HORIZONTAL_ON_PART_LOST";
/// How many real workers one of them feeds with the same Producer before others pass it on.
pub const MAX_FAN_OUT: &str = "MEDIASOUP_HORIZONTAL_MAX_FAN_OUT";

/// As many parts where nobody says how many: a bound, not a wish.
const PARTS_MAX: usize = 32;
/// As many for tests that scatter.
const SCATTER_PARTS: usize = 3;

/// What the app says of placement.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfiguredPlacement {
    pub policy: Option<String>,
    pub max_parts: Option<usize>,
    pub watermark: Option<f64>,
    pub region: Option<String>,
    pub workers_per_host: Option<usize>,
    pub on_part_lost: Option<PartLost>,
    pub max_fan_out: Option<usize>,
}

/// What becomes of a Worker of the app that loses one of its real workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PartLost {
    Continue,
    Died,
}

/// How a core places.
#[derive(Clone, Default)]
pub struct Placement {
    /// Inside of one Worker.
    pub spread: Spread,
    /// Over connections.
    pub rules: Rules,
}

/// What is no placement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    #[error("{name}={value}: it is one of {}", names())]
    Policy { name: &'static str, value: String },
    #[error("{name}={value}: it is a whole number from 1 on")]
    Count { name: &'static str, value: String },
    #[error("{name}={value}: it is a share of a core, from 0 to 1")]
    Share { name: &'static str, value: String },
    #[error("{ON_PART_LOST}={0}: neither continue nor died")]
    OnPartLost(String),
    #[error("placement 'region' needs to know the app's region: the option region or {REGION}")]
    NoRegion,
}

fn names() -> String {
    Policy::NAMED.map(|(name, _)| name).join(", ")
}

impl Options {
    /// Whether the environment says how to place.
    pub fn places(&self) -> bool {
        self.variable(PLACEMENT).is_some() || self.variable(MAX_PARTS).is_some()
    }

    /// How this core places. What the app says goes before what the environment says.
    pub fn placement(&self) -> Result<Placement, PlacementError> {
        let own = &self.placing;
        let policy = match (own.policy.as_deref(), self.variable(PLACEMENT)) {
            (Some(text), _) => policy("placement", text)?,
            (None, Some(text)) => policy(PLACEMENT, text)?,
            (None, None) => Policy::Pack,
        };
        let max_parts = self.count("maxParts", own.max_parts, MAX_PARTS)?;
        let workers_per_host =
            self.count("workersPerHost", own.workers_per_host, WORKERS_PER_HOST)?;
        let max_fan_out = self.count("maxFanOut", own.max_fan_out, MAX_FAN_OUT)?;
        let watermark = match (own.watermark, self.variable(WATERMARK_VARIABLE)) {
            (Some(share), _) => thousandths(share)
                .ok_or(PlacementError::Share { name: "watermark", value: share.to_string() })?,
            (None, Some(text)) => text.parse().ok().and_then(thousandths).ok_or_else(|| {
                PlacementError::Share { name: WATERMARK_VARIABLE, value: text.to_owned() }
            })?,
            (None, None) => WATERMARK,
        };
        let region = own.region.as_deref().or_else(|| self.variable(REGION));
        let region = region.filter(|region| !region.is_empty()).map(str::to_owned);
        if policy == Policy::Region && region.is_none() {
            return Err(PlacementError::NoRegion);
        }
        let max_parts = match policy {
            Policy::Home => 1,
            Policy::Scatter => max_parts.unwrap_or(SCATTER_PARTS),
            _ => max_parts.unwrap_or(PARTS_MAX),
        };
        Ok(Placement {
            spread: Spread {
                max_parts,
                policy,
                watermark,
                max_fan_out: max_fan_out.unwrap_or(Spread::ONE_PART.max_fan_out),
                on_part_lost: self.on_part_lost()?,
            },
            rules: Rules { region, workers_per_host, ..Rules::of(policy) },
        })
    }

    fn on_part_lost(&self) -> Result<OnPartLost, PlacementError> {
        Ok(match (self.placing.on_part_lost, self.variable(ON_PART_LOST)) {
            (Some(PartLost::Continue), _) | (None, Some("continue")) => OnPartLost::Continue,
            (Some(PartLost::Died), _) | (None, Some("died")) => OnPartLost::Died,
            (None, Some(other)) => return Err(PlacementError::OnPartLost(other.to_owned())),
            (None, None) => OnPartLost::Careful,
        })
    }

    fn count(
        &self,
        option: &'static str,
        own: Option<usize>,
        variable: &'static str,
    ) -> Result<Option<usize>, PlacementError> {
        let wrong = |name, value: &str| PlacementError::Count { name, value: value.to_owned() };
        match (own, self.variable(variable)) {
            (Some(0), _) => Err(wrong(option, "0")),
            (Some(count), _) => Ok(Some(count)),
            (None, Some(text)) => {
                let count = text.parse().ok().filter(|count| *count > 0);
                count.map(Some).ok_or_else(|| wrong(variable, text))
            }
            (None, None) => Ok(None),
        }
    }
}

fn policy(name: &'static str, text: &str) -> Result<Policy, PlacementError> {
    Policy::named(text).ok_or_else(|| PlacementError::Policy { name, value: text.to_owned() })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be from 0 to 1000"
)]
fn thousandths(share: f64) -> Option<u32> {
    (0.0..=1.0).contains(&share).then(|| (share * 1000.0).round() as u32)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::HashMap;

    use super::*;

    fn options(json: &str, variables: &[(&str, &str)]) -> Options {
        let placing = serde_json::from_str(json).unwrap();
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let environment: HashMap<String, String> = variables.iter().map(own).collect();
        Options { placing, ..Options::of_environment(environment) }
    }

    #[test]
    fn spreads_as_told() {
        type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], Spread);
        let spread = |max_parts, policy| Spread { max_parts, policy, ..Spread::ONE_PART };
        let table: [Case<'_>; 12] = [
            ("{}", &[], spread(32, Policy::Pack)),
            ("{}", &[(PLACEMENT, "home")], Spread::ONE_PART),
            ("{}", &[(PLACEMENT, "home"), (MAX_PARTS, "5")], Spread::ONE_PART),
            ("{}", &[(PLACEMENT, " scatter ")], spread(3, Policy::Scatter)),
            ("{}", &[(PLACEMENT, "scatter"), (MAX_PARTS, "5")], spread(5, Policy::Scatter)),
            ("{}", &[(MAX_PARTS, "2")], spread(2, Policy::Pack)),
            ("{}", &[(PLACEMENT, ""), (MAX_PARTS, "")], spread(32, Policy::Pack)),
            (r#"{"policy":"home"}"#, &[(PLACEMENT, "scatter")], Spread::ONE_PART),
            (
                r#"{"policy":"leastLoaded","maxParts":2}"#,
                &[(PLACEMENT, "home"), (MAX_PARTS, "9")],
                spread(2, Policy::LeastLoaded),
            ),
            (
                r#"{"watermark":0.25}"#,
                &[(WATERMARK_VARIABLE, "0.5")],
                Spread { watermark: 250, ..spread(32, Policy::Pack) },
            ),
            (
                "{}",
                &[(WATERMARK_VARIABLE, "0")],
                Spread { watermark: 0, ..spread(32, Policy::Pack) },
            ),
            (r#"{"policy":"region"}"#, &[(REGION, "eu")], spread(32, Policy::Region)),
        ];
        for (json, variables, expected) in table {
            let placement = options(json, variables).placement().unwrap();
            assert_eq!(placement.spread, expected, "{json} {variables:?}");
            assert_eq!(placement.rules.policy, expected.policy);
        }
    }

    #[test]
    fn loses_parts_as_told() {
        let with = |json: &str, variable: Option<&str>| {
            let variables: Vec<_> =
                variable.map(|value| (ON_PART_LOST, value)).into_iter().collect();
            let placement = options(json, &variables).placement();
            placement.map(|placement| placement.spread.on_part_lost).map_err(|e| e.to_string())
        };
        let table = [
            ("{}", None, OnPartLost::Careful),
            ("{}", Some(""), OnPartLost::Careful),
            ("{}", Some("continue"), OnPartLost::Continue),
            ("{}", Some(" died "), OnPartLost::Died),
            (r#"{"onPartLost":null}"#, Some("died"), OnPartLost::Died),
            (r#"{"onPartLost":"continue"}"#, Some("died"), OnPartLost::Continue),
            (r#"{"onPartLost":"died"}"#, None, OnPartLost::Died),
        ];
        for (json, variable, expected) in table {
            assert_eq!(with(json, variable), Ok(expected), "{json} {variable:?}");
        }
        let refused = with("{}", Some("weep")).unwrap_err();
        assert_eq!(refused, format!("{ON_PART_LOST}=weep: neither continue nor died"));
    }

    #[test]
    fn fans_out_as_told() {
        let with = |json: &str, variables: &[(&str, &str)]| {
            options(json, variables).placement().unwrap().spread.max_fan_out
        };
        let environment = [(MAX_FAN_OUT, "3")];
        assert_eq!(with("{}", &[]), Spread::ONE_PART.max_fan_out);
        assert_eq!(with("{}", &environment), 3);
        assert_eq!(with(r#"{"maxFanOut":2}"#, &environment), 2);
    }

    #[test]
    fn rules_as_told() {
        let rules =
            |json, variables: &[(&str, &str)]| options(json, variables).placement().unwrap().rules;
        let environment = [(REGION, "eu"), (WORKERS_PER_HOST, "3")];
        let told = rules("{}", &environment);
        assert_eq!((told.region.as_deref(), told.workers_per_host), (Some("eu"), Some(3)));
        let told = rules(r#"{"region":"us","workersPerHost":4}"#, &environment);
        assert_eq!((told.region.as_deref(), told.workers_per_host), (Some("us"), Some(4)));
        let told = rules("{}", &[]);
        assert_eq!((told.region, told.workers_per_host), (None, None));
    }

    #[test]
    fn refuses_what_is_no_placement() {
        for (name, value, why) in [
            (PLACEMENT, "elsewhere", "one of home, pack, leastLoaded, roundRobin, region"),
            (MAX_PARTS, "0", "whole number"),
            (MAX_PARTS, "-1", "whole number"),
            (WORKERS_PER_HOST, "two", "whole number"),
            (MAX_FAN_OUT, "0", "whole number"),
            (WATERMARK_VARIABLE, "1.5", "share of a core"),
            (WATERMARK_VARIABLE, "NaN", "share of a core"),
            (WATERMARK_VARIABLE, "60%", "share of a core"),
        ] {
            let error = options("{}", &[(name, value)]).placement().err().unwrap().to_string();
            assert!(error.starts_with(&format!("{name}={value}: ")), "{error}");
            assert!(error.contains(why), "{error}");
        }
        for (json, start) in [
            (r#"{"policy":"nowhere"}"#, "placement=nowhere: "),
            (r#"{"maxParts":0}"#, "maxParts=0: "),
            (r#"{"workersPerHost":0}"#, "workersPerHost=0: "),
            (r#"{"maxFanOut":0}"#, "maxFanOut=0: "),
            (r#"{"watermark":-0.1}"#, "watermark=-0.1: "),
            (r#"{"policy":"region"}"#, "placement 'region' needs"),
        ] {
            let error = options(json, &[]).placement().err().unwrap().to_string();
            assert!(error.starts_with(start), "{error}");
        }
    }

    #[test]
    fn the_environment_may_say_nothing() {
        assert!(!options("{}", &[(PLACEMENT, " "), (REGION, "eu")]).places());
        assert!(options("{}", &[(PLACEMENT, "pack")]).places());
        assert!(options("{}", &[(MAX_PARTS, "2")]).places());
    }
}
