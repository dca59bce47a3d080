//! Guards: every security check of the server, by name.
//!
//! A guard is written once, where the decision is made:
//!
//! ```ignore
//! Guard::Hops.refuse_if(hops > MAX_HOPS, || format!("the URL redirects more than {MAX_HOPS} times"))?;
//! ```
//!
//! The refusal carries the guard's name into the audit log. Every guard is always active. A build for
//! `tests/switch-off` (see `build.rs`) can disable one at run time, so that the script can prove that at
//! least one attack of `pinhole-adversary` depends on it. No other build contains that switch.

use std::fmt;

/// Declares the guards: each with its stable name and what it prevents.
macro_rules! guards {
    ($($(#[doc = $doc:literal])+ $guard:ident = $name:literal),+ $(,)?) => {
        /// A named security check.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Guard {
            $($(#[doc = $doc])+ $guard,)+
        }

        impl Guard {
            /// All guards, in the order in which a request meets them.
            pub const ALL: &'static [Self] = &[$(Self::$guard),+];

            /// Stable name: in the audit log, the threat model and `tests/switch-off`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$guard => $name,)+
                }
            }

            /// What the guard enforces, in one sentence.
            #[must_use]
            pub const fn description(self) -> &'static str {
                match self {
                    $(Self::$guard => concat!($($doc),+).trim_ascii(),)+
                }
            }
        }
    };
}

