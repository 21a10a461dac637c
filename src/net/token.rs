//! Tokens: what lets a controller in.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// A secret. Neither `Debug` nor any error shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// Why a text cannot be a token. Never quotes the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    #[error("the token is empty")]
    Empty,
    #[error("the token has a character that an HTTP header cannot carry (only visible ASCII)")]
    Character,
    #[error("the token is longer than 4096 characters")]
    TooLong,
}

impl Token {
    /// Takes the text without the white space around it, since tokens come from files.
    pub fn new(text: &str) -> Result<Self, InvalidToken> {
        let text = text.trim();
        if text.is_empty() {
            return Err(InvalidToken::Empty);
        }
        if text.len() > 4096 {
            return Err(InvalidToken::TooLong);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidToken::Character);
        }
        Ok(Self(text.to_owned()))
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(hidden)")
    }
}

/// The tokens that an agent takes: several, so that they can be changed without an outage.
#[derive(Debug, Clone, Default)]
pub struct Tokens(Vec<Token>);

impl Tokens {
    pub fn new(tokens: Vec<Token>) -> Self {
        Self(tokens)
    }

    /// Reads one token a line; `#` starts a comment line.
    pub fn parse(text: &str) -> Result<Self, (usize, InvalidToken)> {
        let mut tokens = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                tokens.push(Token::new(line).map_err(|problem| (index + 1, problem))?);
            }
        }
        Ok(Self(tokens))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn first(&self) -> Option<&Token> {
        self.0.first()
    }

    pub fn extend(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    /// Whether the text is one of the tokens. Takes as long for a wrong text as for a right one:
    /// digests of equal length are compared, all of them, to the end.
    pub fn accept(&self, text: &str) -> bool {
        let digest = Sha256::digest(text.as_bytes());
        let found = self.0.iter().fold(Choice::from(0), |found, token| {
            found | Sha256::digest(token.0.as_bytes()).as_slice().ct_eq(digest.as_slice())
        });
        found.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_any_of_several_tokens() {
        let tokens = Tokens::parse("# old\nfirst\n\n  second  \n").expect("valid");
        assert!(tokens.accept("first") && tokens.accept("second"));
        assert!(!tokens.accept("") && !tokens.accept("firs") && !tokens.accept("# old"));
        assert!(!Tokens::default().accept(""));
    }

    #[test]
    fn refuses_what_no_header_carries_and_never_quotes_it() {
        assert_eq!(Token::new(" \n"), Err(InvalidToken::Empty));
        let (line, problem) = Tokens::parse("good\nba d").expect_err("a space inside");
        assert_eq!((line, &problem), (2, &InvalidToken::Character));
        assert!(!problem.to_string().contains("ba d"));
        let token = Token::new("secret").expect("valid");
        assert!(!format!("{token:?} {:?}", Tokens::new(vec![token.clone()])).contains("secret"));
    }
}
