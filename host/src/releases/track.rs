//! The states of a track, as pure functions: which release is current, which one is a candidate, and what becomes
//! of the others.
//!
//! Invariants: a name has one current release and at most one candidate, which is another one. The previous release
//! was current and is neither.

use super::verdict::next_step;
use crate::config::Strategy;
use crate::store::{ReleaseState, TrackRow};

/// All users.
pub(super) const ALL_USERS: u8 = 100;

/// The share of users who get a new candidate.
fn first_percent(strategy: Strategy) -> u8 {
    match strategy {
        Strategy::Watch => ALL_USERS,
        Strategy::Canary => next_step(0),
    }
}

/// The first track of an engine.
pub(super) fn first(engine: &str, digest: &str) -> TrackRow {
    TrackRow {
        engine: engine.to_owned(),
        current: digest.to_owned(),
        previous: None,
        candidate: None,
        percent: 0,
        strategy: Strategy::Watch.name().to_owned(),
        pinned: false,
        revision: 0,
        changed_at: 0,
    }
}

/// The track with a candidate, in place of an earlier one.
pub(super) fn with_candidate(track: &TrackRow, digest: &str, strategy: Strategy) -> TrackRow {
    TrackRow {
        candidate: Some(digest.to_owned()),
        previous: other_than(track.previous.as_ref(), digest),
        percent: first_percent(strategy),
        strategy: strategy.name().to_owned(),
        ..track.clone()
    }
}

/// The candidate becomes current. `None` without one.
pub(super) fn promoted(track: &TrackRow) -> Option<TrackRow> {
    let candidate = track.candidate.clone()?;
    Some(TrackRow {
        previous: Some(track.current.clone()),
        current: candidate,
        ..without_candidate(track)
    })
}

/// More users get the candidate, or it becomes current. `None` without one.
pub(super) fn advanced(track: &TrackRow) -> Option<TrackRow> {
    track.candidate.as_ref()?;
    if track.percent >= ALL_USERS {
        return promoted(track);
    }
    Some(TrackRow {
        percent: next_step(track.percent),
        ..track.clone()
    })
}

/// The track without its candidate.
pub(super) fn without_candidate(track: &TrackRow) -> TrackRow {
    TrackRow {
        candidate: None,
        percent: 0,
        ..track.clone()
    }
}

/// Another release becomes current at once.
pub(super) fn rolled_back(track: &TrackRow, to: &str) -> TrackRow {
    TrackRow {
        current: to.to_owned(),
        previous: other_than(track.previous.as_ref(), to),
        ..without_candidate(track)
    }
}

fn other_than(digest: Option<&String>, other: &str) -> Option<String> {
    digest.filter(|digest| *digest != other).cloned()
}

