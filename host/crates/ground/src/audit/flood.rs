//! Flood control: of the refusals of one kind that one user causes, the first in a period are logged and
//! the rest are counted.
//!
//! # What it prevents
//!
//! A user who causes many refusals must not fill the log, which would push out the lines of others, and
//! must not use up what others may log.
//!
//! # How
//!
//! Each user has an allowance for each kind, and so has each client without a user, by network. The
//! allowance begins with the first refusal and lasts a period. At its end, one line states how many
//! refusals were only counted. Beyond a number of allowances, further users share one, and so do further
//! clients. Clients and users never share, so that clients from many networks hide no user's lines.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::{Actor, Event, Line, MAX_NAME_BYTES, RefusalKind};
use crate::guard::Guard;
use crate::ip_network::network_of;
use crate::text::plain;

/// Lines of one kind that one user gets in a period; further refusals are counted.
pub(super) const MAX_LINES: usize = 10;
/// Duration of an allowance.
pub(super) const PERIOD: Duration = Duration::from_secs(600);
/// Time between two searches for allowances whose period is over.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Allowances of users and of the server at the same time.
const MAX_USERS: usize = 4096;
/// Allowances of clients without a user at the same time.
const MAX_CLIENTS: usize = 32;

/// What an allowance is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    kind: RefusalKind,
    holder: Holder,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Holder {
    /// The server itself, for each engine and each component file.
    Server {
        engine: String,
    },
    User(String),
    /// A network.
    Client(Option<IpAddr>),
    /// All further users.
    OtherUsers,
    /// All further clients.
    OtherClients,
}

#[derive(Debug)]
struct Allowance {
    began: Instant,
    logged: usize,
    /// Only counted.
    suppressed: u64,
}

/// The allowances that have begun.
#[derive(Debug, Default)]
pub(super) struct FloodControl {
    allowances: HashMap<Key, Allowance>,
    users: usize,
    clients: usize,
    checked: Option<Instant>,
}

impl FloodControl {
    /// True if the refusal is logged, false if it is only counted.
    pub(super) fn admits(&mut self, event: &Event<'_>, now: Instant) -> bool {
        let key = self.key_of(event);
        let allowance = self.allowances.entry(key).or_insert_with_key(|key| {
            match key.holder {
                Holder::Client(_) => self.clients += 1,
                Holder::Server { .. } | Holder::User(_) => self.users += 1,
                Holder::OtherUsers | Holder::OtherClients => {}
            }
            Allowance {
                began: now,
                logged: 0,
                suppressed: 0,
            }
        });
        let is_logged = allowance.logged < Guard::AuditLines.limit(MAX_LINES);
        if is_logged {
            allowance.logged += 1;
        } else {
            allowance.suppressed += 1;
        }
        is_logged
    }

    fn key_of(&self, event: &Event<'_>) -> Key {
        let name = |text: &str| plain(text, MAX_NAME_BYTES);
        let own = Key {
            kind: event.kind,
            holder: match event.actor {
                Actor::Server => Holder::Server {
                    engine: name(event.engine),
                },
                Actor::User(id) => Holder::User(name(id)),
                Actor::Client(ip) => Holder::Client(ip.map(network_of)),
            },
        };
        let (count, max, shared) = match own.holder {
            Holder::Client(_) => (self.clients, MAX_CLIENTS, Holder::OtherClients),
            _ => (self.users, MAX_USERS, Holder::OtherUsers),
        };
        if count >= max && !self.allowances.contains_key(&own) {
            return Key {
                holder: shared,
                ..own
            };
        }
        own
    }

    /// Ends the allowances whose period is over. Returns a summary of each with suppressed refusals.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<Line> {
        let is_early = |checked| now.duration_since(checked) < CHECK_INTERVAL;
        if self.checked.is_some_and(is_early) {
            return Vec::new();
        }
        self.checked = Some(now);
        self.take_summaries(|allowance| now.duration_since(allowance.began) >= PERIOD)
    }

    /// Ends all allowances. Returns a summary of each with suppressed refusals.
    pub(super) fn summaries(&mut self) -> Vec<Line> {
        self.take_summaries(|_| true)
    }

    fn take_summaries(&mut self, has_ended: impl Fn(&Allowance) -> bool) -> Vec<Line> {
        let mut lines = Vec::new();
        let ended = self.allowances.extract_if(|_, it| has_ended(it));
        for (key, allowance) in ended {
            match key.holder {
                Holder::Client(_) => self.clients -= 1,
                Holder::Server { .. } | Holder::User(_) => self.users -= 1,
                Holder::OtherUsers | Holder::OtherClients => {}
            }
            lines.extend(summarize(&key, allowance.suppressed));
        }
        lines
    }
}

