//! RTP parameters, checked and completed as the worker does it.

use std::collections::BTreeSet;

use super::{
    codec::{Mime, Role},
    refusal::Refusal,
};
use crate::channel::fbs::rtp_parameters as fbs;

/// Checked parameters.
#[derive(Debug, Clone)]
pub(super) struct RtpParameters {
    /// As the worker gives them back in dumps.
    pub dump: fbs::RtpParameters,
    /// The codecs' MIME types, in the order of `dump.codecs`.
    pub mimes: Vec<Mime>,
    /// The encodings' layers, in the order of `dump.encodings`.
    pub layers: Vec<Layers>,
}

/// How many layers an encoding has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layers {
    pub spatial: u8,
    pub temporal: u8,
}

impl RtpParameters {
    pub fn parse(raw: fbs::RtpParameters) -> Result<Self, Refusal> {
        let mut mimes = Vec::with_capacity(raw.codecs.len());
        let mut codecs = Vec::with_capacity(raw.codecs.len());
        for codec in raw.codecs {
            let (mime, codec) = parse_codec(codec)?;
            mimes.push(mime);
            codecs.push(codec);
        }
        if codecs.is_empty() {
            return Err(Refusal::type_error("empty codecs"));
        }
        let (encodings, layers): (Vec<_>, Vec<_>) =
            raw.encodings.into_iter().map(parse_encoding).unzip();
        if encodings.is_empty() {
            return Err(Refusal::type_error("empty encodings"));
        }
        let mut header_extensions = raw.header_extensions;
        for extension in &mut header_extensions {
            if extension.id == 0 {
                return Err(Refusal::type_error("invalid id 0"));
            }
            extension.parameters = Some(kept(extension.parameters.take()));
        }
        match raw.rtcp.cname.as_deref() {
            None => return Err(Refusal::type_error("missing cname")),
            Some("") => return Err(Refusal::type_error("empty cname")),
            Some(_) => {}
        }
        let mut parameters = Self {
            dump: fbs::RtpParameters {
                mid: Some(raw.mid.unwrap_or_default()),
                codecs,
                header_extensions,
                encodings,
                rtcp: raw.rtcp,
                msid: Some(raw.msid.unwrap_or_default()),
            },
            mimes,
            layers,
        };
        parameters.check_codecs()?;
        parameters.complete_encodings()?;
        Ok(parameters)
    }

    fn check_codecs(&self) -> Result<(), Refusal> {
        let mut payload_types = BTreeSet::new();
        for (codec, mime) in self.dump.codecs.iter().zip(&self.mimes) {
            if !payload_types.insert(codec.payload_type) {
                return Err(Refusal::type_error("duplicated payloadType"));
            }
            if mime.subtype != "rtx" {
                continue;
            }
            let target = self
                .dump
                .codecs
                .iter()
                .position(|other| Some(i32::from(other.payload_type)) == apt(codec))
                .map(|index| self.mimes[index].subtype);
            let wrong = match target {
                None => "a non existing codec",
                Some("rtx") => "a RTX codec",
                Some("ulpfec") => "a ULPFEC codec",
                Some("flexfec") => "a FLEXFEC codec",
                Some(_) => continue,
            };
            return Err(Refusal::type_error(format!("apt in RTX codec points to {wrong}")));
        }
        Ok(())
    }

    /// Gives every encoding a codec.
    fn complete_encodings(&mut self) -> Result<(), Refusal> {
        let media = |payload_type| {
            self.dump
                .codecs
                .iter()
                .position(|codec| codec.payload_type == payload_type)
                .map(|index| self.mimes[index].role == Role::Media)
        };
        let first = self
            .mimes
            .iter()
            .position(|mime| mime.role == Role::Media)
            .map(|index| self.dump.codecs[index].payload_type)
            .ok_or_else(|| Refusal::type_error("no media codecs found"))?;
        let several = self.dump.encodings.len() > 1;
        let mut chosen = Vec::with_capacity(self.dump.encodings.len());
        for (encoding, layers) in self.dump.encodings.iter().zip(&self.layers) {
            if layers.spatial > 1 && several {
                return Err(Refusal::type_error(
                    "cannot use both simulcast and encodings with multiple SVC spatial layers",
                ));
            }
            let payload_type = encoding.codec_payload_type.unwrap_or(first);
            match media(payload_type) {
                Some(true) => chosen.push(payload_type),
                Some(false) => return Err(Refusal::type_error("invalid codecPayloadType")),
                None => return Err(Refusal::type_error("unknown codecPayloadType")),
            }
        }
        for (encoding, payload_type) in self.dump.encodings.iter_mut().zip(chosen) {
            encoding.codec_payload_type = Some(payload_type);
        }
        Ok(())
    }

    /// The codec of the encoding. Every checked encoding has one.
    pub fn codec_of(
        &self,
        encoding: &fbs::RtpEncodingParameters,
    ) -> Option<(&fbs::RtpCodecParameters, Mime)> {
        let index = self
            .dump
            .codecs
            .iter()
            .position(|codec| Some(codec.payload_type) == encoding.codec_payload_type)?;
        Some((&self.dump.codecs[index], self.mimes[index]))
    }