guards! {
    // Clients.
    /// Clients have a limited number of connections, and those of one IP address are a part of it.
    ClientConnections = "client-connections",
    /// The head of a request arrives within a limited time.
    HeadTime = "head-time",
    /// The body of a request arrives at a minimum rate and within a limited time.
    BodyRate = "body-rate",
    /// A client reads its response at a minimum rate.
    ResponseRate = "response-rate",
    /// The IP address of a client that a header names is believed only if a trusted proxy sent it.
    TrustedProxies = "trusted-proxies",
    /// A request that only a cookie authenticates changes nothing if a page of another origin caused it.
    CrossSite = "cross-site",
    /// A web client's file is a visible file of its own directory, and never the response of an API's path.
    ClientFiles = "client-files",
    /// Sockets without a user are limited in number, in total and for one IP address.
    AnonymousSockets = "anonymous-sockets",
    /// A user sends a limited number of requests for images and chat completions in a minute.
    RequestRate = "request-rate",
    /// A user has a limited number of chat completions at the same time.
    ChatShare = "chat-share",
    /// A chat completion has a limited number of choices.
    ChatChoices = "chat-choices",
    // Egress: destinations.
    /// No connection goes to a loopback or private IP address that no administrator allowed.
    PrivateAddress = "private-address",
    /// No connection goes to a reserved IP address such as multicast, even if private ones are allowed.
    ReservedAddress = "reserved-address",
    /// No connection goes to a cloud metadata IP address, even if private ones are allowed.
    MetadataAddress = "metadata-address",
    /// No connection goes to the host name of a cloud metadata service, whatever it resolves to.
    MetadataName = "metadata-name",
    /// An IPv6 address that embeds an IPv4 address is classified by the embedded address.
    EmbeddedAddress = "embedded-address",
    /// A host and port are in canonical spelling, or the URL is refused.
    Authority = "authority",
    /// A path contains no `..`, empty segment or encoded separator, in any encoding of its characters.
    Path = "path",
    /// A redirect never carries an engine's request and credential to another URL.
    Redirects = "redirects",
    /// A private host is allowed for one port only.
    GrantedPort = "granted-port",
    /// An image is fetched only from a host that an administrator granted, before its name is looked up.
    ImageHosts = "image-hosts",
    /// An image URL at an upstream's own origin is fetched only if a request for its path is granted.
    ImagePaths = "image-paths",
    /// A request follows a URL of a response only below the base URL, or to a granted host over https.
    FollowHosts = "follow-hosts",
    /// An image URL follows a limited number of redirects.
    Hops = "hops",
    /// A redirect never goes from https to http.
    Downgrade = "downgrade",
    /// Proxy variables of the environment are ignored.
    Proxy = "proxy",
    // Egress: requests.
    /// An engine sets no header that belongs to the connection or identifies the sender.
    OwnHeaders = "own-headers",
    /// An engine sets no header that carries a credential.
    KeyHeaders = "key-headers",
    /// An engine sets no field of a body that carries a credential.
    KeyFields = "key-fields",
    /// A request has a limited number of headers.
    HeaderCount = "header-count",
    /// A request header has a limited length.
    HeaderBytes = "header-bytes",
    /// All request headers together have a limited length.
    AllHeaderBytes = "all-header-bytes",
    // Egress: responses.
    /// A response has a limited number of headers.
    AnswerHeaderCount = "answer-header-count",
    /// Response headers have a limited length.
    AnswerHeaderBytes = "answer-header-bytes",
    /// A response body has a limited length, before and after decoding.
    AnswerBytes = "answer-bytes",
    /// A compressed response expands by a limited ratio.
    Ratio = "ratio",
    /// A response in an encoding that was not requested is refused.
    Encoding = "encoding",
    /// A response pauses for a limited time.
    Silence = "silence",
    /// A WebSocket frame has a limited length.
    FrameBytes = "frame-bytes",
    /// A WebSocket message has a limited length, whatever the number of its frames.
    MessageBytes = "message-bytes",
    /// A WebSocket delivers a limited number of messages, pings included.
    SocketMessages = "socket-messages",
    // Grants and admission.
    /// An engine sends only requests that it declared and an administrator granted.
    GrantedRequests = "granted-requests",
    /// A changed component that declares more than its grant does not serve without approval.
    DeclaredMore = "declared-more",
    /// A component that changes its description between starts gets no more than its grant.
    GrantNarrows = "grant-narrows",
    /// An engine whose stored grant is unreadable does not serve.
    GrantReadable = "grant-readable",
    /// An approval covers exactly the component that the administrator reviewed.
    ShownDigest = "shown-digest",
    /// The stored copy that keeps serving is the component that was granted.
    KeptCopy = "kept-copy",
    /// A file that renames its engine does not count as a new engine.
    RenamedEngine = "renamed-engine",
    /// If two files name the same engine, the granted one serves.
    EngineNames = "engine-names",
    /// A component's file name cannot forge a log line.
    FileNames = "file-names",
    /// A hidden or temporary file is not a component.
    HiddenFiles = "hidden-files",
    /// A limited number of component files is read.
    FileCount = "file-count",
    /// Only regular files are opened as components.
    RegularFile = "regular-file",
    /// A component file has a limited length.
    ComponentBytes = "component-bytes",
    /// A file that is no component is refused before it is compiled.
    ComponentKind = "component-kind",
    /// A component that imports an interface outside its world is refused with that import's name.
    World = "world",
    /// A component's description is within its limits and printable.
    Description = "description",
    /// An engine reads no variable that does not carry its name.
    OwnVariables = "own-variables",
    /// A variable that holds a secret is never passed to an engine.
    HiddenVariables = "hidden-variables",
    /// Compiled code is loaded only if this host wrote it.
    CompiledMac = "compiled-mac",
    // Secrets.
    /// No eight consecutive bytes of a secret return in plain form.
    SecretPlain = "secret-plain",
    /// No eight bytes of a secret return as JSON escapes.
    SecretEscapes = "secret-escapes",
    /// No eight bytes of a secret return percent-encoded.
    SecretPercent = "secret-percent",
    /// No eight bytes of a secret return in base64.
    SecretBase64 = "secret-base64",
    /// No eight bytes of a secret return in hexadecimal.
    SecretHex = "secret-hex",
    /// Response headers that a guest reads contain no secret.
    SecretHeaders = "secret-headers",
    /// JSON and events that a guest reads contain no secret.
    SecretJson = "secret-json",
    /// Text bodies that a guest reads contain no secret.
    SecretText = "secret-text",
    /// A URL of a response that contains a secret is not requested.
    SecretUrl = "secret-url",
    /// Binary WebSocket messages that a guest reads contain no secret.
    SecretMessage = "secret-message",
    /// Image bytes contain no secret.
    SecretPicture = "secret-picture",
    /// An engine's error contains no secret.
    SecretError = "secret-error",
    /// An engine's log lines contain no secret.
    SecretLog = "secret-log",
    /// An engine's progress reports contain no secret.
    SecretProgress = "secret-progress",
    /// An engine's details of an image, which are stored with the file, contain no secret.
    SecretDetails = "secret-details",
    /// An engine's list of models contains no secret.
    SecretModels = "secret-models",
    /// A language model's response contains no key of its server.
    SecretChat = "secret-chat",
    /// A link opens only the file for which the server signed it.
    LinkSignature = "link-signature",
    /// A link works until it expires.
    LinkExpiry = "link-expiry",
    /// A user reads only their own files; an administrator reads all.
    OwnFiles = "own-files",
    /// A user uses, and sees the models of, only the bindings that their groups may use.
    BindingGroups = "binding-groups",
    // Accounts.
    /// Only the first account of a server becomes an administrator's by sign-up, also if it is deleted.
    FirstAccount = "first-account",
    /// The first administrator's password is set only with the code that this process printed.
    SetupCode = "setup-code",
    /// A key that expires creates no key that outlives it.
    KeyExpiry = "key-expiry",
    /// A new password revokes the API keys of its user.
    RevokedKeys = "revoked-keys",
    /// A secret that signs sessions has a minimum length.
    SessionSecret = "session-secret",
    /// A request with several different session cookies is not authenticated by any of them.
    OneCookie = "one-cookie",
    // Data directory.
    /// At most one server uses a data directory.
    DataLock = "data-lock",
    /// The files of the data directory are accessible to their owner only.
    PrivateFiles = "private-files",
    /// The control socket of the server serves the server's own user and root only.
    ControlPeer = "control-peer",
    // Limits of a call.
    /// All memories and tables of a call together have a limited size.
    Memory = "memory",
    /// A guest has limited CPU time.
    RunningTime = "running-time",
    /// A call has limited wall-clock time, however little CPU it uses.
    WallTime = "wall-time",
    /// A guest makes a limited number of host calls.
    HostCalls = "host-calls",
    /// WASI calls count as host calls.
    WasiCalls = "wasi-calls",
    /// One call between guest and host copies a limited number of bytes.
    CopiedBytes = "copied-bytes",
    /// WASI returns a limited number of random bytes at once.
    RandomBytes = "random-bytes",
    /// A guest holds a limited number of handles, WASI's included.
    Handles = "handles",
    /// Bodies and images that a call holds at one time have a limited total size.
    HeldBytes = "held-bytes",
    /// Bodies and images that a call receives from start to end have a limited total size.
    TakenBytes = "taken-bytes",
    /// An engine's log line has a limited length.
    LogLine = "log-line",
    /// An engine's log lines have a limited total length.
    LogBytes = "log-bytes",
    /// All calls of an engine together log a limited number of bytes in a minute.
    LogRate = "log-rate",
    /// Lists and strings that a guest passes with a request have limited lengths.
    HandedOver = "handed-over",
    /// An engine's result of a job is within its limits: images, details, warnings.
    Answer = "answer",
    /// A call makes a limited number of requests.
    Requests = "requests",
    /// A call has a limited number of open requests and WebSockets.
    Connections = "connections",
    /// A request body has a limited length.
    RequestBytes = "request-bytes",
    /// All request bodies of a call have a limited total length.
    SentBytes = "sent-bytes",
    /// An event of a stream has a limited length.
    EventBytes = "event-bytes",
    /// Preview images have a limited length.
    PreviewBytes = "preview-bytes",
    /// One user's jobs use a limited share of the slots, and a free slot goes to the user with the fewest
    /// running jobs.
    UserShare = "user-share",
    /// The jobs of one binding use a limited share of the slots.
    GroupShare = "group-share",
    /// A limited number of jobs waits for a slot.
    Queue = "queue",
    /// A user requests lists of models, and verifies engines, at a limited rate.
    QueryRate = "query-rate",
    /// A job that an upstream may charge is sent once: it falls back to no other binding, and its failure
    /// tells clients not to send it again.
    SecondOrder = "second-order",
    /// One user's searches run one after the other, and a limited number waits.
    SearchShare = "search-share",
    /// A search stops after a limited time, and when its client disconnects.
    SearchTime = "search-time",
    /// A user's files and chats have a limited total size.
    UserStorage = "user-storage",
    /// Nothing new is stored on a disk with less free space than the reserve.
    DiskReserve = "disk-reserve",
    /// Files are swept only if the database is theirs, the clock is plausible and few are removed.
    SweepProof = "sweep-proof",
    /// A JSON text has a limited number of values.
    JsonValues = "json-values",
    /// The lists and objects of a JSON text are nested to a limited depth.
    JsonDepth = "json-depth",
    /// A string of a JSON text has a limited length.
    JsonStrings = "json-strings",
    /// A user holds at most as much memory as remains free for all others.
    MemoryOfUser = "memory-of-user",
    /// All users together hold a limited amount of memory.
    MemoryOfAll = "memory-of-all",
    /// A retry delay sent to a client has a limited length.
    RetryAfter = "retry-after",
    /// Repeated refusals of one kind by one user are logged a few times, then counted.
    AuditLines = "audit-lines",
    // Compiling.
    /// Compiling a component takes limited CPU time.
    CompileTime = "compile-time",
    /// Compiling a component takes limited memory.
    CompileMemory = "compile-memory",
    /// Compiled code has a limited length.
    CompiledCode = "compiled-code",
    // Images.
    /// An image has a limited length.
    PictureLength = "picture-length",
    /// An image, and each of its frames, has a limited number of pixels.
    PictureSize = "picture-size",
    /// A truncated image is refused.
    PictureWhole = "picture-whole",
    /// No bytes follow an image's end.
    PictureEnd = "picture-end",
    /// An image has a limited number of frames.
    PictureFrames = "picture-frames",
    /// All frames or scans of an image together have a limited number of pixels.
    PictureFramePixels = "picture-frame-pixels",
    /// A JPEG has a limited number of scans.
    PictureScans = "picture-scans",
    /// A PNG that declares more pixels than its bytes can hold is refused.
    PictureRatio = "picture-ratio",
    /// An image's metadata has a limited length.
    MetadataLength = "metadata-length",
    /// Image metadata is removed unless a setting retains it.
    Metadata = "metadata",
    /// Image metadata that contains a secret is removed, whatever the setting.
    MetadataSecret = "metadata-secret",
    /// Compressed image metadata that expands beyond a limit is removed.
    UnpackedLength = "unpacked-length",
    /// An image with more pixels in memory than the limit is not decoded.
    DecodedBytes = "decoded-bytes",
    /// A browser never renders a stored file as a document, whatever its bytes are.
    NoDocument = "no-document",
    // Text.
    /// Text from outside has a limited length.
    TextLength = "text-length",
    /// Text from outside contains no terminal control characters.
    TextControl = "text-control",
    /// Text from outside contains no invisible or direction-changing characters.
    TextInvisible = "text-invisible",
    /// Text from outside cannot end the quotation in which a language model reads it.
    TextQuoted = "text-quoted",
    /// A language model's response is passed on as events, JSON or plain text, never as a document.
    ChatContentType = "chat-content-type",
}

