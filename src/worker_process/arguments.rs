//! Which arguments may reach a worker, and the ports that it may use.

use crate::connection::SpawnError;

/// The most arguments of one worker.
const COUNT_MAX: usize = 64;

/// The longest argument.
const LENGTH_MAX: usize = 16 * 1024;

const MIN_PORT: &str = "--rtcMinPort=";
const MAX_PORT: &str = "--rtcMaxPort=";

/// Options that may pass. The two DTLS files are missing: they travel as content, and a path that
/// came over a wire must not name a file of this host.
const PASSABLE: [&str; 5] =
    ["--logLevel=", "--logTag=", MIN_PORT, MAX_PORT, "--libwebrtcFieldTrials="];

/// Checks the arguments that mediasoup made and keeps the ports inside the host's range. Values
/// are not judged otherwise: the worker itself answers bad ones with exit code 42.
pub fn check(args: &[String], port_range: Option<(u16, u16)>) -> Result<Vec<String>, SpawnError> {
    if args.len() > COUNT_MAX {
        return Err(SpawnError::WrongSettings(format!(
            "{} worker arguments, at most {COUNT_MAX} are allowed",
            args.len()
        )));
    }
    let mut refused = Vec::new();
    for arg in args {
        if !PASSABLE.iter().any(|option| arg.starts_with(option)) {
            refused.push(format!("{:?} is not one that may pass", shorten(arg)));
        } else if arg.len() > LENGTH_MAX {
            refused.push(format!("{:?} is longer than {LENGTH_MAX} bytes", shorten(arg)));
        } else if arg.contains('\0') {
            refused.push(format!("{:?} has a zero byte", shorten(arg)));
        }
    }
    if refused.is_empty() {
        Ok(port_range.map_or_else(|| args.to_vec(), |range| within(args, range)))
    } else {
        Err(SpawnError::WrongSettings(format!(
            "worker arguments were refused: {}; allowed are {} and the two DTLS files as content",
            refused.join(", "),
            PASSABLE.map(|option| option.trim_end_matches('=')).join(" "),
        )))
    }
}

fn shorten(arg: &str) -> String {
    arg.chars().take(80).collect()
}

fn within(args: &[String], (low, high): (u16, u16)) -> Vec<String> {
    // As in the worker, the last one counts.
    let last = |option: &str| args.iter().rev().find_map(|arg| arg.strip_prefix(option));
    let (asked_min, asked_max) = (last(MIN_PORT), last(MAX_PORT));
    let min = asked_min.map_or(Some(low), |text| text.parse().ok());
    let max = asked_max.map_or(Some(high), |text| text.parse().ok());
    let (Some(min), Some(max)) = (min, max) else {
        return args.to_vec();
    };
    if asked_min.is_some() && asked_max.is_some() && min > max {
        return args.to_vec();
    }
    let (from, to) = (min.max(low), max.min(high));
    let (from, to) = if from > to { (low, high) } else { (from, to) };
    args.iter()
        .filter(|arg| !arg.starts_with(MIN_PORT) && !arg.starts_with(MAX_PORT))
        .cloned()
        .chain([format!("{MIN_PORT}{from}"), format!("{MAX_PORT}{to}")])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    fn refusal(texts: &[&str]) -> String {
        match check(&args(texts), None) {
            Err(SpawnError::WrongSettings(text)) => text,
            other => panic!("must be refused, was {other:?}"),
        }
    }

    #[test]
    fn passes_what_mediasoup_makes() {
        let given = args(&["--logLevel=debug", "--logTag=ice", "--logTag=rtp", "--rtcMinPort=1"]);
        assert_eq!(check(&given, None), Ok(given.clone()));
        let odd = args(&["--logLevel=chicken", "--rtcMinPort=", "--libwebrtcFieldTrials=a=b/"]);
        assert_eq!(check(&odd, None), Ok(odd.clone()), "the worker answers bad values");
    }

    #[test]
    fn names_what_it_refuses() {
        let text = refusal(&["--logLevel=warn", "--exec=/bin/sh", "/etc/passwd"]);
        assert!(text.contains("--exec=/bin/sh") && text.contains("/etc/passwd"), "{text}");
        assert!(!text.contains("--logLevel=warn"), "{text}");
        assert!(refusal(&["--logLevel"]).contains("--logLevel"));
        assert!(refusal(&["--dtlsCertificateFile=/etc/shadow"]).contains("shadow"));
    }

    #[test]
    fn limits_number_and_length() {
        let many: Vec<_> = (0..65).map(|_| "--logTag=ice").collect();
        assert!(refusal(&many).contains("65"));
        let long = format!("--libwebrtcFieldTrials={}", "x".repeat(LENGTH_MAX));
        assert!(refusal(&[&long]).contains("longer"));
        assert!(refusal(&["--logTag=a\0b"]).contains("zero byte"));
    }

    #[test]
    fn keeps_ports_inside_the_range_of_the_host() {
        let host = Some((40000, 41000));
        let ports = |given: &[&str]| check(&args(given), host).expect("passes").join(" ");
        let (min, max) = ("--rtcMinPort", "--rtcMaxPort");
        assert_eq!(ports(&[]), format!("{min}=40000 {max}=41000"));
        assert_eq!(
            ports(&["--rtcMinPort=40500", "--logTag=ice", "--rtcMaxPort=50000"]),
            format!("--logTag=ice {min}=40500 {max}=41000")
        );
        assert_eq!(ports(&["--rtcMaxPort=40010"]), format!("{min}=40000 {max}=40010"));
        assert_eq!(
            ports(&["--rtcMinPort=2000", "--rtcMaxPort=3000"]),
            format!("{min}=40000 {max}=41000"),
            "nothing in common"
        );
        assert_eq!(ports(&["--rtcMinPort=60000"]), format!("{min}=40000 {max}=41000"));
        assert_eq!(
            ports(&["--rtcMinPort=1", "--rtcMinPort=40001"]),
            format!("{min}=40001 {max}=41000"),
            "the last one counts"
        );
    }

    #[test]
    fn leaves_ports_to_the_worker_that_it_will_refuse() {
        for given in [
            args(&["--rtcMinPort=2000", "--rtcMaxPort=1000"]),
            args(&["--rtcMinPort=foo"]),
            args(&["--rtcMaxPort=70000"]),
        ] {
            assert_eq!(check(&given, Some((40000, 41000))), Ok(given.clone()));
        }
    }
}
