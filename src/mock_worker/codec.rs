//! The codecs that a worker knows.

use super::refusal::Refusal;
use crate::channel::fbs::rtp_parameters::Type;

/// What a codec is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Media,
    Complementary,
    Feature,
}

const SUBTYPES: [(&str, Role); 19] = [
    ("opus", Role::Media),
    ("multiopus", Role::Media),
    ("PCMA", Role::Media),
    ("PCMU", Role::Media),
    ("ISAC", Role::Media),
    ("G722", Role::Media),
    ("iLBC", Role::Media),
    ("SILK", Role::Media),
    ("VP8", Role::Media),
    ("VP9", Role::Media),
    ("H264", Role::Media),
    ("AV1", Role::Media),
    ("CN", Role::Complementary),
    ("telephone-event", Role::Complementary),
    ("rtx", Role::Feature),
    ("ulpfec", Role::Feature),
    ("flexfec", Role::Feature),
    ("x-ulpfecuc", Role::Feature),
    ("red", Role::Feature),
];

/// A codec's MIME type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mime {
    pub video: bool,
    pub subtype: &'static str,
    pub role: Role,
}

impl Mime {
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let (kind, subtype) = text
            .split_once('/')
            .filter(|(kind, subtype)| !kind.is_empty() && !subtype.is_empty())
            .ok_or_else(|| Refusal::type_error("wrong codec MIME"))?;
        let kind = kind.to_ascii_lowercase();
        let video = match kind.as_str() {
            "audio" => false,
            "video" => true,
            _ => return Err(Refusal::type_error(format!("unknown codec MIME type '{kind}'"))),
        };
        let (subtype, role) = SUBTYPES
            .into_iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(subtype))
            .ok_or_else(|| {
                Refusal::type_error(format!(
                    "unknown codec MIME subtype '{}'",
                    subtype.to_ascii_lowercase()
                ))
            })?;
        Ok(Self { video, subtype, role })
    }

    /// The name as the worker writes it.
    pub fn name(self) -> String {
        self.with_subtype(self.subtype)
    }

    /// The name of the RTX codec that goes with it.
    pub fn rtx_name(self) -> String {
        self.with_subtype("rtx")
    }

    fn with_subtype(self, subtype: &str) -> String {
        format!("{}/{subtype}", if self.video { "video" } else { "audio" })
    }

    /// Whether streams of that type can have this codec.
    pub fn supports(self, stream_type: Type) -> bool {
        match stream_type {
            Type::Simple | Type::Pipe => true,
            Type::Simulcast => self.video && ["VP8", "H264"].contains(&self.subtype),
            Type::Svc => self.video && ["VP8", "VP9", "H264", "AV1"].contains(&self.subtype),
        }
    }
}

/// The name of a stream type in error texts.
pub(super) fn type_name(stream_type: Type) -> &'static str {
    match stream_type {
        Type::Simple => "simple",
        Type::Simulcast => "simulcast",
        Type::Svc => "svc",
        Type::Pipe => "pipe",
    }
}
