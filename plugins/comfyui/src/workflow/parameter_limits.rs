//! What a job's own parameters may write: they must not get round what the host has checked.

use pinhole_sdk::Error;
use serde_json::Value;

use super::mapping::Place;
use super::{Graph, Values, links};

/// Inputs that decide how much is computed, and the most that a parameter may ask for: sides in
/// pixels, images of a batch, steps.
const LIMITS: [(&str, f64); 5] = [
    ("width", 4096.0),
    ("height", 4096.0),
    ("batch_size", 10.0),
    ("amount", 10.0),
    ("steps", 1000.0),
];

/// Fails where the parameter of this name would choose a file of the server, or is beyond the limit
/// of the input it is written to.
pub(super) fn check(
    graph: &Graph,
    place: &Place,
    name: &str,
    values: &Values,
) -> Result<(), Error> {
    if place.input == "image" {
        let message =
            format!("the files of the server are not for a job to choose: leave {name} out");
        return Err(Error::invalid(name, message));
    }
    let Some((input, limit)) = limit(graph, place) else {
        return Ok(());
    };
    let number = values.get(name).and_then(Value::as_f64);
    match number.filter(|number| (0.0..=limit).contains(number)) {
        Some(_) => Ok(()),
        None => {
            let message = format!(
                "parameter {name} is written to {input} and must be a number from 0 to {limit}"
            );
            Err(Error::invalid(name, message))
        }
    }
}

/// The limit that holds for a place: that of its input, or of those that take the node's value.
fn limit<'g>(graph: &'g Graph, place: &'g Place) -> Option<(&'g str, f64)> {
    let taking = graph
        .values()
        .flat_map(links)
        .filter(|(_, target, _)| *target == place.node)
        .map(|(input, _, _)| input);
    std::iter::once(place.input.as_str())
        .chain(taking)
        .find_map(|input| {
            let (_, limit) = LIMITS.iter().find(|(limited, _)| *limited == input)?;
            Some((input, *limit))
        })
}
