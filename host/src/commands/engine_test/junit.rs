//! The results of all cases in the XML format of JUnit, which CI systems read.

use std::io;

use anyhow::Result;
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

use super::summary::{CaseSummary, Summary};

/// The report. A known failure counts as skipped.
pub(super) fn report(summary: &Summary) -> Result<Vec<u8>> {
    let mut xml = Writer::new_with_indent(Vec::new(), b' ', 2);
    xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let (tests, failures) = (summary.cases.len().to_string(), summary.failed.to_string());
    let (skipped, time) = (summary.known.to_string(), seconds(summary.milliseconds));
    xml.create_element("testsuites")
        .write_inner_content(|suites| {
            suites
                .create_element("testsuite")
                .with_attribute(("name", summary.engine))
                .with_attribute(("tests", tests.as_str()))
                .with_attribute(("failures", failures.as_str()))
                .with_attribute(("errors", "0"))
                .with_attribute(("skipped", skipped.as_str()))
                .with_attribute(("time", time.as_str()))
                .write_inner_content(|cases| {
                    let mut written = summary.cases.iter();
                    written.try_for_each(|case| write_case(cases, summary.engine, case))
                })
                .map(drop)
        })?;
    let mut bytes = xml.into_inner();
    bytes.push(b'\n');
    Ok(bytes)
}

fn write_case(xml: &mut Writer<Vec<u8>>, engine: &str, case: &CaseSummary) -> io::Result<()> {
    let (name, time) = (allowed(case.name), seconds(case.milliseconds));
    let element = xml
        .create_element("testcase")
        .with_attribute(("classname", engine))
        .with_attribute(("name", name.as_str()))
        .with_attribute(("time", time.as_str()));
    if let Some(reason) = case.reason {
        let reason = allowed(reason);
        let skipped = |inner: &mut Writer<Vec<u8>>| {
            inner
                .create_element("skipped")
                .with_attribute(("message", reason.as_str()))
                .write_empty()?;
            Ok(())
        };
        element.write_inner_content(skipped)?;
    } else if let Some(first) = case.failures.first() {
        let (first, all) = (allowed(first), allowed(&case.failures.join("\n")));
        let failure = |inner: &mut Writer<Vec<u8>>| {
            inner
                .create_element("failure")
                .with_attribute(("message", first.as_str()))
                .write_text_content(BytesText::new(&all))?;
            Ok(())
        };
        element.write_inner_content(failure)?;
    } else {
        element.write_empty()?;
    }
    Ok(())
}

fn seconds(milliseconds: u64) -> String {
    format!("{:.3}", milliseconds as f64 / 1e3)
}

/// The text without the control characters that XML cannot contain.
fn allowed(text: &str) -> String {
    let is_allowed = |c: char| !c.is_control() || matches!(c, '\t' | '\n' | '\r');
    text.chars()
        .map(|c| if is_allowed(c) { c } else { '\u{fffd}' })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pinhole_conformance::{CaseReport, Verdict};

    use super::*;

    #[test]
    fn report_has_failures_and_known_failures() {
        let case = |name: &str, verdict| CaseReport {
            name: name.to_owned(),
            about: String::new(),
            verdict,
            duration: Duration::from_millis(12),
            requests: 1,
            entered_bytes: None,
        };
        let failures = vec![
            "/x: expected \"<a>\" & \u{1b}".to_owned(),
            "more".to_owned(),
        ];
        let reports = [
            case("A1", Verdict::Passed),
            case("A2", Verdict::Failed(failures)),
            case("A3", Verdict::KnownFailure("not yet".to_owned())),
        ];
        let summary = Summary::new("draw", Duration::from_millis(1500), &reports);
        let xml = String::from_utf8(report(&summary).unwrap()).unwrap();
        assert_eq!(
            xml,
            r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites>
  <testsuite name="draw" tests="3" failures="1" errors="0" skipped="1" time="1.500">
    <testcase classname="draw" name="A1" time="0.012"/>
    <testcase classname="draw" name="A2" time="0.012">
      <failure message="/x: expected &quot;&lt;a&gt;&quot; &amp; �">/x: expected &quot;&lt;a&gt;&quot; &amp; �
more</failure>
    </testcase>
    <testcase classname="draw" name="A3" time="0.012">
      <skipped message="not yet"/>
    </testcase>
  </testsuite>
</testsuites>
"#
        );
    }
}