/// The summary of suppressed refusals.
fn summarize(key: &Key, suppressed: u64) -> Option<Line> {
    let count = match suppressed {
        0 => return None,
        1 => "and 1 more of this kind".to_owned(),
        more => format!("and {more} more of this kind"),
    };
    let (actor, engine, whose) = match &key.holder {
        Holder::Server { engine } => (Actor::Server, engine.as_str(), ""),
        Holder::User(id) => (Actor::User(id), "", ""),
        Holder::Client(ip) => (Actor::Client(*ip), "", ""),
        Holder::OtherUsers => (Actor::Server, "", ", by other users"),
        Holder::OtherClients => (Actor::Server, "", ", by other clients"),
    };
    Some(Line::new(&Event {
        kind: key.kind,
        guard: None,
        actor,
        engine,
        job: "",
        message: &format!("{count}{whose}"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event<'a>(kind: RefusalKind, actor: Actor<'a>, job: &'a str) -> Event<'a> {
        Event {
            kind,
            guard: None,
            actor,
            engine: "hostile",
            job,
            message: "refused",
        }
    }

    fn address(user: &str) -> Event<'_> {
        event(RefusalKind::Address, Actor::User(user), "1")
    }

    fn messages(lines: &[Line]) -> Vec<(&str, &str)> {
        let entries = lines.iter().map(|line| &line.entry);
        entries
            .map(|entry| (entry.user.as_str(), entry.message.as_str()))
            .collect()
    }

    #[test]
    fn flood_control_logs_first_refusals_of_a_user_and_counts_the_rest() {
        let (mut flood, start) = (FloodControl::default(), Instant::now());
        let jobs: Vec<String> = (0..1000).map(|job: u32| job.to_string()).collect();
        let logged = jobs
            .iter()
            .filter(|job| {
                let event = event(RefusalKind::Address, Actor::User("ada"), job);
                flood.admits(&event, start)
            })
            .count();
        assert_eq!(logged, MAX_LINES);
        // Other users and kinds are not affected.
        assert!(flood.admits(&address("eve"), start));
        assert!(flood.admits(&event(RefusalKind::Limit, Actor::User("ada"), "1"), start));
        assert!(flood.expired(start).is_empty());

        let later = start + PERIOD;
        let lines = flood.expired(later);
        assert_eq!(messages(&lines), [("ada", "and 990 more of this kind")]);
        assert!(flood.expired(later + PERIOD).is_empty());
        assert!(flood.allowances.is_empty() && flood.users == 0);
        assert!(flood.admits(&address("ada"), later));
    }

    #[test]
    fn flood_control_limits_an_endless_flood_in_each_period() {
        let (mut flood, start) = (FloodControl::default(), Instant::now());
        let mut lines = 0;
        for second in 0..10 * PERIOD.as_secs() {
            let now = start + Duration::from_secs(second);
            lines += flood.expired(now).len();
            lines += usize::from(flood.admits(&address("ada"), now));
        }
        assert_eq!(lines, 10 * MAX_LINES + 9);
    }

    #[test]
    fn flood_control_limits_clients_of_many_networks_together() {
        let (mut flood, start) = (FloodControl::default(), Instant::now());
        let logged = (0..10_000_u32)
            .filter(|bits| {
                let ip = IpAddr::from(std::net::Ipv4Addr::from_bits(*bits));
                let event = event(RefusalKind::Access, Actor::Client(Some(ip)), "");
                flood.admits(&event, start)
            })
            .count();
        assert_eq!(logged, MAX_CLIENTS + MAX_LINES);
        assert!(flood.admits(&event(RefusalKind::Access, Actor::User("ada"), ""), start));
        let lines = flood.summaries();
        let expected = format!(
            "and {} more of this kind, by other clients",
            10_000 - logged
        );
        assert_eq!(messages(&lines), [("", expected.as_str())]);
    }

    #[test]
    fn flood_control_counts_ipv6_by_network() {
        let (mut flood, start) = (FloodControl::default(), Instant::now());
        let logged = (0..100_u128)
            .filter(|bits| {
                let ip = std::net::Ipv6Addr::from_bits(0x2001_0db8 << 96 | bits);
                let event = event(RefusalKind::Access, Actor::Client(Some(ip.into())), "");
                flood.admits(&event, start)
            })
            .count();
        assert_eq!(logged, MAX_LINES);
    }

    #[test]
    fn flood_control_shares_one_allowance_among_users_beyond_its_limit() {
        let (mut flood, start) = (FloodControl::default(), Instant::now());
        for user in 0..2 * MAX_USERS {
            flood.admits(&address(&user.to_string()), start);
        }
        assert_eq!(flood.allowances.len(), MAX_USERS + 1);
        // A user who has an allowance keeps it.
        assert!(flood.admits(&address("0"), start));
        assert!(!flood.admits(&address("another"), start));
    }
}
