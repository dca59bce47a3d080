//! Turns of clients that list the messages of their responses, as Open WebUI's client does since release 0.12.
//!
//! The client sends the user's message and not the conversation. The server stores the message with its empty
//! responses, in a new chat if the request names none, and takes the conversation from the chat. A chat that is
//! not stored is as in earlier releases: the request contains the conversation.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::request::{self, ChatBody, ResponseId};
use crate::app::App;
use crate::chat::{self, Turn, UpstreamWork, conversation, is_temporary};
use crate::chat_copy::{check_id, parse_message};
use crate::store::{
    self, ChatCopy, ChatHistory, ChatMessage, NEW_CHAT, NewTurn, SaveOutcome, StoredMessage,
    TurnOutcome, User, now,
};
use crate::web::auth;
use crate::web::chats::{over_quota, too_long};
use crate::web::error::ApiError;
use crate::web::tasks::{self, Tasks};

/// Stores the turn, and starts each response as a task.
pub(super) async fn start(app: &App, user: User, mut body: ChatBody) -> Result<Tasks, ApiError> {
    let responses = request::responses(&body.payload)?;
    app.tasks.check_room(&user.id, responses.len())?;
    // The extractor has counted the first one.
    for _ in responses.iter().skip(1) {
        let counted = app.clients.rate.count(&user.id).await;
        counted.map_err(auth::too_many_requests)?;
    }
    // The message is copied from the body.
    body.memory.grow(body.memory.bytes()).await?;
    let user_message = parse_user_message(&body)?;
    if user_message.is_none() {
        body.request.require_messages()?;
    }
    let mut turn = super::start_turn(app, user, body).await?;
    // Everything is checked before anything is stored.
    for response in &responses {
        set_model(&mut turn, response);
        chat::check(&app.chat, &turn).await?;
    }
    let chat_id = match (user_message, continued_response(&turn, &responses)?) {
        (Some(_), Some(id)) => {
            let chat_id = find_response(app, &turn, &id).await?;
            load_conversation(app, &mut turn, &chat_id, &id).await?;
            chat_id
        }
        (Some(message), None) => {
            let chat_id = store_turn(app, &turn, &message, &responses).await?;
            load_conversation(app, &mut turn, &chat_id, &message.stored.id).await?;
            chat_id
        }
        (None, _) => turn.chat_id.clone().unwrap_or_default(),
    };
    turn.chat_id = Some(chat_id.clone()).filter(|id| !id.is_empty());
    let mut turns = Vec::with_capacity(responses.len());
    for response in &responses {
        turns.push(turn_of(app, &turn, response).await?);
    }
    tasks::start_all(app, chat_id, turns)
}

/// The message to store. `None` if the chat is not stored, or if the client does not send the message.
fn parse_user_message(body: &ChatBody) -> Result<Option<ChatMessage>, ApiError> {
    const FIELD: &str = "user_message";
    let chat_id = body.request.chat_id()?;
    if chat_id.as_deref().is_some_and(is_temporary) {
        return Ok(None);
    }
    let Some(Value::Object(message)) = body.payload.get(FIELD) else {
        return Ok(None);
    };
    let mut message = message.clone();
    let Some(Value::String(id)) = message.remove("id") else {
        return Err(ApiError::invalid(FIELD, "user_message needs an id"));
    };
    check_id(FIELD, "the id of user_message", &id)?;
    let message = parse_message(id, message)?;
    if message.stored.role != "user" {
        let detail = "user_message must have the role user";
        return Err(ApiError::invalid(FIELD, detail));
    }
    Ok(Some(message))
}

/// The id of the stored response that the turn continues.
fn continued_response(turn: &Turn, responses: &[ResponseId]) -> Result<Option<String>, ApiError> {
    const FIELD: &str = "assistant_message_id";
    let continued = turn.payload.get(FIELD).and_then(Value::as_str);
    let Some(continued) = continued else {
        return Ok(None);
    };
    match responses {
        [only] if only.message_id == continued => Ok(Some(continued.to_owned())),
        _ => {
            let detail = "assistant_message_id must be the only message of message_ids";
            Err(ApiError::invalid(FIELD, detail))
        }
    }
}

/// The id of the user's chat with this response.
async fn find_response(app: &App, turn: &Turn, id: &str) -> Result<String, ApiError> {
    let unknown = || ApiError::from(chat::Error::UnknownChat);
    let chat_id = turn.chat_id.clone().ok_or_else(unknown)?;
    if app.store.chat_owner(&chat_id).await?.as_ref() != Some(&turn.user.id) {
        return Err(unknown());
    }
    let found = app.store.message_chain(&chat_id, id, 1).await?;
    match found.first() {
        Some(response) if response.role == "assistant" => Ok(chat_id),
        _ => Err(unknown()),
    }
}