impl Guard {
    /// Fails with this guard's refusal if the condition holds. The reason is for the operator: what was
    /// refused, with names and limits, and without secrets.
    pub fn refuse_if<R: Into<String>>(
        self,
        condition: bool,
        reason: impl FnOnce() -> R,
    ) -> Result<(), Refusal> {
        if self.applies(condition) {
            return Err(self.refuse(reason()));
        }
        Ok(())
    }

    /// This guard's refusal, for a decision that [`Self::applies`] has made.
    #[must_use]
    pub fn refuse(self, reason: impl Into<String>) -> Refusal {
        Refusal {
            guard: Some(self),
            reason: reason.into(),
        }
    }

    /// True if the condition holds and the guard is active: for guards that remove or replace something
    /// instead of refusing it.
    #[must_use]
    pub fn applies(self, condition: bool) -> bool {
        condition && self.is_active()
    }

    /// The limit that this guard enforces; unlimited if the guard is disabled.
    #[must_use]
    pub fn limit(self, limit: usize) -> usize {
        if self.is_active() { limit } else { usize::MAX }
    }

    /// The only place that knows whether a guard is disabled.
    #[cfg(not(guard_switches))]
    #[inline(always)]
    const fn is_active(self) -> bool {
        true
    }

    /// The only place that knows whether a guard is disabled: `PINHOLE_SWITCHED_OFF` names it.
    #[cfg(guard_switches)]
    fn is_active(self) -> bool {
        static DISABLED: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
        #[expect(
            clippy::disallowed_methods,
            reason = "test builds only; nothing else reads this variable"
        )]
        let disabled = DISABLED.get_or_init(|| std::env::var("PINHOLE_SWITCHED_OFF").ok());
        disabled.as_deref() != Some(self.name())
    }
}

