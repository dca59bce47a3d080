//! What several servers of one PostgreSQL database do at the same time. SQLite has one writer.

use futures_util::future::join_all;
use serde_json::{Map, json};

use super::database::query;
use super::test_database::TestDatabase;
use super::{
    AccountOrigin, AddAccountError, ChatCopy, ChatHistory, ChatMessage, MAX_KEYS, NewAccount,
    NewKey, SaveOutcome, SettingChange, SettingRow, Store, StoredMessage,
};

/// Servers that do the same at the same time.
const SERVERS: usize = 6;

async fn servers(test: &TestDatabase) -> Vec<Store> {
    join_all((0..SERVERS).map(|_| test.connect())).await
}

async fn count(test: &TestDatabase, select: &'static str) -> usize {
    test.fetch_all(query(select)).await.len()
}

fn account<'a>(email: &'a str, role: &'a str) -> NewAccount<'a> {
    NewAccount {
        name: "Ada",
        email,
        password: "hash",
        role,
    }
}

#[tokio::test]
async fn servers_that_start_at_once_create_one_administrator() {
    TestDatabase::on_postgres(async |test| {
        let servers = servers(&test).await;
        let create = servers.iter().map(Store::create_first_administrator);
        let keys = join_all(create).await;
        let created = keys
            .into_iter()
            .filter(|key| key.as_ref().unwrap().is_some());
        assert_eq!(created.count(), 1);
        assert_eq!(count(&test, "SELECT id FROM users").await, 1);
    })
    .await;
}

#[tokio::test]
async fn one_of_the_first_accounts_is_an_administrators() {
    TestDatabase::on_postgres(async |test| {
        let servers = servers(&test).await;
        let sign_up = servers.iter().enumerate().map(async |(number, server)| {
            let email = format!("{number}@example.com");
            let new = account(&email, "pending");
            server
                .add_account(new, AccountOrigin::SignUp)
                .await
                .unwrap()
        });
        let accounts = join_all(sign_up).await;
        let administrators = accounts.iter().filter(|it| it.user.role == "admin");
        assert_eq!(administrators.count(), 1);
    })
    .await;
}

#[tokio::test]
async fn first_administrator_is_set_up_once() {
    TestDatabase::on_postgres(async |test| {
        test.store.create_first_administrator().await.unwrap();
        let servers = servers(&test).await;
        let set_up = servers.iter().enumerate().map(async |(number, server)| {
            let email = format!("{number}@example.com");
            let done = server.set_up_administrator(account(&email, "admin")).await;
            match done {
                Ok(account) => account.is_some(),
                Err(AddAccountError::EmailTaken) => panic!("the emails differ"),
                Err(AddAccountError::Store(error)) => panic!("{error}"),
            }
        });
        let done = join_all(set_up).await;
        assert_eq!(done.into_iter().filter(|is_done| *is_done).count(), 1);
    })
    .await;
}

#[tokio::test]
async fn administrators_who_demote_each_other_leave_one() {
    TestDatabase::on_postgres(async |test| {
        let users = "INSERT INTO users (id, name, role, created_at)
             VALUES ('ada', 'ada', 'admin', 0), ('bob', 'bob', 'admin', 0)";
        test.execute(query(users)).await;
        let (one, other) = (test.connect().await, test.connect().await);
        let demoted = futures_util::future::join(
            one.update_user("ada", "ada", "user", None),
            other.update_user("bob", "bob", "user", None),
        )
        .await;
        assert_ne!(demoted.0.unwrap(), demoted.1.unwrap());
    })
    .await;
}

#[tokio::test]
async fn settings_change_only_from_their_current_revision() {
    TestDatabase::each(async |test| {
        let row = |value: &str| SettingRow {
            path: "webui.url".to_owned(),
            variables: vec!["WEBUI_URL".to_owned()],
            value: value.to_owned(),
            sealed: false,
        };
        let change = SettingChange {
            changed_at: 0,
            user_id: String::new(),
            user_name: "Ada".to_owned(),
            path: "webui.url".to_owned(),
            name: "WEBUI_URL".to_owned(),
            what: "set".to_owned(),
            old_value: None,
            new_value: None,
        };
        let servers = servers(&test).await;
        let set = servers.iter().enumerate().map(async |(number, server)| {
            let rows = [row(&number.to_string())];
            let changes = [change.clone(), change.clone()];
            server
                .change_settings(0, &rows, &[], &changes)
                .await
                .unwrap()
        });
        let revisions = join_all(set).await;
        let changed = revisions.into_iter().flatten().collect::<Vec<_>>();
        assert_eq!(changed, [1], "{}", test.name);
        assert_eq!(test.store.settings_revision().await.unwrap(), 1);
        assert_eq!(test.store.setting_changes(10).await.unwrap().len(), 2);
        assert_eq!(test.store.settings().await.unwrap().len(), 1);
    })
    .await;
}