    /// The payload type of the RTX codec of the encoding, if there is one.
    pub fn rtx_payload_type(&self, encoding: &fbs::RtpEncodingParameters) -> Option<u8> {
        self.dump
            .codecs
            .iter()
            .zip(&self.mimes)
            .find(|(codec, mime)| {
                mime.role == Role::Feature
                    && apt(codec) == encoding.codec_payload_type.map(i32::from)
            })
            .map(|(codec, _)| codec.payload_type)
    }

    /// The codec of the first encoding.
    pub fn first_mime(&self) -> Option<Mime> {
        self.codec_of(self.dump.encodings.first()?).map(|(_, mime)| mime)
    }

    /// The type of a producer with these parameters.
    pub fn stream_type(&self) -> Option<fbs::Type> {
        if self.dump.encodings.len() > 1 {
            return Some(fbs::Type::Simulcast);
        }
        let layers = self.layers.first()?;
        if layers.spatial <= 1 && layers.temporal <= 1 {
            return Some(fbs::Type::Simple);
        }
        let mime = self.first_mime()?;
        [fbs::Type::Svc, fbs::Type::Simulcast].into_iter().find(|kind| mime.supports(*kind))
    }
}

/// The value of an integer parameter of a codec.
pub(super) fn integer(codec: &fbs::RtpCodecParameters, name: &str) -> Option<i32> {
    codec.parameters.iter().flatten().find(|parameter| parameter.name == name).and_then(
        |parameter| match &parameter.value {
            fbs::Value::Integer32(integer) => Some(integer.value),
            _ => None,
        },
    )
}

fn apt(codec: &fbs::RtpCodecParameters) -> Option<i32> {
    integer(codec, "apt")
}

/// The worker keeps the first parameter of each name, and its dumps forget booleans.
fn kept(parameters: Option<Vec<fbs::Parameter>>) -> Vec<fbs::Parameter> {
    let mut names = BTreeSet::new();
    let mut parameters = parameters.unwrap_or_default();
    parameters.retain(|parameter| {
        names.insert(parameter.name.clone()) && !matches!(parameter.value, fbs::Value::Boolean(_))
    });
    parameters
}

fn parse_codec(
    mut codec: fbs::RtpCodecParameters,
) -> Result<(Mime, fbs::RtpCodecParameters), Refusal> {
    let mime = Mime::parse(&codec.mime_type)?;
    codec.mime_type = mime.name();
    codec.channels = codec.channels.filter(|channels| *channels > 1);
    codec.parameters = Some(kept(codec.parameters.take()));
    let mut feedback = codec.rtcp_feedback.take().unwrap_or_default();
    for entry in &mut feedback {
        entry.parameter = entry.parameter.take().filter(|parameter| !parameter.is_empty());
    }
    codec.rtcp_feedback = Some(feedback);
    if mime.subtype == "rtx" && apt(&codec).is_none_or(|apt| apt < 0) {
        return Err(Refusal::type_error("missing apt parameter in RTX codec"));
    }
    Ok((mime, codec))
}

/// An encoding as the worker gives it back, and its layers.
pub(super) fn parse_encoding(
    raw: fbs::RtpEncodingParameters,
) -> (fbs::RtpEncodingParameters, Layers) {
    let layers = raw.scalability_mode.as_deref().and_then(parse_scalability_mode);
    let encoding = fbs::RtpEncodingParameters {
        ssrc: raw.ssrc.filter(|ssrc| *ssrc != 0),
        rid: raw.rid.filter(|rid| !rid.is_empty()),
        codec_payload_type: raw.codec_payload_type,
        rtx: raw.rtx,
        dtx: raw.dtx,
        scalability_mode: raw
            .scalability_mode
            .filter(|_| layers.is_some())
            .or_else(|| Some("S1T1".to_owned())),
        max_bitrate: None,
    };
    (encoding, layers.unwrap_or(Layers { spatial: 1, temporal: 1 }))
}

fn parse_scalability_mode(mode: &str) -> Option<Layers> {
    let rest = mode.strip_prefix(['L', 'S'])?;
    let (spatial, rest) = layer_count(rest)?;
    let (temporal, _) = layer_count(rest.strip_prefix('T')?)?;
    Some(Layers { spatial, temporal })
}

/// One or two digits, the first of them not 0.
fn layer_count(text: &str) -> Option<(u8, &str)> {
    let digits = text.bytes().take(2).take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(digits);
    Some((number.parse().ok().filter(|_| !number.starts_with('0'))?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_scalability_modes() {
        let layers = |spatial, temporal| Some(Layers { spatial, temporal });
        assert_eq!(parse_scalability_mode("L3T3_KEY"), layers(3, 3));
        assert_eq!(parse_scalability_mode("S1T10x"), layers(1, 10));
        for wrong in ["", "L", "L0T1", "L1", "L1T0", "X1T1", "L123T1"] {
            assert_eq!(parse_scalability_mode(wrong), None, "{wrong}");
        }
    }
}