/// Stores the messages of a turn. Returns the id of the chat.
async fn store_turn(
    app: &App,
    turn: &Turn,
    user_message: &ChatMessage,
    responses: &[ResponseId],
) -> Result<String, ApiError> {
    app.files.require_disk(0)?;
    let quota = app.files.quota(&turn.user);
    let user_id = &turn.user.id;
    let empty: Vec<_> = responses
        .iter()
        .map(|response| empty_response(response, &user_message.stored.id))
        .collect();
    let Some(chat_id) = &turn.chat_id else {
        let copy = new_chat(user_message, empty, responses)?;
        return match app.store.add_chat(user_id, copy, quota).await? {
            SaveOutcome::Saved(chat) => Ok(chat.id),
            SaveOutcome::Missing => Err(ApiError::new(
                StatusCode::BAD_REQUEST,
                format!(
                    "you have {} chats, the maximum: delete one first",
                    store::MAX_CHATS
                ),
            )),
            SaveOutcome::TooLong => Err(too_long()),
            SaveOutcome::OverQuota => Err(over_quota()),
        };
    };
    let new = NewTurn {
        user_id,
        chat_id,
        user_message,
        responses: &empty,
    };
    let conflict = |detail: &str| Err(ApiError::new(StatusCode::CONFLICT, detail));
    match app.store.add_turn(new, quota).await? {
        TurnOutcome::Saved => Ok(chat_id.clone()),
        TurnOutcome::ChatMissing => Err(chat::Error::UnknownChat.into()),
        TurnOutcome::ParentMissing => {
            conflict("the chat has no message with the parentId of user_message: reload the chat")
        }
        TurnOutcome::MessageExists => {
            conflict("the chat has another message with one of these ids: reload the chat")
        }
        TurnOutcome::TooLong => Err(too_long()),
        TurnOutcome::OverQuota => Err(over_quota()),
    }
}

/// A chat with the messages of its first turn.
fn new_chat(
    user_message: &ChatMessage,
    empty: Vec<ChatMessage>,
    responses: &[ResponseId],
) -> Result<ChatCopy, ApiError> {
    if user_message.stored.parent_id.is_some() {
        let detail = "user_message has a parentId, but the request names no chat_id";
        return Err(ApiError::invalid("user_message", detail));
    }
    let models: Vec<_> = responses.iter().map(|it| it.model_id.as_str()).collect();
    let fields = json!({"models": models, "params": {}, "files": [], "tags": []});
    let mut messages = vec![user_message.clone()];
    let current_id = empty.first().map(|first| first.stored.id.clone());
    messages.extend(empty);
    Ok(ChatCopy {
        title: Some(NEW_CHAT.to_owned()),
        history: Some(ChatHistory {
            current_id,
            messages,
        }),
        rest: fields.as_object().cloned().unwrap_or_default(),
    })
}

fn empty_response(response: &ResponseId, parent_id: &str) -> ChatMessage {
    let mut rest = Map::from_iter([
        ("done".to_owned(), false.into()),
        ("model".to_owned(), response.model_id.clone().into()),
        ("timestamp".to_owned(), now().into()),
    ]);
    rest.extend(
        response
            .model_index
            .map(|index| ("modelIdx".to_owned(), index.into())),
    );
    ChatMessage {
        stored: StoredMessage {
            id: response.message_id.clone(),
            parent_id: Some(parent_id.to_owned()),
            role: "assistant".to_owned(),
            content: "".into(),
            files: Vec::new(),
        },
        rest,
    }
}

/// Gives the turn the conversation of the chat.
async fn load_conversation(
    app: &App,
    turn: &mut Turn,
    chat_id: &str,
    message_id: &str,
) -> Result<(), ApiError> {
    let Turn {
        payload, memory, ..
    } = turn;
    let text = |name: &str| payload.get(name).and_then(Value::as_str);
    let additions = conversation::Additions {
        sent: payload
            .get("messages")
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice),
        revision: text("regeneration_message_id").zip(text("regeneration_prompt")),
    };
    let messages = conversation::load(&app.store, chat_id, message_id, additions, memory).await?;
    payload.insert("messages".to_owned(), messages.into());
    Ok(())
}

/// The turn of one response.
async fn turn_of(app: &App, turn: &Turn, response: &ResponseId) -> Result<Turn, ApiError> {
    let memory = turn.memory.share().lease(turn.memory.bytes()).await?;
    let model = Some(response.model_id.as_str());
    let requester = auth::requester(app, &turn.snapshot, &turn.user, model).await?;
    let mut turn = Turn {
        user: turn.user.clone(),
        chat_id: turn.chat_id.clone(),
        message_id: response.message_id.clone(),
        wants_image: turn.wants_image,
        upstream_work: UpstreamWork::default(),
        links: turn.links.clone(),
        snapshot: turn.snapshot.clone(),
        requester,
        engine: turn.engine.clone(),
        image_options: turn.image_options.clone(),
        edit_choice: turn.edit_choice.clone(),
        records_job: turn.records_job,
        payload: turn.payload.clone(),
        memory,
    };
    set_model(&mut turn, response);
    Ok(turn)
}

fn set_model(turn: &mut Turn, response: &ResponseId) {
    let model = response.model_id.as_str();
    turn.payload.insert("model".to_owned(), model.into());
}
