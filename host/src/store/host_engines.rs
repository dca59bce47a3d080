//! Which hosts have loaded which releases of engines.

use std::collections::BTreeMap;

use super::Store;
use super::database::query;
use super::job_leases::LEASE_SECS;

/// A running host, and what it has of a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRelease {
    /// The host's name for people.
    pub host: String,
    /// The version of its program.
    pub version: String,
    /// Why the host cannot load the release; empty if it has. `None` while it loads it.
    pub problem: Option<String>,
}

impl Store {
    /// Records what a host has loaded, by digest: empty, or why it cannot load it. Does nothing for a host without a row.
    pub async fn set_host_engines(
        &self,
        host: &str,
        releases: &BTreeMap<String, String>,
    ) -> sqlx::Result<()> {
        let mut write = self.begin().await?;
        query("DELETE FROM host_engines WHERE host = $1")
            .bind(host)
            .execute(&mut *write)
            .await?;
        for (digest, problem) in releases {
            query(
                "INSERT INTO host_engines (host, digest, problem)
                 SELECT id, $2, $3 FROM hosts WHERE id = $1",
            )
            .bind(host)
            .bind(digest)
            .bind(problem)
            .execute(&mut *write)
            .await?;
        }
        write.commit().await
    }

    /// The running hosts with what they have of a release, by name.
    pub async fn hosts_of_release(&self, digest: &str) -> sqlx::Result<Vec<HostRelease>> {
        let now = self.database.dialect().current_secs();
        let rows = query(
            "SELECT hosts.name, hosts.version, host_engines.problem FROM hosts
             LEFT JOIN host_engines ON host_engines.host = hosts.id AND host_engines.digest = $1
             WHERE hosts.seen_at > ",
        )
        .push(now)
        .push(" - $2 ORDER BY hosts.name, hosts.id")
        .bind(digest)
        .bind(LEASE_SECS)
        .fetch_all(&self.database)
        .await?;
        let read = rows.iter().map(|row| {
            Ok(HostRelease {
                host: row.try_get("name")?,
                version: row.try_get("version")?,
                problem: row.try_get("problem")?,
            })
        });
        read.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::test_database::TestDatabase;

    #[tokio::test]
    async fn release_is_loaded_by_the_hosts_that_say_so() {
        TestDatabase::each(async |test| {
            let store = &test.store;
            for (id, name) in [("1", "east"), ("2", "west")] {
                store.add_host(id, name, "1.0").await.unwrap();
                if !store.is_shared() {
                    break;
                }
            }
            let host = |name: &str, problem: Option<&str>| HostRelease {
                host: name.into(),
                version: "1.0".into(),
                problem: problem.map(Into::into),
            };
            let loaded = |problem: &str| BTreeMap::from([("a".to_owned(), problem.to_owned())]);
            store
                .set_host_engines("1", &loaded("is broken"))
                .await
                .unwrap();
            store.set_host_engines("1", &loaded("")).await.unwrap();
            store
                .set_host_engines("unknown", &loaded(""))
                .await
                .unwrap();
            let hosts = store.hosts_of_release("a").await.unwrap();
            let others = |problem| {
                let west = store.is_shared().then(|| host("west", problem));
                west.into_iter()
            };
            let expected: Vec<_> = [host("east", Some(""))]
                .into_iter()
                .chain(others(None))
                .collect();
            assert_eq!(hosts, expected);
            store.remove_host("1").await.unwrap();
            let remaining: Vec<_> = others(None).collect();
            assert_eq!(store.hosts_of_release("a").await.unwrap(), remaining);
        })
        .await;
    }
}