/// Is this a build in which guards can be disabled? Such a build is for `tests/switch-off` alone.
pub const HAS_SWITCHES: bool = cfg!(guard_switches);

/// A refusal, with the guard that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// `None` if the input is unusable rather than refused by a security decision.
    pub guard: Option<Guard>,
    /// For the operator: what was refused, with names and limits.
    pub reason: String,
}

impl Refusal {
    /// The guard's name for the audit log; empty without a guard.
    #[must_use]
    pub fn guard_name(&self) -> &'static str {
        self.guard.map_or("", Guard::name)
    }

    /// The same refusal with another reason, such as one that names the object.
    #[must_use]
    pub fn map_reason(self, reason: impl FnOnce(String) -> String) -> Self {
        Self {
            guard: self.guard,
            reason: reason(self.reason),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.reason)
    }
}

impl std::error::Error for Refusal {}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Self {
            guard: None,
            reason,
        }
    }
}

impl From<&str> for Refusal {
    fn from(reason: &str) -> Self {
        reason.to_owned().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guard_names_are_unique_and_all_guards_are_active() {
        let mut names: Vec<_> = Guard::ALL.iter().map(|guard| guard.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Guard::ALL.len());
        assert!(Guard::ALL.iter().all(|guard| guard.applies(true)));
        assert_eq!(Guard::PrivateAddress.limit(3), 3);
    }

    #[test]
    fn refusal_carries_its_guard() {
        let refusal = Guard::Hops.refuse_if(true, || "too many").unwrap_err();
        assert_eq!(refusal.guard_name(), "hops");
        assert_eq!(refusal.to_string(), "too many");
        assert_eq!(Guard::Hops.refuse_if(false, || "too many"), Ok(()));
    }
}
