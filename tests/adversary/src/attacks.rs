//! What can be tried against a host of other people's engines, by class and number.

/// One kind of attack. Cases carry its number at the beginning of their names.
pub struct Attack {
    /// Class and number, such as `R1`.
    pub id: &'static str,
    /// What is tried.
    pub tried: &'static str,
    /// Why there is no case, where there is none.
    pub apart: Option<&'static str>,
}

const fn attack(id: &'static str, tried: &'static str) -> Attack {
    Attack {
        id,
        tried,
        apart: None,
    }
}

const fn apart(id: &'static str, tried: &'static str, why: &'static str) -> Attack {
    Attack {
        id,
        tried,
        apart: Some(why),
    }
}

/// The classes with their headings, in order.
pub const CLASSES: &[(&str, &str)] = &[
    ("R", "An engine takes more than its share"),
    ("M", "A component that is none, or not what it says"),
    ("N", "Where a connection goes"),
    ("H", "What goes over a connection, and what comes back"),
    ("S", "What an engine, an upstream or a person may not learn"),
    ("I", "Pictures and texts that come out"),
];

/// All of them, in order.
pub const ATTACKS: &[Attack] = &[
    attack("R1", "an export computes for ever"),
    attack(
        "R2",
        "code that runs beside the exports computes for ever: start, realloc, post-return, destructor",
    ),
    attack(
        "R3",
        "a loop around a host function that costs the guest nothing",
    ),
    attack("R4", "one memory grows to its end"),
    attack("R5", "many memories and nested instances grow together"),
    attack("R6", "tables, instances and components without number"),
    attack("R7", "recursion until the stack is full"),
    attack("R8", "lists and strings of gigabytes handed to the host"),
    attack("R9", "handles taken and never given back"),
    attack(
        "R10",
        "streams and futures of the next component model, opened and never read",
    ),
    attack(
        "R11",
        "the log flooded, with lines that pretend to be others",
    ),
    attack("R12", "standard output and random numbers without end"),
    attack("R13", "sleep without end, and waiting for what never comes"),
    attack("R14", "the caller goes away in the middle of a call"),
    attack("R15", "more jobs at once than there are slots"),
    apart(
        "R16",
        "an engine that calls engines",
        "an engine has no way to start a job",
    ),
    apart(
        "R17",
        "a settings form with an endless pattern",
        "settings have closed kinds and no patterns; their number and sizes are bounded at admission (M3, M6)",
    ),
    attack(
        "M1",
        "bytes that are no component: random, cut off, a core module, compiled code",
    ),
    attack(
        "M2",
        "a component that the compiler would work on for hours",
    ),
    attack("M3", "imports, exports and names beyond number and length"),
    attack(
        "M4",
        "an import that nobody grants: sockets, HTTP, another host's functions",
    ),
    attack("M5", "the right name with another type"),
    attack(
        "M6",
        "an engine that misdescribes itself, at length, or not at all",
    ),
    attack("M7", "two components that claim one name"),
    apart(
        "M8",
        "a forged, missing or revoked signature",
        "components are not signed; a grant is bound to the digest of the bytes, and a component that asks for more waits for a person",
    ),
    attack(
        "M9",
        "files that are links, pipes or folders, and names that lead elsewhere",
    ),
    attack("M10", "a file exchanged between check and use"),
    apart(
        "M11",
        "a registry that serves other layers than it named",
        "components come from a folder; there is no registry client",
    ),
    attack("M12", "compiled code changed on disk"),
    attack("M13", "a grant with keys that nobody knows"),
    attack(
        "N1",
        "hosts spelled to be taken for another: suffix, case, dots, percent, full width",
    ),
    attack("N2", "user names in front of the host"),
    attack("N3", "ports that one reader takes and another does not"),
    attack(
        "N4",
        "addresses of this machine and of the network around it",
    ),
    attack(
        "N5",
        "IPv4 addresses in decimal, octal, hexadecimal and short forms",
    ),
    attack("N6", "IPv6 spellings of this machine"),
    attack(
        "N7",
        "IPv4 addresses inside IPv6 ones, and ranges that lead inside",
    ),
    attack(
        "N8",
        "the addresses of cloud metadata, by number and by name",
    ),
    attack(
        "N9",
        "a name that means one address when checked and another when used",
    ),
    attack(
        "N10",
        "a kept connection that serves another policy or credential",
    ),
    attack("N11", "redirects to anywhere"),
    attack("N12", "a proxy named by the environment"),
    attack("N13", "sockets and name lookups of WASI"),
    attack("N14", "the address of a result that leads inside"),
    attack("N15", "a WebSocket as a tunnel"),
    attack(
        "N16",
        "one granted private address used to reach its neighbours",
    ),
    attack(
        "H1",
        "line ends and NUL in headers, names, methods and paths",
    ),
    attack("H2", "headers that are the host's own"),
    attack("H3", "the credential's header set by the guest"),
    attack("H4", "headers without number and end, both ways"),
    attack("H5", "a body longer or shorter than it says"),
    attack("H6", "an answer that hides a second one"),
    attack("H7", "an upstream that is slow on purpose"),
    attack("H8", "an answer without end"),
    attack("H9", "an answer that unpacks to gigabytes"),
    attack("H10", "certificates that are not the upstream's"),
    attack("H11", "JSON that is deep, wide or long without end"),
    attack("H12", "busy answers that ask to wait for years"),
    attack("S1", "an engine looks for the key in all that it can read"),
    attack("S2", "an upstream repeats the key, plain or in disguise"),
    attack("S3", "the key sent to another upstream"),
    attack("S4", "the key put where the engine chooses"),
    attack(
        "S5",
        "the key carried out in logs, errors, labels and file names",
    ),
    attack("S6", "the key or a workflow in a picture's metadata"),
    attack(
        "S7",
        "the key in settings, exports, panics and debug output",
    ),
    attack(
        "S8",
        "one person asks for another's files, jobs and previews",
    ),
    attack("S9", "what a job left in memory read by the next"),
    attack("S10", "names of files that lead out of their folder"),
    apart(
        "S11",
        "timing and caches of the processor",
        "not promised: SECURITY.md says what to do about it",
    ),
    attack("S12", "a key changed while a job runs"),
    attack(
        "S13",
        "a person's prompt that makes an engine ask for what it may not",
    ),
    attack("I1", "pictures that unpack to gigabytes"),
    attack("I2", "documents that call themselves pictures"),
    attack("I3", "pictures that break a decoder"),
    attack("I4", "no picture, too many, or other than said"),
    attack("I5", "markup, scripts and terminal escapes in texts"),
    attack("I6", "progress and previews without end"),
    attack("I7", "errors that are none of the contract's, or too long"),
];
