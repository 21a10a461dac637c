//! Bodies of messages as trees, so that any two of them can be compared field by field. What one
//! run draws by lot is masked here and nowhere else.

use std::fmt::{self, Display};

/// A value as its `Debug` form shows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    Atom(String),
    List(Vec<Value>),
    /// A struct, or a tuple whose fields are numbered.
    Fields(String, Vec<(String, Value)>),
}

/// Ports, keys, names and clocks that differ from run to run.
const BY_LOT: [&str; 14] = [
    "port",
    "local_port",
    "username_fragment",
    "password",
    "key_base64",
    "fingerprints",
    "timestamp",
    "pid",
    "foundation",
    "priority",
    "tuple_hash",
    "local_ice_username_fragment",
    "ice_local_ui",
    "buffered_amount",
];

/// Lists that have the order of a hash table in a worker.
const ORDER_FREE: [&str; 20] = [
    "subchannels",
    "web_rtc_server_ids",
    "router_ids",
    "channel_request_handlers",
    "channel_notification_handlers",
    "transport_ids",
    "rtp_observer_ids",
    "map_producer_id_consumer_ids",
    "map_consumer_id_producer_id",
    "map_producer_id_observer_ids",
    "map_data_producer_id_data_consumer_ids",
    "map_data_consumer_id_data_producer_id",
    "values",
    "web_rtc_transport_ids",
    "local_ice_username_fragments",
    "producer_ids",
    "consumer_ids",
    "data_producer_ids",
    "data_consumer_ids",
    "map_ssrc_consumer_id",
];

impl Value {
    /// Reads a `Debug` form.
    pub fn parse(text: &str) -> Self {
        let mut parser = Parser { rest: text };
        parser.value().masked("")
    }

    fn masked(self, field: &str) -> Self {
        match self {
            // A consumer's priority is the app's, a candidate's is not.
            Self::Fields(name, fields) => {
                let own = name == "BaseConsumerDump" || name == "SetPriorityResponse";
                let fields = fields.into_iter().map(|(field, value)| {
                    let by_lot = BY_LOT.contains(&field.as_str())
                        || field.starts_with("ru_")
                        || field.ends_with("recv_bitrate")
                        || field.ends_with("send_bitrate");
                    let value = if by_lot && !own {
                        Self::Atom("_".to_owned())
                    } else {
                        value.masked(&field)
                    };
                    (field, value)
                });
                Self::Fields(name, fields.collect())
            }
            Self::List(values) => {
                let mut values: Vec<_> = values.into_iter().map(|one| one.masked("")).collect();
                if ORDER_FREE.contains(&field) || field.ends_with("_table") {
                    values.sort();
                }
                Self::List(values)
            }
            Self::Atom(_) => self,
        }
    }

    /// Calls back with the path and both sides of all that differs.
    pub fn differences(&self, other: &Self, path: &str, found: &mut Vec<(String, String)>) {
        match (self, other) {
            (Self::Fields(name, mine), Self::Fields(other_name, theirs))
                if name == other_name
                    && mine.iter().map(|(field, _)| field).eq(theirs.iter().map(|(f, _)| f)) =>
            {
                for ((field, mine), (_, theirs)) in mine.iter().zip(theirs) {
                    let dot = if path.is_empty() { "" } else { "." };
                    mine.differences(theirs, &format!("{path}{dot}{field}"), found);
                }
            }
            (Self::List(mine), Self::List(theirs)) if mine.len() == theirs.len() => {
                for (mine, theirs) in mine.iter().zip(theirs) {
                    mine.differences(theirs, path, found);
                }
            }
            _ if self == other => {}
            _ => found.push((path.to_owned(), format!("plain {self}, ours {other}"))),
        }
    }
}

impl Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Atom(atom) => f.write_str(atom),
            Self::List(values) => {
                f.write_str("[")?;
                for (index, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
            Self::Fields(name, fields) => {
                write!(f, "{name}{{")?;
                for (index, (field, value)) in fields.iter().enumerate() {
                    write!(f, "{}{field}: {value}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str("}")
            }
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, token: char) -> bool {
        self.space();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn word(&mut self) -> String {
        self.space();
        let bytes = self.rest.as_bytes();
        let quoted = bytes.first() == Some(&b'"');
        let mut end = usize::from(quoted);
        while let Some(letter) = bytes.get(end) {
            match letter {
                b'\\' if quoted => end += 1,
                b'"' if quoted => {
                    end += 1;
                    break;
                }
                b'{' | b'}' | b'[' | b']' | b'(' | b')' | b',' | b':' | b' ' if !quoted => break,
                _ => {}
            }
            end += 1;
        }
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word.to_owned()
    }

    fn value(&mut self) -> Value {
        if self.eat('[') {
            let mut values = Vec::new();
            while !self.eat(']') {
                values.push(self.value());
                self.eat(',');
            }
            return Value::List(values);
        }
        let name = self.word();
        if self.eat('{') {
            let mut fields = Vec::new();
            while !self.eat('}') {
                let field = self.word();
                self.eat(':');
                fields.push((field, self.value()));
                self.eat(',');
            }
            return Value::Fields(name, fields);
        }
        if self.eat('(') {
            let mut fields = Vec::new();
            while !self.eat(')') {
                fields.push((String::new(), self.value()));
                self.eat(',');
            }
            // What wraps one value says nothing.
            return match fields.len() {
                1 => fields.remove(0).1,
                _ => Value::Fields(name, fields),
            };
        }
        Value::Atom(name)
    }
}

#[test]
fn values_are_taken_from_debug_forms() {
    let text = Some(vec![("a \"quoted, [text]", 1), ("b", 2)]);
    let value = Value::parse(&format!("{text:?}"));
    assert_eq!(value.to_string(), r#"[{: "a \"quoted, [text]", : 1}, {: "b", : 2}]"#);
}
