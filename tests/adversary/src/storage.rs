//! T: what clients do to the database and to the disk.

mod files;
mod searches;
mod turns;

use pinhole_ground::guard::Guard;

use crate::case::AttackCase;

pub(crate) const CASES: &[AttackCase] = &[
    AttackCase::new(
        "T25-search-flood",
        "a user who sends many searches at once is refused, and other requests are served",
        |target| Box::pin(searches::flood(target)),
    )
    .guarded_by(&[Guard::SearchShare])
    .on_any_server(),
    AttackCase::new(
        "T26-search-time",
        "a search that compares endlessly is stopped after seconds",
        |target| Box::pin(searches::slow(target)),
    )
    .guarded_by(&[Guard::SearchTime])
    .on_any_server(),
    AttackCase::new(
        "T26-search-syntax",
        "operators and wildcards in a searched text are text",
        |target| Box::pin(searches::operators(target)),
    )
    .on_any_server(),
    AttackCase::new(
        "T27-quota",
        "a user's uploads and chats end at the quota, before they are stored",
        |target| Box::pin(files::quota(target)),
    )
    .guarded_by(&[Guard::UserStorage])
    .on_own_server(),
    AttackCase::new(
        "T28-full-disk",
        "on a full disk nothing new is stored, and images are deleted and sessions end",
        |target| Box::pin(files::full_disk(target)),
    )
    .guarded_by(&[Guard::DiskReserve])
    .on_own_server(),
    AttackCase::new(
        "T29-lost-database",
        "a server that starts without its database removes no image",
        |target| Box::pin(files::lost_database(target)),
    )
    .guarded_by(&[Guard::SweepProof])
    .on_own_server(),
    AttackCase::new(
        "T30-killed-turn",
        "a chat turn whose server is killed shows an error after the next start",
        |target| Box::pin(turns::killed(target)),
    )
    .on_own_server(),
];
