//! Listens to the socket until the job ends.

use pinhole_sdk::upstream::{Document, Frame, Message};
use pinhole_sdk::{Error, Image, job};

use super::job_socket::{JobSocket, Received};
use super::{MAX_IMAGES, polling};
use crate::frame::{BINARY_HEADER_BYTES, BinaryHeader, MAX_TYPE_BYTES, TextFrame, is_relevant};
use crate::progress::{FrameEffect, ImageRole, JobTracker};

/// Maximum silence until the history is polled. ComfyUI is silent while it loads a model, but so is a broken
/// connection.
const SILENCE_TIMEOUT_MS: u32 = 60_000;
/// Silence after a change of the queue until it is requested. Several changes follow each other.
const QUEUE_DELAY_MS: u32 = 300;
/// Changes of the queue after which it is requested even without silence.
const MAX_QUEUE_CHANGES: u32 = 20;
/// Number of consecutive frames without news of our job after which the history is polled. With other
/// clients' jobs, the socket may never be silent.
const MAX_FOREIGN_FRAMES: u32 = 1200;
/// A change of the queue counts as this many of them, because it is rarer than a step.
const STATUS_WEIGHT: u32 = 100;

pub(super) struct Listener<'a> {
    socket: JobSocket,
    tracker: JobTracker,
    prompt_id: &'a str,
    outcome: SocketOutcome,
    /// Consecutive frames without news of our job.
    foreign_frames: u32,
    /// Changes of the queue since it was last requested.
    queue_changes: u32,
}

/// What the socket brought.
#[derive(Default)]
pub(super) struct SocketOutcome {
    /// Images that the job sent.
    pub(super) images: Vec<Image>,
    /// Frames may be lost.
    pub(super) lost_socket: bool,
}

impl<'a> Listener<'a> {
    pub(super) fn new(socket: JobSocket, tracker: JobTracker, prompt_id: &'a str) -> Self {
        Self {
            socket,
            tracker,
            prompt_id,
            outcome: SocketOutcome::default(),
            foreign_frames: 0,
            queue_changes: 0,
        }
    }

    /// Listens until the job ends or the socket cannot be restored, and reports progress to the host.
    pub(super) fn listen(mut self) -> Result<SocketOutcome, Error> {
        loop {
            let timeout_ms = if self.queue_changes > 0 {
                QUEUE_DELAY_MS
            } else {
                SILENCE_TIMEOUT_MS
            };
            let is_over = match self.socket.receive(timeout_ms)? {
                Received::Silence if self.queue_changes > 0 => {
                    self.report_queue_position();
                    false
                }
                Received::Silence => polling::is_job_over(self.prompt_id),
                Received::Frame(Frame::Binary(message)) => {
                    self.handle_binary(&message);
                    false
                }
                Received::Frame(Frame::Text(document)) => self.handle_text(&document)?,
                Received::Unreadable => false,
                Received::Broken => !self.restore()?,
            };
            if is_over {
                return Ok(self.outcome);
            }
            if self.queue_changes >= MAX_QUEUE_CHANGES {
                self.report_queue_position();
            }
        }
    }

    /// Connects again. Returns false if that is not possible, or if the job has ended meanwhile.
    fn restore(&mut self) -> Result<bool, Error> {
        self.outcome.lost_socket = true;
        if !self.socket.can_reconnect() || polling::is_job_over(self.prompt_id) {
            return Ok(false);
        }
        // It may end before the server knows the new connection.
        Ok(self.socket.reconnect()? && !polling::is_job_over(self.prompt_id))
    }

    /// Requests the queue, and reports our position in it.
    fn report_queue_position(&mut self) {
        self.queue_changes = 0;
        if let Some(position) = polling::queue_position(self.prompt_id)
            && self.tracker.set_queue_position(position)
        {
            job::report(&self.tracker.progress(), None);
        }
    }

    fn handle_binary(&mut self, message: &Message) {
        match self.read_image(message) {
            Some((ImageRole::Preview, image)) => {
                self.foreign_frames = 0;
                job::report(&self.tracker.progress(), Some(&image));
            }
            Some((ImageRole::Result, image)) if self.outcome.images.len() < MAX_IMAGES => {
                self.outcome.images.push(image);
            }
            _ => {}
        }
    }

    /// The image in a binary frame; `None` if it is not of our job.
    fn read_image(&self, message: &Message) -> Option<(ImageRole, Image)> {
        let header_bytes = u64::from(BINARY_HEADER_BYTES);
        let header = message.read(0, BINARY_HEADER_BYTES);
        let (role, offset) = match BinaryHeader::parse(&header)? {
            BinaryHeader::Image { is_png } => (self.tracker.image_role(is_png)?, header_bytes),
            BinaryHeader::ImageWithMetadata { metadata_bytes } => {
                let metadata = message.read(header_bytes, metadata_bytes);
                let role = self.tracker.image_role_from_metadata(&metadata)?;
                (role, header_bytes + u64::from(metadata_bytes))
            }
        };
        Some((role, message.image_from(offset).ok()?))
    }

    /// Returns whether the job is over.
    fn handle_text(&mut self, document: &Document) -> Result<bool, Error> {
        let frame_type = document.text("/type", MAX_TYPE_BYTES).unwrap_or_default();
        let mut effect = FrameEffect::Ignored;
        if is_relevant(&frame_type)
            && let Ok(frame) = document.parse::<TextFrame>()
        {
            effect = self.tracker.apply(&frame);
        }
        match effect {
            FrameEffect::Progress => {
                self.foreign_frames = 0;
                job::report(&self.tracker.progress(), None);
            }
            FrameEffect::Ignored => self.foreign_frames += 1,
            FrameEffect::Ended => return Ok(true),
            FrameEffect::Failed(error) => return Err(error),
        }
        if frame_type == "status" {
            self.foreign_frames += STATUS_WEIGHT;
            self.queue_changes += u32::from(self.tracker.waits_behind_others());
        }
        if self.foreign_frames < MAX_FOREIGN_FRAMES {
            return Ok(false);
        }
        // Only other jobs make progress: another client may have removed ours.
        self.foreign_frames = 0;
        Ok(polling::is_job_over(self.prompt_id))
    }
}
