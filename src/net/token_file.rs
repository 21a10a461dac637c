//! A file with tokens, read again when it changes.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{
    FileProblem, InvalidToken, Token, Tokens,
    reread::{Files, Reread},
    small_file::SmallFile,
};

/// Why a token file cannot be used. Never quotes a token.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    #[error("cannot read the token file {}: {problem}", path.display())]
    Unreadable { path: PathBuf, problem: FileProblem },
    #[error("token file {}: it is not text", .0.display())]
    NoText(PathBuf),
    #[error("token file {}, line {line}: {problem}", path.display())]
    Line { path: PathBuf, line: usize, problem: InvalidToken },
    #[error("token file {} has no token in it", .0.display())]
    Empty(PathBuf),
}

/// A file with one token a line; `#` starts a comment line.
#[derive(Clone)]
pub struct TokenFile(Arc<Reread<OneFile>>);

struct OneFile(PathBuf);

impl TokenFile {
    /// Reads it at once, so that a mistake is told early, and later at most once per `pace`.
    pub fn open(path: PathBuf, pace: Duration) -> Result<Self, TokenFileError> {
        let reread = Reread::open(OneFile(path), pace)?;
        let OneFile(path) = reread.files();
        if let Err(problem) = read(path)?.private() {
            tracing::warn!(path = %path.display(), %problem, "the token file is not private");
        }
        Ok(Self(Arc::new(reread)))
    }

    /// All of them.
    pub fn tokens(&self) -> Tokens {
        self.0.current()
    }

    /// The one to show to others: the first.
    pub fn first(&self) -> Option<Token> {
        self.0.current().first().cloned()
    }
}

impl fmt::Debug for TokenFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "TokenFile({})", self.0.files().0.display())
    }
}

impl Files for OneFile {
    type Made = Tokens;
    type Problem = TokenFileError;

    fn read(&self) -> Result<Vec<Vec<u8>>, TokenFileError> {
        Ok(vec![read(&self.0)?.bytes])
    }

    fn make(&self, contents: &[Vec<u8>]) -> Result<Tokens, TokenFileError> {
        let path = || self.0.clone();
        let text = std::str::from_utf8(&contents.concat())
            .map(str::to_owned)
            .map_err(|_| TokenFileError::NoText(path()))?;
        let tokens = Tokens::parse(&text).map_err(|(line, problem)| TokenFileError::Line {
            path: path(),
            line,
            problem,
        })?;
        if tokens.is_empty() { Err(TokenFileError::Empty(path())) } else { Ok(tokens) }
    }
}

fn read(path: &Path) -> Result<SmallFile, TokenFileError> {
    let failed = |problem| TokenFileError::Unreadable { path: path.to_owned(), problem };
    SmallFile::read(path).map_err(failed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    #[test]
    fn follows_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        fs::write(&path, "# spring\nfirst\nsecond\n").unwrap();
        let file = TokenFile::open(path.clone(), Duration::ZERO).unwrap();
        assert!(file.tokens().accept("first") && file.tokens().accept("second"));
        assert_eq!(file.first(), Some(Token::new("first").unwrap()));
        assert!(!format!("{file:?}").contains("first"));
        fs::write(&path, "third\n").unwrap();
        assert!(file.tokens().accept("third") && !file.tokens().accept("first"));
        // Nobody is locked out, nor let in, while there is nothing usable.
        for unusable in [&b""[..], b"# none\n", b"two words\n", b"\xff\xfe\n"] {
            fs::write(&path, unusable).unwrap();
            assert!(file.tokens().accept("third") && !file.tokens().accept(""));
        }
        fs::remove_file(&path).unwrap();
        assert!(file.tokens().accept("third"));
    }

    #[test]
    fn says_what_is_wrong_without_the_tokens() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        for (content, words) in [
            (&b"# none yet\n"[..], "has no token in it"),
            (b"good\nhush hush\n", "line 2: the token has a character"),
            (b"hush\xff\n", "it is not text"),
        ] {
            fs::write(&path, content).unwrap();
            let error = TokenFile::open(path.clone(), Duration::ZERO).unwrap_err().to_string();
            assert!(error.contains(words) && !error.contains("hush"), "{error}");
        }
    }
}
