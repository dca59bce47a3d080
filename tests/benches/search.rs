//! The time of a search in the chats of one user with 100 000 messages, and in a gallery of 10 000 images:
//! `cargo xtask bench search`.
//!
//! The words of the messages are as frequent as in a language: the most frequent one is in every message.
//! Further messages of other users are in the same index. Searches run one after the other, as the server
//! runs those of one user.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a benchmark measures time and stops if it fails"
)]

use std::time::{Duration, Instant};

use pinhole::store::{
    AccountOrigin, ChatCopy, ChatFilter, ChatHistory, ChatMessage, FileRow, GalleryCursor,
    GalleryFields, GalleryFilter, NewAccount, NewFile, Page, SaveOutcome, SearchError, Store,
    StoredMessage,
};
use serde_json::{Map, Value, json};

const CHATS: usize = 5_000;
const MESSAGES_PER_CHAT: usize = 20;
/// Chats of another user.
const OTHER_CHATS: usize = 500;
/// Images of the user, and of each of nine others.
const IMAGES: usize = 10_000;
const OTHER_GALLERIES: usize = 9;
/// The argument with which only the gallery is measured.
const GALLERY_ONLY: &str = "gallery";
const WORDS_PER_MESSAGE: usize = 60;
const WORDS: usize = 20_000;
const ROUNDS: usize = 200;
/// Only one message contains it.
const RARE: &str = "xylophonezebra";
const GOAL: Duration = Duration::from_millis(50);

/// A generator of words, the same in each run.
struct Language {
    words: Vec<String>,
    state: u64,
}

impl Language {
    fn new() -> Self {
        let mut language = Self {
            words: Vec::new(),
            state: 0x2545_f491_4f6c_dd1d,
        };
        for _ in 0..WORDS {
            let length = 2 + language.random(8);
            let letters = (0..length).map(|_| char::from(b'a' + language.random(26) as u8));
            let word = letters.collect();
            language.words.push(word);
        }
        language
    }

    fn random(&mut self, limit: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state % limit as u64) as usize
    }

    /// The most frequent words have low numbers: number n is about 1/n as frequent as the first.
    fn word_number(&mut self) -> usize {
        let exponent = self.random(1000) as f64 / 1000.0;
        (WORDS as f64).powf(exponent) as usize - 1
    }

    fn message(&mut self) -> String {
        let words: Vec<_> = (0..WORDS_PER_MESSAGE)
            .map(|_| {
                let number = self.word_number();
                self.words[number].clone()
            })
            .collect();
        words.join(" ")
    }
}

async fn add_chats(store: &Store, language: &mut Language, user_id: &str, chats: usize) {
    for chat in 0..chats {
        let message = |number: usize, text: String| ChatMessage {
            stored: StoredMessage {
                id: format!("m{number}"),
                parent_id: None,
                role: "user".to_owned(),
                content: text.into(),
                files: Vec::new(),
            },
            rest: Map::new(),
        };
        let mut messages: Vec<_> = (0..MESSAGES_PER_CHAT)
            .map(|number| message(number, language.message()))
            .collect();
        if chat == chats / 2 {
            messages.push(message(MESSAGES_PER_CHAT, RARE.to_owned()));
        }
        let copy = ChatCopy {
            title: Some(language.message()),
            history: Some(ChatHistory {
                current_id: None,
                messages,
            }),
            rest: Map::<String, Value>::new(),
        };
        let saved = store.add_chat(user_id, copy, None).await.unwrap();
        assert!(matches!(saved, SaveOutcome::Saved(_)));
    }
}

async fn add_user(store: &Store, name: &str) -> String {
    let new = NewAccount {
        name,
        email: name,
        password: "",
        role: "user",
    };
    let account = store.add_account(new, AccountOrigin::Administrator).await;
    account.unwrap().user.id
}

