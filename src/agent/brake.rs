//! What slows down whoever guesses tokens or asks for workers without end.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::limits::{LimitExceeded, Limits};

/// So many addresses are remembered: the table itself must not be a way in.
const ADDRESSES: usize = 1024;

/// Within this time wrong tokens are counted together.
const WINDOW: Duration = Duration::from_secs(60);

/// Whoever has one IPv6 address has the 2^64 around it.
fn whole(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) => {
            let network = u128::from(six) >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from(network))
        }
        four @ IpAddr::V4(_) => four,
    }
}

struct Guesser {
    wrong: u32,
    since: Instant,
    refused_until: Option<Instant>,
}

impl Guesser {
    fn is_over(&self, now: Instant) -> bool {
        now >= self.refused_until.unwrap_or(self.since + WINDOW)
    }
}

/// Counts wrong tokens by address.
#[derive(Default)]
pub struct TokenBrake(Mutex<HashMap<IpAddr, Guesser>>);

impl TokenBrake {
    /// Whether that address may try now.
    pub fn check(&self, from: IpAddr, now: Instant, limits: &Limits) -> Result<(), LimitExceeded> {
        let table = self.0.lock();
        let until = table.get(&whole(from)).and_then(|guesser| guesser.refused_until);
        match until.and_then(|until| until.checked_duration_since(now)) {
            Some(retry_after) if !retry_after.is_zero() => {
                Err(LimitExceeded::WrongTokens { max: limits.wrong_tokens, retry_after })
            }
            _ => Ok(()),
        }
    }

    /// A wrong token came from there.
    pub fn wrong(&self, from: IpAddr, now: Instant, limits: &Limits) {
        let from = whole(from);
        let mut table = self.0.lock();
        if table.len() >= ADDRESSES && !table.contains_key(&from) {
            table.retain(|_, guesser| !guesser.is_over(now));
            let oldest = table.iter().min_by_key(|(_, guesser)| guesser.since);
            if let Some(oldest) = oldest.map(|(address, _)| *address)
                && table.len() >= ADDRESSES
            {
                table.remove(&oldest);
            }
        }
        let new = Guesser { wrong: 0, since: now, refused_until: None };
        let guesser = table.entry(from).or_insert(new);
        if guesser.is_over(now) {
            *guesser = Guesser { wrong: 0, since: now, refused_until: None };
        }
        guesser.wrong += 1;
        if guesser.wrong > limits.wrong_tokens {
            guesser.refused_until = Some(now + limits.refused_for);
        }
    }
}

/// Counts what is under way by address.
#[derive(Clone, Default)]
pub struct ByAddress(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One that is under way.
pub struct Counted {
    counts: ByAddress,
    from: IpAddr,
}

impl ByAddress {
    /// Counts one more from there, unless there are that many.
    pub fn one_more(&self, from: IpAddr, max: usize) -> Option<Counted> {
        let from = whole(from);
        let mut counts = self.0.lock();
        let count = counts.entry(from).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(Counted { counts: self.clone(), from })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.counts.0.lock();
        if let Some(count) = counts.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.from);
            }
        }
    }
}

/// So many at once, and so many a second in the long run.
#[derive(Debug)]
pub struct Bucket {
    burst: u32,
    per_second: u32,
    left: f64,
    at: Instant,
}

impl Bucket {
    pub fn new(burst: u32, per_second: u32, now: Instant) -> Self {
        Self { burst, per_second, left: f64::from(burst), at: now }
    }

    /// Takes one, or tells when there will be one.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        let rate = f64::from(self.per_second.max(1));
        self.left = (self.left + passed * rate).min(f64::from(self.burst.max(1)));
        if self.left >= 1.0 {
            self.left -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - self.left) / rate))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn limits() -> Limits {
        Limits { wrong_tokens: 3, refused_for: Duration::from_secs(30), ..Limits::default() }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_that_guesses_is_refused_for_a_while() {
        let (brake, limits, start) = (TokenBrake::default(), limits(), Instant::now());
        let (one, other) = (ip("192.0.2.1"), ip("192.0.2.2"));
        for _ in 0..3 {
            brake.wrong(one, start, &limits);
            assert_eq!(brake.check(one, start, &limits), Ok(()), "as many as may be wrong");
        }
        brake.wrong(one, start, &limits);
        let later = start + Duration::from_secs(20);
        let retry_after = Duration::from_secs(10);
        let refused = LimitExceeded::WrongTokens { max: 3, retry_after };
        assert_eq!(brake.check(one, later, &limits), Err(refused));
        assert_eq!(brake.check(ip("::ffff:192.0.2.1"), later, &limits), Err(refused), "the same");
        assert_eq!(brake.check(other, later, &limits), Ok(()));
        let over = start + Duration::from_secs(30);
        assert_eq!(brake.check(one, over, &limits), Ok(()));
        brake.wrong(one, over, &limits);
        assert_eq!(brake.check(one, over, &limits), Ok(()), "it starts anew");
    }

    #[test]
    fn a_mistake_now_and_then_is_no_guessing() {
        let (brake, limits, mut now) = (TokenBrake::default(), limits(), Instant::now());
        for _ in 0..50 {
            brake.wrong(ip("192.0.2.1"), now, &limits);
            assert_eq!(brake.check(ip("192.0.2.1"), now, &limits), Ok(()));
            now += Duration::from_secs(25);
        }
    }

    #[test]
    fn a_whole_network_of_ipv6_counts_as_one() {
        let (brake, limits, now) = (TokenBrake::default(), limits(), Instant::now());
        for number in 0..4 {
            brake.wrong(ip(&format!("2001:db8:1:2::{number}")), now, &limits);
        }
        assert!(brake.check(ip("2001:db8:1:2:ffff::9"), now, &limits).is_err());
        assert!(brake.check(ip("2001:db8:1:3::1"), now, &limits).is_ok());
    }

    #[test]
    fn the_table_is_bounded() {
        let (brake, limits, start) = (TokenBrake::default(), limits(), Instant::now());
        for number in 0..5000_u32 {
            let now = start + Duration::from_millis(number.into());
            brake.wrong(IpAddr::V4(number.into()), now, &limits);
            assert!(brake.0.lock().len() <= ADDRESSES);
        }
        let later = start + Duration::from_secs(600);
        brake.wrong(ip("192.0.2.1"), later, &limits);
        assert_eq!(brake.0.lock().len(), 1, "what is over goes first");
    }

    #[test]
    fn what_is_under_way_is_counted_by_address() {
        let counts = ByAddress::default();
        let kept: Vec<_> = (0..2).map(|_| counts.one_more(ip("192.0.2.1"), 2).unwrap()).collect();
        assert!(counts.one_more(ip("192.0.2.1"), 2).is_none());
        assert!(counts.one_more(ip("192.0.2.2"), 2).is_some());
        drop(kept);
        assert!(counts.one_more(ip("192.0.2.1"), 2).is_some());
        assert!(counts.0.lock().is_empty());
    }

    #[test]
    fn a_bucket_fills_as_fast_as_it_may() {
        let start = Instant::now();
        let mut bucket = Bucket::new(2, 10, start);
        assert_eq!([bucket.take(start), bucket.take(start)], [Ok(()), Ok(())]);
        assert_eq!(bucket.take(start), Err(Duration::from_millis(100)));
        assert_eq!(bucket.take(start + Duration::from_millis(100)), Ok(()));
        let later = start + Duration::from_secs(60);
        assert_eq!([bucket.take(later), bucket.take(later)], [Ok(()), Ok(())]);
        assert!(bucket.take(later).is_err(), "it never holds more than that");
    }
}
