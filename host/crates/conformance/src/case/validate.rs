//! Rules of a case that its types cannot express.

use super::{Case, Event, Exchange, ExpectedOutcome, InvalidCase, Moment, Reply, SocketStep};
use crate::error_kind::is_error_kind;

/// Maximum number of exchanges of a case.
const MAX_EXCHANGES: usize = 200;
/// Variables that the case runner sets.
const RESERVED_VARIABLES: [&str; 2] = ["PINHOLE_DATA", "PINHOLE_ENGINES"];

impl Case {
    pub(super) fn validate(&self) -> Result<(), InvalidCase> {
        let calls = [
            self.generate.is_some(),
            self.edit.is_some(),
            self.models.is_some(),
            self.verify.is_some(),
        ];
        require_one(&calls, "", "generate, edit, models and verify")?;
        if let Some(job) = &self.generate
            && (job.mask.is_some() || !job.sources.is_empty())
        {
            let reason = "sources and mask belong to edit";
            return Err(InvalidCase::at("/generate", reason));
        }
        self.outcome.validate()?;
        for name in RESERVED_VARIABLES {
            if self.variables.contains_key(name) {
                let pointer = format!("/variables/{name}");
                return Err(InvalidCase::at(
                    &pointer,
                    "the case runner sets this variable",
                ));
            }
        }
        if self.exchanges().len() > MAX_EXCHANGES {
            let reason = format!("too many exchanges (limit {MAX_EXCHANGES})");
            return Err(InvalidCase::at("/upstream", reason));
        }
        let names: Vec<&str> = self
            .exchanges()
            .iter()
            .filter_map(|exchange| exchange.name.as_deref())
            .collect();
        if let Some(cancel) = &self.cancel {
            cancel.validate("/cancel", &names)?;
        }
        for (index, exchange) in self.exchanges().iter().enumerate() {
            exchange.validate(&format!("/upstream/{index}"), &names)?;
        }
        Ok(())
    }
}

impl ExpectedOutcome {
    fn validate(&self) -> Result<(), InvalidCase> {
        let outcomes = [
            self.images.is_some(),
            self.error.is_some(),
            self.models.is_some(),
            self.verified.is_some(),
        ];
        require_one(
            &outcomes,
            "/outcome",
            "pictures, error, models and verified",
        )?;
        if let Some(error) = &self.error
            && !is_error_kind(&error.kind)
        {
            let reason = format!("{:?} is not an error kind", error.kind);
            return Err(InvalidCase::at("/outcome/error/kind", reason));
        }
        Ok(())
    }
}

impl Exchange {
    fn validate(&self, pointer: &str, names: &[&str]) -> Result<(), InvalidCase> {
        let replies = [self.reply.is_some(), self.socket.is_some()];
        require_one(&replies, pointer, "reply and socket")?;
        let request = &self.request;
        let bodies = [
            request.json.is_some(),
            request.json_subset.is_some(),
            request.form.is_some(),
            request.no_body.is_some(),
        ];
        let request_pointer = format!("{pointer}/request");
        require_at_most_one(&bodies, &request_pointer, "json, json_holds, form and body")?;
        let line = request.line.split_once(' ');
        if line.is_none_or(|(_, target)| !target.starts_with(['/', '{'])) {
            let reason = "a request line looks like \"GET /models\"";
            return Err(InvalidCase::at(&format!("{request_pointer}/line"), reason));
        }
        if self.min_requests() > self.max_requests() {
            let reason = "at_least is more than at_most";
            return Err(InvalidCase::at(&format!("{pointer}/times"), reason));
        }
        if let Some(reply) = &self.reply {
            reply.validate(&format!("{pointer}/reply"), names)?;
        }
        let steps = self.socket.as_deref().unwrap_or_default();
        for (index, step) in steps.iter().enumerate() {
            let is_last = index + 1 == steps.len();
            step.validate(&format!("{pointer}/socket/{index}"), names, is_last)?;
        }
        Ok(())
    }
}

impl SocketStep {
    fn validate(&self, pointer: &str, names: &[&str], is_last: bool) -> Result<(), InvalidCase> {
        match self {
            Self::Wait(moment) => moment.validate(&format!("{pointer}/wait"), names),
            Self::Close(value) | Self::Break(value) if !(*value && is_last) => {
                let reason = "close and break must be true and the last step";
                Err(InvalidCase::at(pointer, reason))
            }
            _ => Ok(()),
        }
    }
}

impl Reply {
    fn validate(&self, pointer: &str, names: &[&str]) -> Result<(), InvalidCase> {
        let bodies = [
            self.json.is_some(),
            self.text.is_some(),
            self.image.is_some(),
            self.events.is_some(),
        ];
        require_at_most_one(&bodies, pointer, "json, text, picture and events")?;
        if self
            .status
            .is_some_and(|status| !(200..=599).contains(&status))
        {
            let reason = "a status must be within 200 to 599";
            return Err(InvalidCase::at(&format!("{pointer}/status"), reason));
        }
        if self.piece_bytes == Some(0) {
            let reason = "a piece must have at least 1 byte";
            return Err(InvalidCase::at(&format!("{pointer}/pieces"), reason));
        }
        if let Some(after) = &self.after {
            after.validate(&format!("{pointer}/after"), names)?;
        }
        for (index, event) in self.events.iter().flatten().enumerate() {
            event.validate(&format!("{pointer}/events/{index}"), names)?;
        }
        Ok(())
    }
}

impl Event {
    fn validate(&self, pointer: &str, names: &[&str]) -> Result<(), InvalidCase> {
        let contents = [
            self.json.is_some(),
            self.text.is_some(),
            self.wait.is_some(),
        ];
        require_one(&contents, pointer, "json, text and wait")?;
        match &self.wait {
            Some(wait) => wait.validate(&format!("{pointer}/wait"), names),
            None => Ok(()),
        }
    }
}

