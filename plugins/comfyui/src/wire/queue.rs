//! The server's queue.

use serde_json::Value;

/// The number of jobs before this one, 0 if it runs; `None` if the queue does not have it.
pub(crate) fn queue_position(queue: &Value, prompt_id: &str) -> Option<u32> {
    let jobs = |list: &str| -> Vec<(f64, &str)> {
        let jobs = queue.get(list).and_then(Value::as_array);
        jobs.into_iter()
            .flatten()
            .filter_map(|job| Some((job.get(0)?.as_f64()?, job.get(1)?.as_str()?)))
            .collect()
    };
    let (running, pending) = (jobs("queue_running"), jobs("queue_pending"));
    if running.iter().any(|(_, id)| *id == prompt_id) {
        return Some(0);
    }
    let (our_number, _) = pending.iter().find(|(_, id)| *id == prompt_id)?;
    let before = pending.iter().filter(|(number, _)| number < our_number);
    Some(u32::try_from(before.count() + running.len()).unwrap_or(u32::MAX))
}

pub(crate) fn is_running(queue: &Value, prompt_id: &str) -> bool {
    queue_position(queue, prompt_id) == Some(0)
}

/// The ids of a client's jobs in the queue.
pub(crate) fn client_jobs<'q>(queue: &'q Value, client_id: &str) -> Vec<&'q str> {
    let lists = ["queue_running", "queue_pending"];
    let jobs = lists.iter().filter_map(|list| queue.get(list)?.as_array());
    let is_own =
        |job: &&Value| job.pointer("/3/client_id").and_then(Value::as_str) == Some(client_id);
    jobs.flatten()
        .filter(is_own)
        .filter_map(|job| job.get(1)?.as_str())
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn recorded_queue() -> Value {
        serde_json::from_str(include_str!("../../testdata/queue.json")).unwrap()
    }

    #[test]
    fn queue_position_counts_jobs_before_ours() {
        let queue = recorded_queue();
        for (id, expected) in [
            ("d09102e8-1a86-4c5f-8dbc-179ce3e4a8d2", Some(0)),
            ("3331f24e-a8b2-4917-8d79-b4347af4f271", Some(1)),
            ("1e6ac6a8-2c9e-4bf1-b9d3-afeb088bf85f", Some(2)),
            ("another", None),
        ] {
            assert_eq!(queue_position(&queue, id), expected);
        }
        let invalid = json!({"queue_pending": [3, ["x"]]});
        assert_eq!(queue_position(&invalid, "x"), None);
    }

    #[test]
    fn is_running_ignores_pending_jobs() {
        let queue = recorded_queue();
        assert!(is_running(&queue, "d09102e8-1a86-4c5f-8dbc-179ce3e4a8d2"));
        for id in ["3331f24e-a8b2-4917-8d79-b4347af4f271", "gone"] {
            assert!(!is_running(&queue, id));
        }
        for idle in [
            json!({"queue_running": []}),
            json!({"queue_running": 3}),
            json!(null),
        ] {
            assert!(!is_running(&idle, "any"));
        }
    }

    #[test]
    fn client_jobs_match_client_id() {
        let queue = recorded_queue();
        let jobs = client_jobs(&queue, "a89522251d3f4e10bfd4af81a39f0bcc");
        let running = "d09102e8-1a86-4c5f-8dbc-179ce3e4a8d2";
        assert_eq!((jobs.len(), jobs[0]), (3, running));
        assert!(client_jobs(&queue, "another").is_empty());
        let invalid = json!({"queue_running": [3, ["x"]], "queue_pending": 3});
        assert!(client_jobs(&invalid, "").is_empty());
    }
}
