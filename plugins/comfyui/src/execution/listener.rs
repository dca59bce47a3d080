//! Listens to the socket until the job ends.

use pinhole_sdk::upstream::{Document, Error as UpstreamError, Frame, Message, Socket};
use pinhole_sdk::{Error, Image, job, log};

use super::{MAX_IMAGES, polling};
use crate::frame::{BINARY_HEADER_BYTES, BinaryHeader, MAX_TYPE_BYTES, TextFrame, is_relevant};
use crate::progress::{FrameEffect, ImageRole, JobTracker};

/// Maximum silence before the first frame. ComfyUI greets immediately, so a longer silence means that
/// a proxy accepted the socket without a connection to ComfyUI.
const GREETING_TIMEOUT_MS: u32 = 5_000;
/// Maximum silence after that until the history is polled. ComfyUI is silent while it loads a model, but
/// so is a broken connection.
const SILENCE_TIMEOUT_MS: u32 = 60_000;
/// Number of consecutive frames without news of our job after which the history is polled. With other
/// clients' jobs, the socket may never be silent.
const MAX_FOREIGN_FRAMES: u32 = 1200;
/// A change of the queue counts as this many of them, because it is rarer than a step.
const STATUS_WEIGHT: u32 = 100;

pub(super) struct Listener<'a> {
    socket: &'a Socket,
    tracker: JobTracker,
    prompt_id: &'a str,
    /// Images that the job sent over the socket.
    images: Vec<Image>,
    /// Consecutive frames without news of our job.
    foreign_frames: u32,
}

impl<'a> Listener<'a> {
    pub(super) fn new(socket: &'a Socket, tracker: JobTracker, prompt_id: &'a str) -> Self {
        Self {
            socket,
            tracker,
            prompt_id,
            images: Vec::new(),
            foreign_frames: 0,
        }
    }

    /// Listens until the job ends or the socket fails, and reports progress to the host. Returns the
    /// images that the job sent over the socket.
    pub(super) fn listen(mut self) -> Result<Vec<Image>, Error> {
        let mut timeout_ms = GREETING_TIMEOUT_MS;
        loop {
            let is_over = match self.socket.receive(timeout_ms) {
                Ok(None) if timeout_ms == GREETING_TIMEOUT_MS => true,
                Ok(None) => polling::is_job_over(self.prompt_id),
                Ok(Some(Frame::Binary(message))) => {
                    self.handle_binary(&message);
                    false
                }
                Ok(Some(Frame::Text(document))) => self.handle_text(&document)?,
                Err(error @ (UpstreamError::Cancelled | UpstreamError::Timeout)) => {
                    return Err(error.into());
                }
                Err(error) => {
                    let message = format!("the WebSocket failed: {}", Error::from(error).message);
                    log::write(log::Level::Warn, &message);
                    true
                }
            };
            if is_over {
                return Ok(self.images);
            }
            timeout_ms = SILENCE_TIMEOUT_MS;
        }
    }

    fn handle_binary(&mut self, message: &Message) {
        match self.read_image(message) {
            Some((ImageRole::Preview, image)) => {
                self.foreign_frames = 0;
                job::report(&self.tracker.progress(), Some(&image));
            }
            Some((ImageRole::Result, image)) if self.images.len() < MAX_IMAGES => {
                self.images.push(image);
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
        }
        if self.foreign_frames < MAX_FOREIGN_FRAMES {
            return Ok(false);
        }
        // Only other jobs make progress: another client may have removed ours.
        self.foreign_frames = 0;
        Ok(polling::is_job_over(self.prompt_id))
    }
}