/// The new states of the releases that a change of a track moves. A release that is replaced becomes `replaced`.
pub(super) fn moved_releases(
    before: Option<&TrackRow>,
    after: Option<&TrackRow>,
    replaced: ReleaseState,
) -> Vec<(String, ReleaseState)> {
    let state = |track: &TrackRow, digest: &str| {
        if track.current == digest {
            Some(ReleaseState::Current)
        } else if track.candidate.as_deref() == Some(digest) {
            Some(ReleaseState::Candidate)
        } else {
            None
        }
    };
    let serving = |track: Option<&TrackRow>| {
        let digests =
            track.map(|it| std::iter::once(it.current.clone()).chain(it.candidate.clone()));
        digests.into_iter().flatten().collect::<Vec<_>>()
    };
    let mut moved = Vec::new();
    for digest in serving(after) {
        if let Some(new_state) = after.and_then(|it| state(it, &digest)) {
            moved.push((digest, new_state));
        }
    }
    for digest in serving(before) {
        if !moved.iter().any(|(it, _)| *it == digest) {
            let is_promoted_over = after.is_some_and(|it| it.previous.as_ref() == Some(&digest));
            let new_state = if is_promoted_over {
                ReleaseState::Retired
            } else {
                replaced
            };
            moved.push((digest, new_state));
        }
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canary_reaches_more_users_step_by_step() {
        let track = with_candidate(&first("draw", "a"), "b", Strategy::Canary);
        assert_eq!(track.percent, 10);
        let half = advanced(&track).unwrap();
        let all = advanced(&half).unwrap();
        assert_eq!((half.percent, all.percent), (50, 100));
        let done = advanced(&all).unwrap();
        assert_eq!((done.current.as_str(), done.candidate), ("b", None));
        assert_eq!(done.previous.as_deref(), Some("a"));
    }

    #[test]
    fn replaced_releases_are_retired_or_rolled_back() {
        let track = first("draw", "a");
        let watched = with_candidate(&track, "b", Strategy::Watch);
        let moved = |before: &TrackRow, after: &TrackRow| {
            moved_releases(Some(before), Some(after), ReleaseState::RolledBack)
        };
        assert_eq!(
            moved(&track, &watched),
            [
                ("a".into(), ReleaseState::Current),
                ("b".into(), ReleaseState::Candidate)
            ]
        );
        assert_eq!(
            moved(&watched, &promoted(&watched).unwrap()),
            [
                ("b".into(), ReleaseState::Current),
                ("a".into(), ReleaseState::Retired)
            ]
        );
        assert_eq!(
            moved(&watched, &without_candidate(&watched)),
            [
                ("a".into(), ReleaseState::Current),
                ("b".into(), ReleaseState::RolledBack)
            ]
        );
        let removed = moved_releases(Some(&watched), None, ReleaseState::Retired);
        assert_eq!(
            removed,
            [
                ("a".into(), ReleaseState::Retired),
                ("b".into(), ReleaseState::Retired)
            ]
        );
    }

    /// All tracks that operations on four releases can reach.
    #[test]
    fn every_reachable_track_keeps_the_invariants() {
        let digests = ["0", "1", "2", "3"];
        let mut reached = vec![first("draw", "0")];
        let mut next_index = 0;
        while let Some(track) = reached.get(next_index).cloned() {
            next_index += 1;
            let others = digests.iter().filter(|it| **it != track.current);
            let mut next: Vec<TrackRow> = others
                .flat_map(|digest| {
                    [
                        with_candidate(&track, digest, Strategy::Watch),
                        with_candidate(&track, digest, Strategy::Canary),
                        rolled_back(&track, digest),
                    ]
                })
                .collect();
            next.extend(promoted(&track));
            next.extend(advanced(&track));
            next.push(without_candidate(&track));
            for track_after in next {
                check_invariants(&track, &track_after);
                if !reached.contains(&track_after) {
                    reached.push(track_after);
                }
            }
        }
        assert!(reached.len() > 100, "{}", reached.len());
    }

    fn check_invariants(before: &TrackRow, after: &TrackRow) {
        assert_ne!(Some(&after.current), after.candidate.as_ref(), "{after:?}");
        assert_ne!(Some(&after.current), after.previous.as_ref(), "{after:?}");
        assert_eq!(after.candidate.is_some(), after.percent > 0, "{after:?}");
        assert!(after.percent <= ALL_USERS, "{after:?}");
        assert!(
            after.candidate.is_none() || after.candidate != after.previous,
            "{after:?}"
        );
        let moved = moved_releases(Some(before), Some(after), ReleaseState::RolledBack);
        let count = |state| moved.iter().filter(|(_, it)| *it == state).count();
        assert_eq!(count(ReleaseState::Current), 1, "{before:?} {after:?}");
        assert_eq!(
            count(ReleaseState::Candidate),
            usize::from(after.candidate.is_some()),
            "{before:?} {after:?}"
        );
        // The previous release was current, or was the previous one before.
        let was_previous = after.previous.is_none()
            || after.previous == before.previous
            || after.previous.as_ref() == Some(&before.current);
        assert!(was_previous, "{before:?} {after:?}");
    }
}