/// A chat with one message.
async fn add_chat(test: &TestDatabase) -> (String, String) {
    let key = test.store.create_first_administrator().await.unwrap();
    let user = test
        .store
        .user_by_key(&key.unwrap())
        .await
        .unwrap()
        .unwrap();
    let message = ChatMessage {
        stored: StoredMessage {
            id: "m".to_owned(),
            parent_id: None,
            role: "assistant".to_owned(),
            content: json!(""),
            files: Vec::new(),
        },
        rest: Map::new(),
    };
    let copy = ChatCopy {
        history: Some(ChatHistory {
            current_id: None,
            messages: vec![message],
        }),
        ..ChatCopy::default()
    };
    match test.store.add_chat(&user.id, copy, None).await.unwrap() {
        SaveOutcome::Saved(chat) => (user.id, chat.id),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn statuses_and_contents_of_one_chat_are_all_stored() {
    TestDatabase::each(async |test| {
        let (user_id, chat_id) = add_chat(&test).await;
        let servers = servers(&test).await;
        let write = servers.iter().enumerate().map(async |(number, server)| {
            for step in 0..5 {
                let status = json!({"number": number, "step": step});
                assert!(server.add_status(&chat_id, "m", &status).await.unwrap());
                let id = format!("{number}-{step}");
                let content = json!("x".repeat(number));
                assert!(server.set_content(&chat_id, &id, &content).await.unwrap());
            }
        });
        join_all(write).await;
        let content = test.store.chat_content(&chat_id).await.unwrap().unwrap();
        assert_eq!(content.messages.len(), 1 + SERVERS * 5, "{}", test.name);
        assert_eq!(content.messages[0].statuses.len(), SERVERS * 5);
        let rows = query(
            "SELECT bytes, (SELECT COUNT(DISTINCT position) FROM messages) AS positions FROM chats",
        );
        let row = test.fetch_all(rows).await.remove(0);
        let positions: i64 = row.try_get("positions").unwrap();
        assert_eq!(positions, 1 + 5 * i64::try_from(SERVERS).unwrap());
        let counted = test.store.storage_use(&user_id).await.unwrap().chat_bytes;
        let bytes: i64 = row.try_get("bytes").unwrap();
        assert_eq!(u64::try_from(bytes).unwrap(), counted);
    })
    .await;
}

#[tokio::test]
async fn keys_of_a_user_stay_within_their_limit() {
    TestDatabase::each(async |test| {
        let users =
            "INSERT INTO users (id, name, role, created_at) VALUES ('ada', 'ada', 'user', 0)";
        test.execute(query(users)).await;
        let servers = servers(&test).await;
        let add = servers.iter().map(async |server| {
            for _ in 0..MAX_KEYS {
                server.add_key("ada", NewKey::default()).await.unwrap();
            }
        });
        join_all(add).await;
        let keys = test.store.keys("ada").await.unwrap();
        assert_eq!(keys.len(), MAX_KEYS as usize, "{}", test.name);
    })
    .await;
}

#[tokio::test]
async fn texts_are_indexed_once_by_several_servers() {
    TestDatabase::each(async |test| {
        let (_, chat_id) = add_chat(&test).await;
        for number in 0..200 {
            let content = json!(format!("text {number}"));
            let id = format!("m{number}");
            test.store
                .set_content(&chat_id, &id, &content)
                .await
                .unwrap();
        }
        let servers = servers(&test).await;
        let index = servers
            .iter()
            .map(async |server| while server.index_batch().await.unwrap() {});
        join_all(index).await;
        while test.store.index_batch().await.unwrap() {}
        let stale = "SELECT id FROM search_rows WHERE is_stale = 1";
        assert_eq!(count(&test, stale).await, 0, "{}", test.name);
    })
    .await;
}
