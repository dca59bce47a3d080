//! The attacks on a host of third-party engines, by class and number.

/// A kind of attack. The names of its cases start with its id.
pub struct Attack {
    /// Class and number, such as `R1`.
    pub id: &'static str,
    pub description: &'static str,
    /// Why it has no case, if it has none.
    pub exemption: Option<&'static str>,
}

/// A class of attacks.
pub struct AttackClass {
    /// The letter that its attacks' ids start with.
    pub letter: &'static str,
    pub heading: &'static str,
}

/// The classes, in order.
pub const CLASSES: &[AttackClass] = &[
    class("R", "An engine uses more than its share"),
    class(
        "M",
        "A file that is not a component, or a component that misdescribes itself",
    ),
    class("N", "The destination of a connection"),
    class("H", "Requests and responses"),
    class("S", "What an engine, an upstream or a user must not learn"),
    class("I", "Images and texts that reach a client"),
    class("T", "What users and clients do to a server"),
];

/// All attacks, in order.
pub const ATTACKS: &[Attack] = &[
    attack("R1", "an export computes endlessly"),
    attack(
        "R2",
        "code around exports computes endlessly: start, realloc, post-return, destructor",
    ),
    attack("R3", "a loop calls a cheap host function"),
    attack("R4", "one memory grows without limit"),
    attack("R5", "many memories and nested instances grow together"),
    attack(
        "R6",
        "an unlimited number of tables, instances and components",
    ),
    attack("R7", "recursion overflows the stack"),
    attack("R8", "lists and strings of gigabytes"),
    attack("R9", "handles are created and never dropped"),
    attack(
        "R10",
        "streams and futures of the next component model are never read",
    ),
    attack("R11", "the log is flooded, or its lines imitate others"),
    attack("R12", "endless standard output and random numbers"),
    attack("R13", "an endless sleep or wait"),
    attack("R14", "the client disconnects during a call"),
    attack("R15", "more jobs than slots"),
    exempt(
        "R16",
        "an engine that calls engines",
        "an engine cannot start a job",
    ),
    exempt(
        "R17",
        "a settings form with an endless pattern",
        "settings have no patterns; M3 and M6 test their limits",
    ),
    attack("R18", "jobs that hang on one upstream"),
    attack(
        "M1",
        "bytes that are not a component: random, truncated, core module, compiled code",
    ),
    attack("M2", "a component that takes hours to compile"),
    attack("M3", "too many or too long imports, exports and names"),
    attack(
        "M4",
        "an import that no engine gets: sockets, HTTP, functions of another host",
    ),
    attack("M5", "the right name with another type"),
    attack("M6", "a description that is false, too long or missing"),
    attack("M7", "two components with the same engine name"),
    exempt(
        "M8",
        "a forged, missing or revoked signature",
        "components are not signed; a grant is bound to their digest",
    ),
    attack(
        "M9",
        "links, pipes, directories, and file names that point elsewhere",
    ),
    attack("M10", "a file that changes between check and use"),
    exempt(
        "M11",
        "a registry that serves other layers than it named",
        "components come from a directory",
    ),
    attack("M12", "compiled code that was changed on disk"),
    attack("M13", "a grant with unknown keys"),
    attack("M14", "hidden and unfinished files that name an engine"),
    attack(
        "N1",
        "hosts that look like another one: suffix, case, dots, percent encoding, full width",
    ),
    attack("N2", "user names in front of the host"),
    attack("N3", "ports that parsers read differently"),
    attack("N4", "IP addresses of this machine and its network"),
    attack(
        "N5",
        "IPv4 addresses in decimal, octal, hexadecimal and short forms",
    ),
    attack("N6", "IPv6 spellings of this machine"),
    attack(
        "N7",
        "IPv4 addresses inside IPv6 addresses, and ranges that route to private networks",
    ),
    attack("N8", "cloud metadata services, by IP address and by name"),
    attack(
        "N9",
        "a name that resolves to another IP address after the check",
    ),
    attack(
        "N10",
        "a pooled connection that serves another policy or credential",
    ),
    attack("N11", "redirects to any destination"),
    attack("N12", "a proxy that the environment names"),
    attack("N13", "sockets and name lookups of WASI"),
    attack("N14", "a result's URL at a private IP address"),
    attack("N15", "a WebSocket as a tunnel"),
    attack("N16", "other ports of a granted private host"),
    attack("N17", "a result's URL at a host without a right"),
    attack("N18", "the prompt in the host name of an image URL"),
    attack(
        "N19",
        "an image URL that triggers a request outside the grant",
    ),
    attack(
        "N20",
        "a redirect of an image URL to a host or path without a right",
    ),
    attack(
        "N21",
        "an image URL at a private origin that no operator listed",
    ),
    attack(
        "N22",
        "a remedy in the log that would send the key elsewhere",
    ),
    attack("N23", "image URLs that fill the host's memory"),
    attack("N24", "the key in an image URL"),
    exempt(
        "N25",
        "an image URL that the engine invents",
        "the contract has no function that takes a URL",
    ),
    attack(
        "N26",
        "a URL in a response that leads a request and its key to another host",
    ),
    attack(
        "N27",
        "a URL in a response that triggers a request outside the grant",
    ),
    attack(
        "N30",
        "paths whose characters a server reads as dots and slashes: overlong UTF-8, full width",
    ),
    attack(
        "H1",
        "line ends and NUL in headers, names, methods and paths",
    ),
    attack("H2", "headers that only the host may set"),
    attack("H3", "a credential header that the guest sets"),
    attack("H4", "too many or too long headers, in both directions"),
    attack("H5", "a body longer or shorter than declared"),
    attack("H6", "a response that hides a second one"),
    attack("H7", "an upstream that is slow on purpose"),
    attack("H8", "an endless response"),
    attack("H9", "a response that decompresses to gigabytes"),
    attack("H10", "certificates that do not belong to the upstream"),
    attack("H11", "JSON that is too deep, too wide or too long"),
    attack("H12", "busy responses that request a delay of years"),
    attack("H13", "a credential in the body that the guest sets"),
    attack("S1", "an engine searches all its inputs for the key"),
    attack(
        "S2",
        "an upstream returns the key, in plain form or encoded",
    ),
    attack("S3", "the key is sent to another upstream"),
    attack("S4", "the key is inserted where the engine chooses"),
    attack(
        "S5",
        "the key leaks through logs, errors, labels and file names",
    ),
    attack("S6", "the key or a workflow in the metadata of an image"),
    attack(
        "S7",
        "the key in settings, exports, panics and debug output",
    ),
    attack(
        "S8",
        "a user requests files, jobs and previews of another user",
    ),
    attack("S9", "a job reads what an earlier job left in memory"),
    attack("S10", "file names that point out of their directory"),
    exempt(
        "S11",
        "timing and caches of the processor",
        "not covered: SECURITY.md describes mitigations",
    ),
    attack("S12", "a key that changes while a job runs"),
    attack(
        "S13",
        "a prompt that makes an engine send requests outside its grant",
    ),
    attack(
        "S14",
        "a credential that the operator chose leaks, injects a header, or is sent for another binding",
    ),
    attack("I1", "images that decompress to gigabytes"),
    attack("I2", "documents that claim to be images"),
    attack("I3", "images that crash a decoder"),
    attack("I4", "no image, too many images, or images of another type"),
    attack("I5", "markup, scripts and terminal escapes in texts"),
    attack("I6", "endless progress reports and previews"),
    attack("I7", "errors outside the contract, or too long ones"),
    attack("T1", "a request body with millions of JSON values"),
    attack("T2", "a request body that is nested a million times"),
    attack(
        "T3",
        "a request body with a string that no field has room for",
    ),
    attack("T4", "many large bodies of one user"),
    attack("T5", "a large stored chat that is read many times at once"),
    attack(
        "T6",
        "the engines of several users fill the memory together",
    ),
    attack("T10", "the body of a request that stops before its end"),
    attack("T11", "the body of a request that arrives byte by byte"),
    attack("T12", "the head of a request that never ends"),
    attack("T13", "many connections from one IP address"),
    attack("T14", "thousands of requests sent in advance"),
    attack("T15", "a client that does not read its responses"),
    attack("T16", "thousands of Socket.IO handshakes without a key"),
    attack(
        "T17",
        "a page of another site that sends requests with the user's cookie",
    ),
    attack(
        "T18",
        "a page of another site that opens a WebSocket with the user's cookie",
    ),
    attack("T19", "a forged X-Forwarded-For"),
    attack("T20", "a flood of chat completions and image requests"),
    attack("T21", "a chat completion with many choices"),
    attack(
        "T23",
        "a path that leads to files which are not those of the web client",
    ),
    attack("T25", "many searches at the same time"),
    attack(
        "T26",
        "searches that compare endlessly, or contain operators",
    ),
    attack("T27", "uploads and chats without end"),
    attack("T28", "a disk that is full"),
    attack("T29", "a database that is missing, or a wrong clock"),
    attack("T30", "a server that is killed during a chat turn"),
    attack("T35", "two users who send more jobs than there are slots"),
    attack("T36", "one user who requests many thumbnails"),
    attack(
        "T37",
        "lists of models and verifications, each with the operator's key",
    ),
    attack("T38", "a binding of another group"),
    attack(
        "T39",
        "an order that failed after the upstream accepted it, and is sent again",
    ),
    attack(
        "T45",
        "a user floods the audit log until earlier lines are gone",
    ),
    attack(
        "T46",
        "a user hides another user's refusals in the audit log",
    ),
    attack("T47", "a client signs up after the last account is deleted"),
    attack(
        "T48",
        "a stolen API key is used after the password was changed",
    ),
    attack("T49", "a secret that signs sessions is guessed"),
    attack("T50", "two servers change one data directory"),
    attack(
        "T51",
        "another user of the machine reads the database and the keys",
    ),
    attack("T52", "another host of the domain sets a session cookie"),
    attack("T53", "passwords are guessed without a trace"),
    attack(
        "T54",
        "another user of the machine changes engines through the control socket",
    ),
    attack(
        "T55",
        "a client sets the password of the first administrator",
    ),
    attack(
        "T56",
        "a user ends another user's sessions, or revokes their keys",
    ),
    attack(
        "T57",
        "a stolen key that expires is exchanged for one that does not",
    ),
];

const fn class(letter: &'static str, heading: &'static str) -> AttackClass {
    AttackClass { letter, heading }
}

const fn attack(id: &'static str, description: &'static str) -> Attack {
    Attack {
        id,
        description,
        exemption: None,
    }
}

/// An attack without cases.
const fn exempt(id: &'static str, description: &'static str, reason: &'static str) -> Attack {
    Attack {
        id,
        description,
        exemption: Some(reason),
    }
}
