//! Every check that keeps an attack out, by name.
//!
//! All of them always hold. Only a test build (feature `switches`) can switch one off, so that a
//! script can show that at least one case of `pinhole adversary` notices.

/// Declares the checks, each with its name and what it keeps out.
macro_rules! checks {
    ($($(#[doc = $doc:literal])+ $check:ident = $name:literal),+ $(,)?) => {
        /// A check that keeps an attack out.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Check {
            $($(#[doc = $doc])+ $check,)+
        }

        impl Check {
            /// All of them, in the order in which a request meets them.
            pub const ALL: &'static [Self] = &[$(Self::$check),+];

            /// By which the script and the pages know it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$check => $name,)+
                }
            }

            /// What it keeps out.
            #[must_use]
            pub const fn about(self) -> &'static str {
                match self {
                    $(Self::$check => concat!($($doc),+).trim_ascii(),)+
                }
            }
        }
    };
}

checks! {
    // Egress: where to.
    /// No connection goes to an address of this machine or of a private network that nobody granted.
    PrivateAddress = "private-address",
    /// Nor to one that is reserved, such as multicast, even where private ones are granted.
    ReservedAddress = "reserved-address",
    /// Nor to one at which a cloud tells its machines secrets, even where private ones are granted.
    MetadataAddress = "metadata-address",
    /// Nor to the name of such a service, whatever address it has.
    MetadataName = "metadata-name",
    /// An address that carries another one is what that one is.
    EmbeddedAddress = "embedded-address",
    /// Host and port are spelled as they will be used, or refused.
    Authority = "authority",
    /// A path has no steps up, empty steps or hidden separators.
    Path = "path",
    /// No redirect takes an engine's request, and its key, to another place.
    Redirects = "redirects",
    /// A private address is granted for one port, and not for the others of its host.
    GrantedPort = "granted-port",
    /// The address of a picture leads over no more than a few redirects.
    Hops = "hops",
    /// A redirect from https does not lead to http.
    Downgrade = "downgrade",
    /// No proxy of the environment stands between host and upstream.
    Proxy = "proxy",
    // Egress: what is sent.
    /// An engine sets none of the headers that belong to the connection or say who asks.
    OwnHeaders = "own-headers",
    /// An engine sets no header by which a service knows keys.
    KeyHeaders = "key-headers",
    /// A request brings no more than so many headers.
    HeaderCount = "header-count",
    /// No header of a request is longer than that.
    HeaderBytes = "header-bytes",
    /// Nor are all of them together.
    AllHeaderBytes = "all-header-bytes",
    // Egress: what comes back.
    /// An answer has no more than so many headers.
    AnswerHeaderCount = "answer-header-count",
    /// The headers of an answer are no longer than that.
    AnswerHeaderBytes = "answer-header-bytes",
    /// An answer is no longer than allowed, before and after it is decoded.
    AnswerBytes = "answer-bytes",
    /// An answer does not become many times as long as it came.
    Ratio = "ratio",
    /// An answer in an encoding that nobody asked for is not passed on.
    Encoding = "encoding",
    /// An answer that has begun does not pause for long.
    Silence = "silence",
    /// No frame of a WebSocket is longer than that.
    FrameBytes = "frame-bytes",
    /// Nor is a message of many frames.
    MessageBytes = "message-bytes",
    /// A WebSocket brings no more than so many messages, pings among them.
    SocketMessages = "socket-messages",
    // Grants and admission.
    /// No request is sent that an engine did not declare and an administrator did not grant.
    GrantedRequests = "granted-requests",
    /// A changed component that declares more than is granted does not serve by itself.
    DeclaredMore = "declared-more",
    /// A component that describes itself otherwise at another start gets no more than is granted.
    GrantNarrows = "grant-narrows",
    /// An engine whose grant cannot be read does not serve.
    GrantReadable = "grant-readable",
    /// What an administrator accepts is the component that was shown.
    ShownDigest = "shown-digest",
    /// The copy of a component that serves on is what was granted.
    KeptCopy = "kept-copy",
    /// A file that gives its engine another name is not taken for a new engine.
    RenamedEngine = "renamed-engine",
    /// Of two files that name the same engine, the one that was granted serves.
    EngineNames = "engine-names",
    /// A file whose name could forge a line of a log is refused.
    FileNames = "file-names",
    /// No more engines are looked at than there may be.
    FileCount = "file-count",
    /// What is no file, such as a folder or a socket, is not opened.
    RegularFile = "regular-file",
    /// A file that is too long to be a component is not read.
    ComponentBytes = "component-bytes",
    /// A file that is no component is refused for what it is, before it is compiled.
    ComponentKind = "component-kind",
    /// A component that imports what no engine may have is refused by the name of that.
    World = "world",
    /// What a component says of itself is within its limits and can be shown.
    Description = "description",
    /// An engine reads no variable that does not carry its name.
    OwnVariables = "own-variables",
    /// A variable that holds a secret is shown to no engine.
    HiddenVariables = "hidden-variables",
    /// Compiled code that this host has not written is not loaded.
    CompiledMac = "compiled-mac",
    // Secrets.
    /// No eight bytes of a secret come back as they are.
    SecretPlain = "secret-plain",
    /// Nor as JSON escapes.
    SecretEscapes = "secret-escapes",
    /// Nor percent-encoded.
    SecretPercent = "secret-percent",
    /// Nor in base64.
    SecretBase64 = "secret-base64",
    /// Nor as hexadecimal digits.
    SecretHex = "secret-hex",
    /// An answer's headers bring no secret to a guest.
    SecretHeaders = "secret-headers",
    /// Nor do its JSON, its events and the texts in them.
    SecretJson = "secret-json",
    /// Nor does its body as text.
    SecretText = "secret-text",
    /// Nor does a binary message of a WebSocket.
    SecretMessage = "secret-message",
    /// Nor do the bytes of a picture.
    SecretPicture = "secret-picture",
    /// What an engine says of a failure holds no secret.
    SecretError = "secret-error",
    /// Nor do its lines in the log.
    SecretLog = "secret-log",
    /// Nor what it tells of its progress.
    SecretProgress = "secret-progress",
    /// Nor what it tells of a finished picture, which is kept with the file.
    SecretDetails = "secret-details",
    /// Nor its list of models.
    SecretModels = "secret-models",
    /// What a language model's server answers holds no key of it.
    SecretChat = "secret-chat",
    /// A person has no files but their own; an administrator has everybody's.
    OwnFiles = "own-files",
    // Limits of a call.
    /// Memories and tables of one call, however many, are together no larger than its limit.
    Memory = "memory",
    /// A guest computes no longer than its limit.
    RunningTime = "running-time",
    /// A call takes no longer than its limit, however little it computes.
    WallTime = "wall-time",
    /// A guest calls the host no more often than its limit.
    HostCalls = "host-calls",
    /// Calls of WASI are counted with those of Pinhole's own functions.
    WasiCalls = "wasi-calls",
    /// One call between guest and host copies no more bytes than its limit.
    CopiedBytes = "copied-bytes",
    /// WASI gives no more random bytes at once than its limit.
    RandomBytes = "random-bytes",
    /// A guest holds no more handles than its limit, WASI's included.
    Handles = "handles",
    /// Bodies and images that a call holds at the same time are together no larger than its limit.
    HeldBytes = "held-bytes",
    /// Bodies and images that a call takes in from start to end are together no larger than its limit.
    TakenBytes = "taken-bytes",
    /// An engine's line in the log is no longer than its limit.
    LogLine = "log-line",
    /// An engine's lines in the log are together no longer than its limit.
    LogBytes = "log-bytes",
    /// Lists and texts that a guest hands over for a request are no longer than their limits.
    HandedOver = "handed-over",
    /// What an engine answers a job with is within its limits: pictures, addresses, details.
    Answer = "answer",
    /// A call makes no more requests than its limit.
    Requests = "requests",
    /// A call has no more requests and WebSockets under way than its limit.
    Connections = "connections",
    /// A request's body is no longer than its limit.
    RequestBytes = "request-bytes",
    /// The bodies of a call's requests are together no longer than its limit.
    SentBytes = "sent-bytes",
    /// An event of a stream is no longer than its limit.
    EventBytes = "event-bytes",
    /// Clients are shown no larger previews than the limit.
    PreviewBytes = "preview-bytes",
    /// One user's jobs take no more than their share of the slots.
    UserShare = "user-share",
    /// No more jobs wait for a slot than may.
    Queue = "queue",
    /// A JSON text has no more values than the host can hold well.
    JsonValues = "json-values",
    /// No client is asked to wait for years.
    RetryAfter = "retry-after",
    /// What one job is refused again and again is told a few times, and counted.
    AuditLines = "audit-lines",
    // Compiling.
    /// A component that needs more CPU time to be compiled than it may have is refused.
    CompileTime = "compile-time",
    /// A component that needs more memory to be compiled than it may have is refused.
    CompileMemory = "compile-memory",
    /// A component that is compiled to more code than it may be is refused.
    CompiledCode = "compiled-code",
    // Pictures.
    /// A picture is no longer than its limit.
    PictureLength = "picture-length",
    /// A picture, and each of its frames, has no more pixels than its limit.
    PictureSize = "picture-size",
    /// A picture that is cut off is refused.
    PictureWhole = "picture-whole",
    /// Nothing stands behind a picture's end.
    PictureEnd = "picture-end",
    /// A picture has no more frames than the limit.
    PictureFrames = "picture-frames",
    /// All frames or scans of a picture together have no more pixels than the limit.
    PictureFramePixels = "picture-frame-pixels",
    /// A JPEG has no more scans than the limit.
    PictureScans = "picture-scans",
    /// A PNG that claims more pixels than its bytes can hold is refused.
    PictureRatio = "picture-ratio",
    /// A picture has no more metadata than the limit.
    MetadataLength = "metadata-length",
    /// Metadata does not pass, unless the setting keeps it.
    Metadata = "metadata",
    /// Metadata that holds a secret does not pass, whatever the setting.
    MetadataSecret = "metadata-secret",
    /// Metadata that unpacks to more than the limit does not pass.
    UnpackedLength = "unpacked-length",
    /// A picture with more pixels in memory than the limit is not decoded.
    DecodedBytes = "decoded-bytes",
    /// Whatever a file's bytes are, no browser makes a document of them.
    NoDocument = "no-document",
    // Text.
    /// A text from outside is no longer than may be shown.
    TextLength = "text-length",
    /// It holds nothing that a terminal would obey.
    TextControl = "text-control",
    /// It holds nothing that nobody sees, or that turns a line round.
    TextInvisible = "text-invisible",
    /// It cannot end the quotation in which a language model reads it.
    TextQuoted = "text-quoted",
    /// A language model's answer is passed on as events, JSON or plain text, and never as a document.
    ChatContentType = "chat-content-type",
}

