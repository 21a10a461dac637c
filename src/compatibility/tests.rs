use super::*;

const OURS: Ours<'_> =
    Ours { protocol: (1, 2), version: "3.27.1", schema: "aa", level: Level::Strict };

type Offers<'a> = &'a [(&'a str, Option<&'a str>)];
/// The version that fits, or what differs.
type Outcome = Result<String, Vec<&'static str>>;

/// What differs, as the names of it, or the version that fits.
fn outcome(level: Level, offers: Offers<'_>) -> Outcome {
    let offers: Vec<Offer<'_>> =
        offers.iter().map(|(version, schema)| Offer { version, schema: *schema }).collect();
    let theirs = Theirs { protocol: Some(1), features: None, offers: &offers };
    check(&Ours { level, ..OURS }, &theirs)
        .map(|position| offers[position].version.to_owned())
        .map_err(|all| all.iter().map(|one| one.what.name()).collect())
}

#[test]
fn offers_at_every_level() {
    let (version, schema, pipes) = ("mediasoup version", "channel schema", "pipes");
    let fits = |version: &str| Ok(version.to_owned());
    let table: [(Offers<'_>, [Outcome; 3]); 9] = [
        (&[("3.27.1", Some("aa"))], [fits("3.27.1"), fits("3.27.1"), fits("3.27.1")]),
        // Its own version's worker needs no manifest.
        (&[("3.27.1", None)], [fits("3.27.1"), fits("3.27.1"), fits("3.27.1")]),
        // One of several is enough, wherever it stands.
        (
            &[("3.24.0", Some("bb")), ("3.27.0", Some("aa")), ("3.27.1", Some("aa"))],
            [fits("3.27.1"), fits("3.27.1"), fits("3.27.1")],
        ),
        (&[("3.27.0", Some("aa"))], [Err(vec![version]), fits("3.27.0"), fits("3.27.0")]),
        (
            &[("3.24.0", Some("aa"))],
            [Err(vec![version, pipes]), Err(vec![version, pipes]), fits("3.24.0")],
        ),
        (
            &[("3.24.0", Some("bb"))],
            [
                Err(vec![version, schema, pipes]),
                Err(vec![version, schema, pipes]),
                Err(vec![version, schema, pipes]),
            ],
        ),
        (
            &[("3.27.0", None)],
            [Err(vec![version, schema]), Err(vec![version, schema]), Err(vec![version, schema])],
        ),
        (&[("3.27.1", Some("bb"))], [Err(vec![schema]), Err(vec![schema]), Err(vec![schema])]),
        (&[], [Err(vec!["workers"]), Err(vec!["workers"]), Err(vec!["workers"])]),
    ];
    for (offers, expected) in table {
        for ((name, level), expected) in Level::NAMED.into_iter().zip(expected) {
            assert_eq!(outcome(level, offers), expected, "{name} {offers:?}");
        }
    }
}

#[test]
fn every_difference_is_listed_with_both_sides_and_why() {
    let offers = [
        Offer { version: "3.19.4", schema: Some("b\nb") },
        Offer { version: "3.20.1", schema: Some("cc") },
    ];
    let features = ["load".to_owned()];
    let theirs = Theirs { protocol: Some(3), features: Some(&features), offers: &offers };
    let differences = check(&OURS, &theirs).expect_err("nothing fits");
    let told = Incompatibility::new("agent ws://a", differences);
    let all = |(what, ours, theirs): (Aspect, &str, &str)| Difference::of(what, ours, theirs);
    assert_eq!(
        told.differences,
        [
            (Aspect::Protocol, "1 to 2", "3"),
            (Aspect::Features, "load, resume", "load"),
            (Aspect::Version, "3.27.1", "3.19.4, 3.20.1"),
            (Aspect::Schema, "aa", "b\\nb of 3.19.4"),
            (Aspect::Pipes, "as from 3.24.1 on", "as before 3.19.5"),
        ]
        .map(all)
    );
    assert!(
        told.message.starts_with("agent ws://a does not fit: protocol: here 1 to 2, there 3 (")
    );
    for Difference { ours, theirs, why, what } in &told.differences {
        let text = format!("{}: here {ours}, there {theirs} ({why})", what.name());
        assert!(told.message.contains(&text), "{} has no {text}", told.message);
    }
}

#[test]
fn a_fitting_worker_does_not_make_up_for_the_rest() {
    let offers = [Offer { version: "3.27.1", schema: Some("aa") }];
    let theirs = Theirs { protocol: Some(9), features: Some(&[]), offers: &offers };
    let differences = check(&OURS, &theirs).expect_err("nothing fits");
    let names: Vec<_> = differences.iter().map(|one| one.what).collect();
    assert_eq!(names, [Aspect::Protocol, Aspect::Features]);
    assert_eq!(differences[1].theirs, "none");
}

#[test]
fn pipes_changed_with_these_versions() {
    for (version, generation) in [
        ("3.0.0", Some(0)),
        ("3.19.4", Some(0)),
        ("3.19.5", Some(1)),
        ("3.19.17", Some(2)),
        ("3.20.5", Some(3)),
        ("3.20.6-rc.1", Some(4)),
        ("3.21.9", Some(4)),
        ("3.23.1", Some(5)),
        ("3.24.0", Some(6)),
        ("3.24.1", Some(7)),
        ("3.27.1", Some(7)),
        ("4.0.0", Some(7)),
        ("3.27", None),
        ("latest", None),
        ("", None),
    ] {
        assert_eq!(pipe_generation(version), generation, "{version}");
    }
}

#[test]
fn other_versions_of_unknown_kind_are_not_taken_for_the_same() {
    let ours = Ours { version: "next", level: Level::Pipes, ..OURS };
    let offers = [Offer { version: "canary", schema: Some("aa") }];
    let theirs = Theirs { protocol: None, features: None, offers: &offers };
    let differences = check(&ours, &theirs).expect_err("nobody knows");
    assert_eq!(differences.last().map(|one| one.what), Some(Aspect::Pipes));
}

#[test]
fn the_documented_table_is_this_one() {
    let page = include_str!("../../docs/compatibility.md");
    for aspect in Aspect::ALL {
        let cells = Level::NAMED.map(|(_, level)| if aspect.counts(level) { "yes" } else { "no" });
        let row = format!("| {} | {} | {} |", aspect.name(), cells.join(" | "), aspect.why());
        assert!(page.contains(&row), "docs/compatibility.md has no row {row}");
        let told = serde_json::to_value(aspect).expect("a word");
        assert_eq!(told, aspect.name());
    }
    let levels = Level::NAMED.map(|(name, _)| format!("`{name}`")).join(" | ");
    assert!(page.contains(&format!("| differs | {levels} | why it matters |")));
    let changes = PIPE_CHANGES.map(version_text).join(", ");
    assert!(page.contains(&changes), "docs/compatibility.md does not list {changes}");
    assert!(page.contains(&format!("`{}`", FEATURES.join("`, `"))), "features");
}
