//! What a case must keep to and its types cannot say.

use super::super::outcome::is_kind;
use super::super::value::Wrong;
use super::{Case, Exchange, Moment, Reply, Step};

/// Exchanges of a case.
const MAX_EXCHANGES: usize = 200;
/// What a case may not set: the kit has its own.
const OWN_VARIABLES: [&str; 2] = ["PINHOLE_DATA", "PINHOLE_ENGINES"];

impl Case {
    /// Looks at the whole case.
    pub(super) fn check(&self) -> Result<(), Wrong> {
        let asked = [
            self.generate.is_some(),
            self.edit.is_some(),
            self.models.is_some(),
            self.verify.is_some(),
        ];
        one_of(&asked, "", "generate, edit, models and verify")?;
        if let Some(asked) = &self.generate
            && (asked.mask.is_some() || !asked.sources.is_empty())
        {
            return wrong("/generate", "sources and mask belong to edit");
        }
        let outcome = &self.outcome;
        let outcomes = [
            outcome.pictures.is_some(),
            outcome.error.is_some(),
            outcome.models.is_some(),
            outcome.verified.is_some(),
        ];
        one_of(
            &outcomes,
            "/outcome",
            "pictures, error, models and verified",
        )?;
        if let Some(error) = &outcome.error
            && !is_kind(&error.kind)
        {
            let why = format!("{:?} is no kind of error", error.kind);
            return wrong("/outcome/error/kind", &why);
        }
        for name in OWN_VARIABLES {
            if self.variables.contains_key(name) {
                let place = format!("/variables/{name}");
                return wrong(&place, "the kit sets this itself");
            }
        }
        if self.exchanges().len() > MAX_EXCHANGES {
            return wrong(
                "/upstream",
                &format!("{MAX_EXCHANGES} exchanges are allowed"),
            );
        }
        let names: Vec<&str> = self
            .exchanges()
            .iter()
            .filter_map(|exchange| exchange.name.as_deref())
            .collect();
        if let Some(cancel) = &self.cancel {
            cancel.check("/cancel", &names)?;
        }
        for (number, exchange) in self.exchanges().iter().enumerate() {
            exchange.check(&format!("/upstream/{number}"), &names)?;
        }
        Ok(())
    }
}

impl Exchange {
    fn check(&self, place: &str, names: &[&str]) -> Result<(), Wrong> {
        let answers = [self.reply.is_some(), self.socket.is_some()];
        one_of(&answers, place, "reply and socket")?;
        let request = &self.request;
        let bodies = [
            request.json.is_some(),
            request.json_holds.is_some(),
            request.form.is_some(),
            request.body.is_some(),
        ];
        let here = format!("{place}/request");
        at_most_one_of(&bodies, &here, "json, json_holds, form and body")?;
        let line = request.line.split_once(' ');
        if line.is_none_or(|(_, target)| !target.starts_with(['/', '{'])) {
            return wrong(
                &format!("{here}/line"),
                "it is no line such as \"GET /models\"",
            );
        }
        if self.at_least() > self.at_most() {
            return wrong(&format!("{place}/times"), "at_least is more than at_most");
        }
        if let Some(reply) = &self.reply {
            reply.check(&format!("{place}/reply"), names)?;
        }
        for (number, step) in self.socket.iter().flatten().enumerate() {
            let here = format!("{place}/socket/{number}");
            match step {
                Step::Wait(moment) => moment.check(&format!("{here}/wait"), names)?,
                Step::Close(done) | Step::Break(done) => {
                    let last = self.socket.as_ref().map_or(0, Vec::len) == number + 1;
                    if !(*done && last) {
                        return wrong(&here, "close and break are true, and the last step");
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl Reply {
    fn check(&self, place: &str, names: &[&str]) -> Result<(), Wrong> {
        let bodies = [
            self.json.is_some(),
            self.text.is_some(),
            self.picture.is_some(),
            self.events.is_some(),
        ];
        at_most_one_of(&bodies, place, "json, text, picture and events")?;
        if self
            .status
            .is_some_and(|status| !(200..=599).contains(&status))
        {
            return wrong(&format!("{place}/status"), "a status is 200 to 599");
        }
        if self.pieces == Some(0) {
            return wrong(&format!("{place}/pieces"), "a piece has at least 1 byte");
        }
        if let Some(after) = &self.after {
            after.check(&format!("{place}/after"), names)?;
        }
        for (number, event) in self.events.iter().flatten().enumerate() {
            let place = format!("{place}/events/{number}");
            let kinds = [
                event.json.is_some(),
                event.text.is_some(),
                event.wait.is_some(),
            ];
            one_of(&kinds, &place, "json, text and wait")?;
            if let Some(wait) = &event.wait {
                wait.check(&format!("{place}/wait"), names)?;
            }
        }
        Ok(())
    }
}

impl Moment {
    fn check(&self, place: &str, names: &[&str]) -> Result<(), Wrong> {
        let kinds = [
            self.requested.is_some(),
            self.replied.is_some(),
            self.reports.is_some(),
        ];
        one_of(&kinds, place, "requested, replied and reports")?;
        if self.times.is_some() && self.requested.is_none() {
            return wrong(&format!("{place}/times"), "it belongs to requested");
        }
        let name = self.requested.as_deref().or(self.replied.as_deref());
        match name.filter(|name| !names.contains(name)) {
            Some(name) => wrong(place, &format!("there is no exchange named {name:?}")),
            None => Ok(()),
        }
    }
}

fn wrong<T>(place: &str, why: &str) -> Result<T, Wrong> {
    Err(Wrong {
        place: place.to_owned(),
        why: why.to_owned(),
    })
}

fn at_most_one_of(there: &[bool], place: &str, names: &str) -> Result<(), Wrong> {
    match there.iter().filter(|there| **there).count() {
        0 | 1 => Ok(()),
        _ => wrong(place, &format!("only one of {names} may be there")),
    }
}

fn one_of(there: &[bool], place: &str, names: &str) -> Result<(), Wrong> {
    if !there.contains(&true) {
        return wrong(place, &format!("one of {names} must be there"));
    }
    at_most_one_of(there, place, names)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::FILE;
    use super::super::tests::{read, with_exchanges};

    fn check(pointer: &str, value: Value, place: &str, expected: &str) {
        let exchange = json!({"name": "x", "request": {"line": "GET /x"}, "reply": {}});
        let mut case = with_exchanges(&json!([exchange]));
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let parent = case.pointer_mut(parent).unwrap();
        parent
            .as_object_mut()
            .unwrap()
            .insert(key.to_owned(), value);
        let error = read(&case, &json!({})).err().unwrap();
        assert!(
            error.starts_with(&format!("{FILE}{place}")),
            "{pointer}: {error}"
        );
        assert!(error.contains(expected), "{pointer}: {error}");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
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
            "kit",
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
            "no line",
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
            "a list of pictures",
        );
        check(
            "/outcome/pictures",
            json!([{"x": 1}]),
            " at /outcome/pictures/0/x",
            "`x`",
        );
    }

    #[test]
    fn steps_of_a_socket_are_checked() {
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
            let case = with_exchanges(&json!([exchange]));
            let error = read(&case, &json!({})).err().unwrap();
            assert!(error.contains(expected), "{error}");
        }
    }
}