impl Check {
    /// Does it hold? Always, in a build that serves anybody.
    #[cfg(not(feature = "switches"))]
    #[must_use]
    #[inline(always)]
    pub const fn holds(self) -> bool {
        true
    }

    /// Does it hold, or was it switched off?
    #[cfg(feature = "switches")]
    #[must_use]
    pub fn holds(self) -> bool {
        switched_off() != Some(self)
    }

    /// A limit, or none where the check is switched off.
    #[must_use]
    pub fn limit(self, limit: usize) -> usize {
        match self.holds() {
            true => limit,
            false => usize::MAX,
        }
    }
}

/// The check that `PINHOLE_SWITCHED_OFF` names.
#[cfg(feature = "switches")]
fn switched_off() -> Option<Check> {
    static OFF: std::sync::OnceLock<Option<Check>> = std::sync::OnceLock::new();
    *OFF.get_or_init(|| {
        #[expect(
            clippy::disallowed_methods,
            reason = "a test build, where nothing else is told what to leave out"
        )]
        let name = std::env::var("PINHOLE_SWITCHED_OFF").ok()?;
        Check::ALL
            .iter()
            .copied()
            .find(|check| check.name() == name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_check_has_a_name_of_its_own_and_holds() {
        let mut names: Vec<_> = Check::ALL.iter().map(|check| check.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Check::ALL.len());
        assert!(Check::ALL.iter().all(|check| check.holds()));
        assert_eq!(Check::PrivateAddress.limit(3), 3);
    }
}