#[tokio::main]
async fn main() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).await.unwrap();
    let (user_id, other_id) = (add_user(&store, "ada").await, add_user(&store, "bob").await);
    let mut language = Language::new();
    measure_gallery(&store, &mut language, &user_id).await;
    if std::env::args().any(|argument| argument == GALLERY_ONLY) {
        return;
    }
    add_chats(&store, &mut language, &other_id, OTHER_CHATS).await;
    let start = Instant::now();
    add_chats(&store, &mut language, &user_id, CHATS).await;
    let stored = start.elapsed();
    while store.index_batch().await.unwrap() {}
    let indexed = start.elapsed() - stored;
    println!(
        "{} messages stored in {} ms, indexed in {} ms",
        CHATS * MESSAGES_PER_CHAT,
        stored.as_millis(),
        indexed.as_millis()
    );
    let words = &language.words;
    let frequent = words[..12].join(" ");
    let texts = [
        ("a word of one message", RARE.to_owned()),
        ("a word of no message", "xylophonezebrb".to_owned()),
        ("the most frequent word", format!("{} ", words[0])),
        ("two frequent words", format!("{} {}", words[0], words[1])),
        (
            "three frequent words",
            format!("{} {} {}", words[0], words[1], words[2]),
        ),
        ("twelve frequent words", frequent),
        ("a medium word", words[200].clone()),
        ("two letters", "qz".to_owned()),
        ("one letter", "e".to_owned()),
        ("operators", "NEAR(\"* % _ OR".to_owned()),
        ("500 bytes", "e ".repeat(250)),
    ];
    let mut all = Vec::new();
    for (name, text) in texts {
        let mut times = Vec::with_capacity(ROUNDS);
        let mut found = 0;
        for _ in 0..ROUNDS {
            let round_start = Instant::now();
            let page = Page {
                limit: 60,
                offset: 0,
            };
            let filter = ChatFilter::default();
            match store.search_chats(&user_id, &text, filter, page).await {
                Ok(chats) => found = chats.len(),
                Err(SearchError::TooSlow) => println!("{name}: too slow"),
                Err(error) => panic!("{error}"),
            }
            times.push(round_start.elapsed());
        }
        println!("{name}: {found} chats, {}", summary(&mut times));
        all.extend(times);
    }
    println!(
        "all: {}; goal for the 99th percentile: {} ms",
        summary(&mut all),
        GOAL.as_millis()
    );
}

/// Adds an image of each user in turn, as they would generate at the same time.
async fn add_images(store: &Store, language: &mut Language, users: &[String]) {
    for number in 0..IMAGES {
        let created_at = 1_700_000_000 + number as i64;
        let files: Vec<_> = users
            .iter()
            .map(|user| {
                let prompt = language.message();
                let meta = json!({"job": "job", "details": "x".repeat(1000), "request": {"prompt": prompt}});
                NewFile {
                    row: FileRow {
                        id: format!("{number:05}-{user}"),
                        user_id: user.clone(),
                        name: "generated-image.png".to_owned(),
                        media_type: "image/png".to_owned(),
                        size_bytes: 1_000_000,
                        hash: "0".repeat(64),
                        meta: meta.to_string(),
                        created_at,
                    },
                    gallery: GalleryFields {
                        is_generated: true,
                        binding: format!("engine-{}", number % 5),
                        model: format!("model-{}", number % 50),
                        prompt,
                        ..GalleryFields::default()
                    },
                    entry: Value::Null,
                }
            })
            .collect();
        store.insert_files(&files, None).await.unwrap();
    }
}

async fn measure_gallery(store: &Store, language: &mut Language, user_id: &str) {
    let mut users = vec![user_id.to_owned()];
    for number in 0..OTHER_GALLERIES {
        users.push(add_user(store, &format!("user {number}")).await);
    }
    add_images(store, language, &users).await;
    let text = |text: &str| GalleryFilter {
        text: text.to_owned(),
        ..GalleryFilter::default()
    };
    let middle = GalleryCursor {
        created_at: 1_700_000_000 + IMAGES as i64 / 2,
        id: String::new(),
    };
    let of_model = GalleryFilter {
        model: "model-7".to_owned(),
        ..GalleryFilter::default()
    };
    let starred = GalleryFilter {
        is_starred: Some(true),
        ..GalleryFilter::default()
    };
    let medium = text(&language.words[2000]);
    for (name, filter, after) in [
        ("first page", GalleryFilter::default(), None),
        (
            "a page in the middle",
            GalleryFilter::default(),
            Some(&middle),
        ),
        ("a word of no image", text("xylophonezebrb"), None),
        ("a medium word", medium, None),
        ("images of a model", of_model, None),
        ("no image has a star", starred, None),
    ] {
        let (mut times, mut found) = (Vec::with_capacity(ROUNDS), 0);
        for _ in 0..ROUNDS {
            let round_start = Instant::now();
            let keys = store.gallery_keys(user_id, &filter, after, 61).await;
            let ids: Vec<String> = keys.unwrap().into_iter().map(|it| it.cursor.id).collect();
            found = store.gallery_rows(user_id, &ids).await.unwrap().len();
            times.push(round_start.elapsed());
        }
        println!("gallery, {name}: {found} images, {}", summary(&mut times));
    }
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let round_start = Instant::now();
        let facets = store.gallery_facets(user_id).await.unwrap();
        assert_eq!(facets.total, IMAGES as u64);
        times.push(round_start.elapsed());
    }
    println!("gallery, facets: {}", summary(&mut times));
}

/// Median and 99th percentile.
fn summary(times: &mut [Duration]) -> String {
    times.sort();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    format!("median {:.1} ms, p99 {:.1} ms", at(50), at(99))
}
