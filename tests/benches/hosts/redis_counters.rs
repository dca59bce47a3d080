//! What Redis counts.

use crate::HostsBench;

impl HostsBench {
    pub(crate) fn redis_connection(&self) -> redis::Connection {
        let client = redis::Client::open(self.redis.as_str()).unwrap();
        client.get_connection().unwrap()
    }

    /// The commands that Redis has processed so far, of all clients. Those within a script count too.
    pub(crate) fn redis_commands(&self) -> u64 {
        const FIELD: &str = "total_commands_processed:";
        let info: String = redis::cmd("INFO")
            .arg("stats")
            .query(&mut self.redis_connection())
            .unwrap();
        let line = info.lines().find_map(|line| line.strip_prefix(FIELD));
        line.unwrap().trim().parse().unwrap()
    }
}