impl Moment {
    fn validate(&self, pointer: &str, names: &[&str]) -> Result<(), InvalidCase> {
        let events = [
            self.requested.is_some(),
            self.replied.is_some(),
            self.reports.is_some(),
            self.cancelled == Some(true),
        ];
        require_one(
            &events,
            pointer,
            "requested, replied, reports and cancelled",
        )?;
        if self.times.is_some() && self.requested.is_none() {
            let reason = "times belongs to requested";
            return Err(InvalidCase::at(&format!("{pointer}/times"), reason));
        }
        let exchange = self.requested.as_deref().or(self.replied.as_deref());
        if let Some(name) = exchange
            && !names.contains(&name)
        {
            let reason = format!("there is no exchange named {name:?}");
            return Err(InvalidCase::at(pointer, reason));
        }
        Ok(())
    }
}

fn require_at_most_one(present: &[bool], pointer: &str, names: &str) -> Result<(), InvalidCase> {
    if present.iter().filter(|present| **present).count() > 1 {
        return Err(InvalidCase::at(
            pointer,
            format!("only one of {names} is allowed"),
        ));
    }
    Ok(())
}

fn require_one(present: &[bool], pointer: &str, names: &str) -> Result<(), InvalidCase> {
    if !present.contains(&true) {
        return Err(InvalidCase::at(
            pointer,
            format!("one of {names} is required"),
        ));
    }
    require_at_most_one(present, pointer, names)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::FILE;
    use super::super::tests::{case_with_exchanges, read_case};

    fn check(pointer: &str, value: Value, reported: &str, expected: &str) {
        let exchange = json!({"name": "x", "request": {"line": "GET /x"}, "reply": {}});
        let mut case = case_with_exchanges(&json!([exchange]));
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        case.pointer_mut(parent)
            .unwrap()
            .as_object_mut()
            .unwrap()
            .insert(key.to_owned(), value);
        let error = read_case(&case, &json!({})).err().unwrap();
        assert!(
            error.starts_with(&format!("{FILE}{reported}")),
            "{pointer}: {error}"
        );
        assert!(error.contains(expected), "{pointer}: {error}");
    }

    #[test]
    fn invalid_case_is_reported_with_its_pointer() {
        check("/more", json!(1), " at /more: ", "unknown field `more`");
        check("/about", json!(1), " at /about: ", "a string");
        check("/verify", json!({}), ": ", "only one of generate");
        check(
            "/outcome/verified",
            json!(true),
            " at /outcome: ",
            "only one of pictures",
        );
        check(
            "/generate/mask",
            json!("png 1x1"),
            " at /generate: ",
            "belong to edit",
        );
        check(
            "/variables",
            json!({"PINHOLE_DATA": "x"}),
            " at /variables/PINHOLE_DATA",
            "case runner",
        );
        check(
            "/upstream",
            json!("somebody"),
            " at /upstream: ",
            "\"nobody\"",
        );
        check(
            "/upstream",
            json!([{}]),
            " at /upstream/0: ",
            "missing field `request`",
        );
        check(
            "/upstream/0/request/jsn",
            json!(1),
            " at /upstream/0/request/jsn",
            "unknown field",
        );
        check(
            "/upstream/0/request/line",
            json!("GET"),
            " at /upstream/0/request/line",
            "looks like",
        );
        check(
            "/upstream/0/request/form",
            json!([{"x": 1}]),
            " at /upstream/0/request/form/0/x",
            "",
        );
        check(
            "/upstream/0/reply/status",
            json!(99),
            " at /upstream/0/reply/status",
            "200 to 599",
        );
        check(
            "/upstream/0/reply/events",
            json!([{}]),
            " at /upstream/0/reply/events/0",
            "one of",
        );
        check(
            "/upstream/0/reply/picture",
            json!("png"),
            " at /upstream/0/reply/picture",
            "64x48",
        );
        check(
            "/upstream/0/reply/break",
            json!("now"),
            " at /upstream/0/reply/break",
            "now",
        );
        check(
            "/upstream/0/socket",
            json!([]),
            " at /upstream/0: ",
            "only one of reply",
        );
        check(
            "/upstream/0/times",
            json!({"at_least": 2, "at_most": 1}),
            " at /upstream/0/times",
            "",
        );
        check(
            "/cancel",
            json!({"requested": "y"}),
            " at /cancel: ",
            "no exchange named \"y\"",
        );
        check(
            "/cancel",
            json!({"times": 2}),
            " at /cancel: ",
            "one of requested",
        );
        check(
            "/outcome",
            json!({"error": {"kind": "bad"}}),
            " at /outcome/error/kind",
            "\"bad\"",
        );
        check(
            "/outcome/pictures",
            json!("1"),
            " at /outcome/pictures",
            "a list of images",
        );
        check(
            "/outcome/pictures",
            json!([{"x": 1}]),
            " at /outcome/pictures/0/x",
            "`x`",
        );
    }

    #[test]
    fn invalid_socket_step_is_reported() {
        for (steps, expected) in [
            (
                json!([{"close": true}, {"send": 1}]),
                "/upstream/0/socket/0: close",
            ),
            (json!([{"break": false}]), "/upstream/0/socket/0: close"),
            (
                json!([{"wait": {"replied": "y"}}]),
                "/upstream/0/socket/0/wait: there is no",
            ),
            (json!([{"sent": 1}]), "unknown variant `sent`"),
        ] {
            let exchange = json!({"request": {"line": "GET /x"}, "socket": steps});
            let case = case_with_exchanges(&json!([exchange]));
            let error = read_case(&case, &json!({})).err().unwrap();
            assert!(error.contains(expected), "{error}");
        }
    }
}
