//! The progress reports of a case: those that every replay has.
//!
//! A replay leaves out repeated polls, and its upstream does not wait between two messages. So a report is certain only if
//! it follows a reply that the case has, and no other report follows before the next request.

use std::ptr;

use pinhole_sandbox::RecordedReport;
use serde_json::{Map, Value, json};

use super::exchanges::{NumberedReport, RecordedExchange, Script};
use super::texts::Texts;

pub(super) fn certain_ones<'a>(
    reports: &'a [NumberedReport],
    exchanges: &'a [RecordedExchange],
    script: &'a Script,
) -> impl Iterator<Item = &'a RecordedReport> {
    let next_request = |number: usize| {
        let starts = exchanges.iter().map(|it| it.start);
        starts.filter(|start| *start > number).min()
    };
    let is_certain = move |index: usize, report: &NumberedReport| {
        let next = reports.get(index + 1);
        let is_last = next.is_none_or(|next| {
            let request = next_request(report.number);
            request.is_some_and(|request| request < next.number)
        });
        let cause = cause(report.number, exchanges);
        is_last && cause.is_none_or(|cause| is_replayed(cause, script))
    };
    let numbered = reports.iter().enumerate();
    let certain = numbered.filter(move |(index, report)| is_certain(*index, report));
    certain.map(|(_, report)| &report.report)
}

/// The exchange whose reply or message arrived last before this step.
fn cause(number: usize, exchanges: &[RecordedExchange]) -> Option<&RecordedExchange> {
    let last_arrival = |exchange: &RecordedExchange| {
        let messages = exchange.messages.iter().map(|(number, _)| *number);
        let arrivals = messages.chain([exchange.end]);
        arrivals.filter(|arrival| *arrival < number).max()
    };
    let arrived = exchanges
        .iter()
        .filter_map(|it| Some((last_arrival(it)?, it)));
    arrived
        .max_by_key(|(arrival, _)| *arrival)
        .map(|(_, exchange)| exchange)
}

/// True if the case has the exchange, and its place in the order is certain.
fn is_replayed(exchange: &RecordedExchange, script: &Script) -> bool {
    script.exchanges.iter().any(|scripted| {
        let is_exact = scripted.times.is_none_or(|(_, at_most)| at_most.is_some());
        ptr::eq(scripted.exchange, exchange) && is_exact && !scripted.any_order
    })
}

pub(super) fn to_json(report: &RecordedReport, texts: &Texts) -> Value {
    let note = report.note.as_deref();
    let fields = [
        ("fraction", report.fraction.map(|it| json!(it))),
        ("queue_position", report.queue_position.map(Value::from)),
        ("note", note.map(|note| texts.reply_text(note).into())),
        ("preview", report.preview.map(Value::from)),
    ];
    let set = fields
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::from(set.collect::<Map<_, _>>())
}
