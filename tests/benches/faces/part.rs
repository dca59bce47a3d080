//! The parts of a benchmark, which arguments select by name.

/// A part of a benchmark.
pub(crate) struct Part<B> {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&B),
}

/// The parts that the arguments name, in order, or all. Panics on an argument that is no part and none of the
/// options.
pub(crate) fn select<'a, B>(
    parts: &'a [Part<B>],
    arguments: &[String],
    options: &[&str],
) -> Vec<&'a Part<B>> {
    // Cargo adds `--bench`.
    let is_option = |argument: &str| argument == "--bench" || options.contains(&argument);
    for argument in arguments {
        let is_part = parts.iter().any(|part| part.name == argument);
        if !is_part && !is_option(argument) {
            let names: Vec<&str> = parts.iter().map(|part| part.name).collect();
            let known = names.iter().chain(options).copied();
            panic!(
                "unknown argument {argument}: use {}",
                known.collect::<Vec<_>>().join(", ")
            );
        }
    }
    let is_named = |part: &&Part<B>| arguments.iter().any(|argument| argument == part.name);
    let named: Vec<&Part<B>> = parts.iter().filter(is_named).collect();
    if named.is_empty() {
        return parts.iter().collect();
    }
    named
}
