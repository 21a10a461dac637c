//! A worker's settings: its command line, and what `updateSettings` changes.

use crate::connection::DtlsFiles;

/// Names that the worker's option parser knows. Like getopt it takes unambiguous beginnings:
/// mediasoup itself says `--logTag`.
const OPTIONS: [&str; 7] = [
    "logLevel",
    "logTags",
    "rtcMinPort",
    "rtcMaxPort",
    "dtlsCertificateFile",
    "dtlsPrivateKeyFile",
    "libwebrtcFieldTrials",
];

/// Tags in the order in which the worker prints them. It ignores others.
const TAGS: [&str; 13] = [
    "info",
    "ice",
    "dtls",
    "rtp",
    "srtp",
    "rtcp",
    "rtx",
    "bwe",
    "score",
    "simulcast",
    "svc",
    "sctp",
    "message",
];

/// How much a worker logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    None,
    Error,
    Warn,
    Debug,
}

impl LogLevel {
    /// The name as the settings write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Debug => "debug",
        }
    }
}

/// Settings that the worker refuses: it ends with code 42.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    #[error("invalid value '{0}' for logLevel")]
    LogLevel(String),
    #[error("missing value in command line argument in option '{0}'")]
    MissingValue(String),
    #[error("unknown long option given as argument")]
    UnknownOption,
    #[error("stoi")]
    Number,
    #[error("rtcMaxPort cannot be less than rtcMinPort")]
    Ports,
    #[error("missing dtlsCertificateFile")]
    MissingCertificate,
    #[error("missing dtlsPrivateKeyFile")]
    MissingPrivateKey,
}

/// The settings of one worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub log_level: LogLevel,
    pub log_tags: Vec<&'static str>,
    pub rtc_min_port: u16,
    pub rtc_max_port: u16,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            log_level: LogLevel::Error,
            log_tags: Vec::new(),
            rtc_min_port: 10_000,
            rtc_max_port: 59_999,
        }
    }
}

impl Settings {
    /// Reads the command line as the worker does. The DTLS files count as given by content.
    pub fn parse(args: &[String], dtls: &DtlsFiles) -> Result<Self, SettingsError> {
        let mut settings = Self::default();
        let mut tags = Vec::new();
        let mut certificate = dtls.certificate.is_some();
        let mut private_key = dtls.private_key.is_some();
        for arg in args {
            // Anything that is no option is passed over.
            let Some(option) = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')) else {
                continue;
            };
            let (given, value) =
                option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)));
            let name = full_name(given)?;
            let value = value.ok_or_else(|| SettingsError::MissingValue(name.to_owned()))?;
            match name {
                "logLevel" => settings.set_log_level(value)?,
                "logTags" => tags.push(value.to_owned()),
                "rtcMinPort" => settings.rtc_min_port = port(value)?,
                "rtcMaxPort" => settings.rtc_max_port = port(value)?,
                "dtlsCertificateFile" => certificate |= !value.is_empty(),
                "dtlsPrivateKeyFile" => private_key |= !value.is_empty(),
                _ => {}
            }
        }
        if !tags.is_empty() {
            settings.set_log_tags(&tags);
        }
        if settings.rtc_max_port < settings.rtc_min_port {
            return Err(SettingsError::Ports);
        }
        match (certificate, private_key) {
            (true, false) => Err(SettingsError::MissingPrivateKey),
            (false, true) => Err(SettingsError::MissingCertificate),
            _ => Ok(settings),
        }
    }

    /// Sets the level by its name, in any case.
    pub fn set_log_level(&mut self, name: &str) -> Result<(), SettingsError> {
        let name = name.to_ascii_lowercase();
        self.log_level = [LogLevel::None, LogLevel::Error, LogLevel::Warn, LogLevel::Debug]
            .into_iter()
            .find(|level| level.name() == name)
            .ok_or(SettingsError::LogLevel(name))?;
        Ok(())
    }

    /// Replaces the tags.
    pub fn set_log_tags(&mut self, tags: &[String]) {
        self.log_tags = TAGS.into_iter().filter(|tag| tags.iter().any(|t| t == tag)).collect();
    }

    /// What the worker prints of them, if its level and tags ask for it.
    pub(super) fn printed(&self) -> Vec<String> {
        if self.log_level < LogLevel::Debug || !self.log_tags.contains(&"info") {
            return Vec::new();
        }
        [
            "<configuration>".to_owned(),
            format!("  logLevel: {}", self.log_level.name()),
            format!("  logTags: {}", self.log_tags.join(",")),
            format!("  rtcMinPort: {}", self.rtc_min_port),
            format!("  rtcMaxPort: {}", self.rtc_max_port),
            "</configuration>".to_owned(),
        ]
        .map(|line| format!("DSettings::PrintConfiguration() | {line}"))
        .into()
    }
}

fn full_name(given: &str) -> Result<&'static str, SettingsError> {
    if let Some(exact) = OPTIONS.into_iter().find(|option| *option == given) {
        return Ok(exact);
    }
    let mut fitting = OPTIONS.into_iter().filter(|option| option.starts_with(given));
    match (fitting.next(), fitting.next()) {
        (Some(option), None) if !given.is_empty() => Ok(option),
        _ => Err(SettingsError::UnknownOption),
    }
}

/// Reads a number as C does (blanks, a sign, digits, anything after) and cuts it to 16 bits.
fn port(text: &str) -> Result<u16, SettingsError> {
    let text = text.trim_start();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let number: i32 = digits[..end].parse().map_err(|_| SettingsError::Number)?;
    let low = (sign * i64::from(number)).rem_euclid(1 << 16);
    u16::try_from(low).map_err(|_| SettingsError::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Settings, SettingsError> {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        Settings::parse(&args, &DtlsFiles::default())
    }

    #[test]
    fn reads_what_mediasoup_passes() {
        let settings = parse(&[
            "--logLevel=Debug",
            "--logTag=rtp",
            "--logTag=info",
            "--logTag=nonsense",
            "--rtcMinPort=2000",
            "--rtcMaxPort=2010",
            "--libwebrtcFieldTrials=X",
        ])
        .expect("good settings");
        assert_eq!(settings.log_level, LogLevel::Debug);
        assert_eq!(settings.log_tags, ["info", "rtp"]);
        assert_eq!((settings.rtc_min_port, settings.rtc_max_port), (2000, 2010));
    }

    #[test]
    fn refuses_what_the_worker_refuses() {
        assert_eq!(
            parse(&["--logLevel=chicken"]),
            Err(SettingsError::LogLevel("chicken".to_owned()))
        );
        assert_eq!(parse(&["--rtcMinPort=1000", "--rtcMaxPort=999"]), Err(SettingsError::Ports));
        assert_eq!(parse(&["--rtcMinPort=x"]), Err(SettingsError::Number));
        assert_eq!(parse(&["--log=debug"]), Err(SettingsError::UnknownOption));
        assert_eq!(parse(&["--logLevel"]), Err(SettingsError::MissingValue("logLevel".to_owned())));
        assert_eq!(parse(&["--dtlsCertificateFile=a.pem"]), Err(SettingsError::MissingPrivateKey));
        let only_key = DtlsFiles { certificate: None, private_key: Some("a key".to_owned()) };
        assert_eq!(Settings::parse(&[], &only_key), Err(SettingsError::MissingCertificate));
    }
}
